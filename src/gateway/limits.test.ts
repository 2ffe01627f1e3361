import assert from 'node:assert/strict'
import { request } from 'node:http'
import { after, before, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import { type Gateway, startGateway } from './gateway.ts'

const metrics = new Registry()
const none = { search: null, write: null, admin: null }
let limited: Gateway
let free: Gateway

before(async () => {
  const { catalogue, journal } = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const organisation = await catalogue.createOrganisation('Acme')
  await catalogue.createProject({ organisation: organisation.id, name: 'shop', masterKey: 'master' })
  const options = { httpAddr: '127.0.0.1:0', catalogue, journal, logger: pino({ level: 'silent' }) }
  free = await startGateway({ ...options, metrics: new Registry() })
  limited = await startGateway({
    ...options,
    metrics,
    // So slow that the test cannot be overtaken by a new token.
    rateLimits: { key: { ...none, admin: 1 }, project: { ...none, search: 2 }, burstSeconds: 3, shareCount: 100 },
    authFailuresPerMinute: 1,
  })
})

after(async () => {
  await limited.close(0)
  await free.close(0)
})

function call(gateway: Gateway, path: string, key = 'master'): Promise<Response> {
  return fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${key}` } })
}

function limitHeadersOf({ headers }: Response): readonly string[] {
  return [...headers.keys()].filter((name) => name.includes('ratelimit'))
}

test('answers of limited routes tell the limit, those of the others do not', async () => {
  const refused = await call(limited, '/indexes/nowhere/search')
  assert.equal(refused.status, 404)
  assert.equal(refused.headers.get('ratelimit-limit'), '2')
  assert.equal(refused.headers.get('x-ratelimit-limit'), '2')
  assert.equal(refused.headers.get('ratelimit-remaining'), '0')
  assert.deepEqual(limitHeadersOf(await call(limited, '/health')), [])
  assert.deepEqual(limitHeadersOf(await call(free, '/keys')), [])
})

test('a request over the limit is refused, and counted by a metric', async () => {
  assert.equal((await call(limited, '/keys')).status, 200)
  const reply = await call(limited, '/tasks')
  assert.equal(reply.status, 429)
  assert.match(reply.headers.get('retry-after') ?? '', /^\d+$/)
  assert.equal(reply.headers.get('ratelimit-limit'), '1')
  assert.deepEqual(await reply.json(), {
    message: `Too many requests: the limit of 1 \`admin\` requests per second of this API key is reached. Retry after ${reply.headers.get('retry-after')}s.`,
    code: 'too_many_requests',
    type: 'system',
    link: 'https://docs.meilisearch.com/errors#too_many_requests',
  })
  assert.match(await metrics.metrics(), /flapjack_rate_limited_total\{scope="key",class="admin"\} 1/)
})

test('this machine itself may fail to authenticate as often as it likes', async () => {
  for (let count = 0; count < 5; count += 1) {
    assert.equal((await call(limited, '/indexes/nowhere/search', `wrong${count}`)).status, 403)
  }
})

test('requests of a project that are being answered take its share, and give it back however they end', async () => {
  const { catalogue, journal } = openMemoryStore({ clock: systemClock, random: seededRandom(2) })
  const organisation = await catalogue.createOrganisation('Acme')
  for (const name of ['noisy', 'quiet']) {
    await catalogue.createProject({ organisation: organisation.id, name, masterKey: name })
  }
  const registry = new Registry()
  const gateway = await startGateway({
    ...{ httpAddr: '127.0.0.1:0', catalogue, journal, logger: pino({ level: 'silent' }), metrics: registry },
    limits: { projectRequestsMax: 1 },
  })
  try {
    for (let count = 0; count < 3; count += 1) assert.equal((await call(gateway, '/keys', 'noisy')).status, 200)
    // A body that does not come.
    const headers = { authorization: 'Bearer noisy', 'content-type': 'application/json', 'content-length': '20' }
    const held = request(`${gateway.url}/indexes`, { method: 'POST', headers })
    held.on('error', () => undefined)
    held.write('{')
    const isRefused = async () => (await call(gateway, '/keys', 'noisy')).status === 429
    for (let turns = 0; !(await isRefused()); turns += 1) assert.ok(turns < 1_000, 'it is not refused')
    assert.equal((await call(gateway, '/keys', 'quiet')).status, 200)
    held.destroy()
    for (let turns = 0; await isRefused(); turns += 1) assert.ok(turns < 1_000, 'it is still refused')
    assert.match(await registry.metrics(), /flapjack_project_overloads_total [1-9]/)
  } finally {
    await gateway.close(0)
  }
})
