/**
 * Wake-up calls between processes (LISTEN/NOTIFY). They carry nothing but a name, and may be lost: whoever listens also
 * re-reads by version or position now and then.
 *
 * They are sent after the transaction that they are about, on their own: a NOTIFY inside would make commits wait for each
 * other. Listeners of this process are called at once.
 */
import pg from 'pg'
import type { Clock } from '../lib/clock.ts'
import type { Database, StoreLogger } from './database.ts'

export type SignalChannel = 'flapjack_catalogue' | 'flapjack_work' | 'flapjack_finished' | 'flapjack_routing'
export type SignalListener = (payload: string) => void

export interface Signals {
  /** Never throws and never waits. */
  send(channel: SignalChannel, payload: string): void
  /** Answers a stop function. The first call opens the connection; the promise does not wait for it. */
  listen(channel: SignalChannel, listener: SignalListener): () => void
  close(): Promise<void>
}

const reconnectMs = 500
const channels: readonly SignalChannel[] = [
  ...(['flapjack_catalogue', 'flapjack_work', 'flapjack_finished', 'flapjack_routing'] as const),
]

export function openSignals(database: Database, { clock, logger }: { clock: Clock; logger: StoreLogger }): Signals {
  const listeners = new Map<SignalChannel, Set<SignalListener>>(channels.map((channel) => [channel, new Set()]))
  const closing = new AbortController()
  /** Connections of this process that have sent; another process may get the number of one that ended. */
  const ownSenders = new Set<number>()
  database.pool.on('remove', () => ownSenders.clear())
  let waiting = new Map<string, readonly [SignalChannel, string]>()
  let sending: Promise<void> | undefined
  let receiving: Promise<void> | undefined

  const deliver = (channel: SignalChannel, payload: string) => {
    for (const listener of listeners.get(channel) ?? []) listener(payload)
  }

  const flush = async () => {
    // What is sent in the same turn goes out together.
    await Promise.resolve()
    while (waiting.size > 0 && !closing.signal.aborted) {
      const batch = [...waiting.values()]
      waiting = new Map()
      await database.pool
        .query<{ sender: number }>({
          name: 'notify',
          text: `select pg_notify(channel, payload), pg_backend_pid() as sender
            from unnest($1::text[], $2::text[]) as calls (channel, payload)`,
          values: [batch.map(([channel]) => channel), batch.map(([, payload]) => payload)],
        })
        .then(({ rows: [row] }) => row !== undefined && ownSenders.add(row.sender))
        .catch((error: unknown) => logger.warn({ err: error }, 'a wake-up call was lost'))
    }
    sending = undefined
  }

  const receive = async () => {
    while (!closing.signal.aborted) {
      const client = new pg.Client({ ...database.clientConfig, statement_timeout: 0 })
      try {
        await client.connect()
        const ended = new Promise<void>((done) => {
          client.on('error', () => done())
          client.on('end', () => done())
          closing.signal.addEventListener('abort', () => done(), { once: true })
          if (closing.signal.aborted) done()
        })
        client.on('notification', ({ channel, payload, processId }) => {
          // Our own calls come back; everybody here has heard them already.
          if (ownSenders.has(processId)) return
          const known = channels.find((name) => name === channel)
          if (known !== undefined) deliver(known, payload ?? '')
        })
        for (const channel of channels) await client.query(`listen ${channel}`)
        if (closing.signal.aborted) break
        // What was sent while nobody listened is unknown: everybody looks once.
        for (const channel of channels) deliver(channel, '')
        await ended
      } catch (error) {
        if (!closing.signal.aborted) logger.warn({ err: error }, 'no wake-up calls from the database: polling only')
      } finally {
        await client.end().catch(() => undefined)
      }
      await clock.sleep(reconnectMs, closing.signal).catch(() => undefined)
    }
  }

  return {
    send(channel, payload) {
      deliver(channel, payload)
      waiting.set(`${channel}:${payload}`, [channel, payload])
      sending ??= flush()
    },
    listen(channel, listener) {
      listeners.get(channel)?.add(listener)
      receiving ??= receive()
      return () => listeners.get(channel)?.delete(listener)
    },
    async close() {
      closing.abort()
      await sending
      await receiving
    },
  }
}
