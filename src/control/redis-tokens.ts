/**
 * Token buckets in Redis or Valkey, one hash for each: `t` tokens as of `a`, milliseconds of the server's clock. A bucket that
 * is full again is gone. Any server with scripts that may look at the clock and write (Redis 5, every Valkey).
 */
import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Clock } from '../lib/clock.ts'
import type { TokenGrant, TokenStore } from './shared-rate-limits.ts'

export interface RedisTokens extends TokenStore {
  close(): Promise<void>
}

export interface RedisTokensOptions {
  /** `redis://` or `rediss://`, with user, password and number of the database if need be. */
  readonly url: string
  readonly clock: Pick<Clock, 'monotonic'>
  readonly log: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
  }
}

/** A request waits for no longer than this, once: then the server counts as away for `awayMs`. */
const answerMsMax = 250
const awayMs = 1_000
const connectMsMax = 2_000
const reconnectMsMax = 1_000

/** Keys: the bucket. Arguments: capacity, tokens per millisecond, wanted. */
const script = `
local capacity, rate, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 't', 'a')
local tokens, at = tonumber(known[1]) or capacity, tonumber(known[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * rate)
local granted = math.min(wanted, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 't', tostring(tokens), 'a', tostring(math.max(now, at)))
redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - tokens) / rate) + 1000)
return { granted, tostring(tokens) }
`

const scriptDigest = createHash('sha1').update(script).digest('hex')

/** Connects in the background, again and again while the server is away. */
export function openRedisTokens({ url, clock, log }: RedisTokensOptions): RedisTokens {
  const redis = new Redis(url, {
    // What is asked while the server is away is not answered later: the request has gone on by then.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: answerMsMax,
    connectTimeout: connectMsMax,
    retryStrategy: (attempts) => Math.min(reconnectMsMax, 50 * attempts),
  })
  let awayUntilMs = 0
  let isAway = false

  function noteAway(error: unknown): void {
    if (isAway) return
    isAway = true
    log.warn({ err: error }, 'the store of rate limits is away: gateways go on with their shares')
  }
  redis.on('error', noteAway)
  redis.on('ready', () => {
    if (isAway) log.info({}, 'the store of rate limits is back')
    isAway = false
    awayUntilMs = 0
  })

  /** The server keeps a script that it ran until it restarts. */
  async function run(key: string, values: readonly number[]): Promise<unknown> {
    try {
      return await redis.evalsha(scriptDigest, 1, key, ...values)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return redis.eval(script, 1, key, ...values)
    }
  }

  return {
    get isUp() {
      return redis.status === 'ready' && clock.monotonic() >= awayUntilMs
    },
    async take(bucket, { capacity, perSecond }, wanted) {
      try {
        return readGrant(await run(`flapjack:limit:${bucket}`, [capacity, perSecond / 1000, wanted]))
      } catch (error) {
        awayUntilMs = clock.monotonic() + awayMs
        noteAway(error)
        throw error
      }
    },
    async close() {
      redis.disconnect()
    },
  }
}

function readGrant(answer: unknown): TokenGrant {
  const [granted, left] = Array.isArray(answer) ? answer : []
  const grant = { granted: Number(granted), left: Number(left) }
  if (Number.isFinite(grant.granted) && Number.isFinite(grant.left)) return grant
  throw new Error('the store of rate limits answered something else')
}
