import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import type { Json } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import { type Gateway, startGateway } from './gateway.ts'

let gateway: Gateway

before(async () => {
  const { catalogue, journal } = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const organisation = await catalogue.createOrganisation('Acme')
  for (const name of ['shop', 'blog']) {
    await catalogue.createProject({ organisation: organisation.id, name, masterKey: `master-of-${name}` })
  }
  const logger = pino({ level: 'silent' })
  gateway = await startGateway({ httpAddr: '127.0.0.1:0', catalogue, journal, logger, metrics: new Registry() })
})

after(() => gateway.close(0))

async function call(method: string, path: string, body?: Json, project = 'shop') {
  const headers = { authorization: `Bearer master-of-${project}`, 'content-type': 'application/json' }
  const reply = await fetch(`${gateway.url}${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: reply.status, text: await reply.text() }
}

test('a project has a network of its own once it switched the flag on, without a leader', async () => {
  assert.equal((await call('PATCH', '/network', { self: 'a' })).status, 400)
  for (const project of ['shop', 'blog']) await call('PATCH', '/experimental-features', { network: true }, project)
  const empty = { self: null, remotes: {}, shards: {}, leader: null, version: '00000000-0000-0000-0000-000000000000' }
  assert.deepEqual(JSON.parse((await call('GET', '/network')).text), empty)
  assert.equal((await call('PATCH', '/network', { self: 'a', remotes: { a: { url: 'http://a' } } })).status, 200)
  assert.equal((await call('PATCH', '/network', { leader: 'a' })).status, 451)
  assert.equal(JSON.parse((await call('GET', '/network')).text).self, 'a')
  assert.deepEqual(JSON.parse((await call('GET', '/network', undefined, 'blog')).text), empty)
  const cleared = await call('PATCH', '/network', { self: null, leader: null, remotes: { a: null }, shards: null })
  const { version, ...left } = JSON.parse(cleared.text)
  assert.deepEqual(left, { self: null, remotes: {}, shards: {}, leader: null })
  assert.notEqual(version, empty.version)
})

test('a project reads its own metrics once it switched the flag on', async () => {
  const refused = await call('GET', '/metrics')
  assert.deepEqual([refused.status, JSON.parse(refused.text).code], [400, 'feature_not_enabled'])
  await call('PATCH', '/experimental-features', { metrics: true })
  const { status, text } = await call('GET', '/metrics')
  assert.equal(status, 200)
  for (const line of ['meilisearch_index_count 0', 'meilisearch_is_indexing 0', 'meilisearch_last_update 0']) {
    assert(text.split('\n').includes(line), `${line} in\n${text}`)
  }
})
