import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { keyValue } from '../control/key-value.ts'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import type { Project, ProjectSettings } from '../store/catalogue.ts'
import { type Gateway, startGateway } from './gateway.ts'

const store = openMemoryStore({ clock: systemClock, random: seededRandom(3) })
let gateway: Gateway
let shop: Project

before(async () => {
  const { id: organisation } = await store.catalogue.createOrganisation('o')
  shop = await store.catalogue.createProject({ organisation, name: 'shop' })
  gateway = await startGateway({
    httpAddr: '127.0.0.1:0',
    catalogue: store.catalogue,
    journal: store.journal,
    logger: pino({ level: 'silent' }),
    metrics: new Registry(),
  })
})
after(() => gateway.close(0))

/** Resolves when the gateway knows. */
async function set(settings: Partial<ProjectSettings>): Promise<void> {
  await store.catalogue.changeSettings(shop.id, (before) => ({ ...before, ...settings }))
  await gateway.admin({ kind: 'resync' })
}

interface ShownKey {
  readonly uid: string
  readonly name: string
  readonly key: string | null
}

/** Of the answers here. */
interface Body extends ShownKey {
  readonly code: string
  readonly results: readonly ShownKey[]
}

async function call(method: string, path: string, key: string, body?: object) {
  const answer = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  const read = (await answer.json()) as Body
  return { status: answer.status, body: read }
}

test('values of keys are shown once, when they are made, where a project does not reveal them', async () => {
  const { masterKey } = shop
  const shown = await call('GET', '/keys', masterKey)
  for (const { key, uid } of shown.body.results) assert.equal(key, keyValue(masterKey, uid))

  await set({ revealKeys: false })
  const made = await call('POST', '/keys', masterKey, { actions: ['keys.update'], indexes: ['*'], expiresAt: null })
  assert.equal(made.status, 201)
  assert.equal(made.body.key, keyValue(masterKey, made.body.uid))
  const { key, ...rest } = made.body
  assert(key !== null)
  assert.deepEqual((await call('GET', `/keys/${made.body.uid}`, masterKey)).body, { ...rest, key: null })
  assert.deepEqual((await call('GET', `/keys/${key}`, masterKey)).body, { ...rest, key: null })
  for (const listed of (await call('GET', '/keys', masterKey)).body.results) assert.equal(listed.key, null)

  await set({ revealKeys: true })
  const renamed = await call('PATCH', `/keys/${made.body.uid}`, key, { name: 'mine' })
  assert.deepEqual([renamed.body.name, renamed.body.key], ['mine', null], 'this key may not read keys')
})

test('the master key is refused as any wrong key, and taken again, as the project says', async () => {
  const { masterKey } = shop
  const { body } = await call('GET', '/keys', masterKey)
  const admin = body.results.find(({ name }) => name === 'Default Admin API Key')
  assert(admin?.key)
  await set({ allowMasterKey: false })
  const refused = await call('GET', '/indexes', masterKey)
  assert.deepEqual([refused.status, refused.body.code], [403, 'invalid_api_key'])
  assert.equal((await call('GET', '/indexes', admin.key)).status, 200, 'keys that were derived from it go on')
  await set({ allowMasterKey: true })
  assert.equal((await call('GET', '/indexes', masterKey)).status, 200)
})
