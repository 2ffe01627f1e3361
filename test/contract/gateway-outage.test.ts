/** A gateway over a real PostgreSQL that goes away and comes back. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { signAccessToken } from '../../src/control/access-token-signing.ts'
import { keyValue } from '../../src/control/key-value.ts'
import { platformKeys, tokenPurpose } from '../../src/control/token-keys.ts'
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts'
import { openStore, type Store } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { systemRandom } from '../../src/lib/random.ts'
import { type PostgresServer, startPostgres } from '../../src/store/postgres-server.ts'
import { World } from './journal-world.ts'
import { testSealingKey } from './stores.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-outage-'))
const ending: (() => Promise<unknown>)[] = []
after(async () => {
  for (const end of ending.reverse()) await end()
  await rm(folder, { recursive: true, force: true })
})

/** So that a poll of the store is short and a long outage needs no waiting. */
let hurryMs = 0
const clock = {
  ...systemClock,
  now: () => systemClock.now() + hurryMs,
  sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 50), signal),
}

async function startDatabase(): Promise<PostgresServer> {
  const server = await startPostgres({ folder: join(folder, 'postgres'), searchPath: process.env.PATH ?? '' })
  ending.push(() => server.stop())
  return server
}

async function open(connection: PostgresServer['connection']): Promise<Store> {
  const store = await openStore({
    database: { kind: 'postgres', connection },
    blobFolder: join(folder, 'blobs'),
    sealingKey: testSealingKey,
    clock,
    random: systemRandom,
  })
  ending.push(() => store.close())
  return store
}

async function start(store: Store): Promise<Gateway> {
  const gateway = await startGateway({
    httpAddr: '127.0.0.1:0',
    catalogue: store.catalogue,
    journal: store.journal,
    logger: pino({ level: 'silent' }),
    metrics: new Registry(),
    clock,
    platformKeys: platformKeys(() => store.secrets(tokenPurpose)),
    routeCopy: { path: join(folder, 'routes.copy'), key: store.localSecret('route copy'), ageMsMax: 86_400_000 },
    trustMsMax: 7_200_000,
  })
  ending.push(() => gateway.close(0))
  return gateway
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, `${what} after a minute`)
    await systemClock.sleep(20)
  }
}

test('a gateway that starts while the database is away serves from its copy, and catches up when it is back', async () => {
  const engine = createServer((_, response) => response.end('{"hits":[]}')).listen(0, '127.0.0.1')
  await once(engine, 'listening')
  ending.push(async () => engine.close())
  const database = await startDatabase()
  const before = await open(database.connection)
  await before.migrate()
  const world = await World.open(before)
  const url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`
  await before.catalogue.putNode({ id: 'n1', engine: 'embedded', url, region: 'local', key: null })
  await world.deliver((await world.put('films')).index)
  const first = await start(before)
  await until('there is no copy', async () => existsSync(join(folder, 'routes.copy')))
  await first.close(0)
  await before.close()
  await database.stop()

  const store = await open(database.connection)
  const gateway = await start(store)
  const { masterKey, ref } = world.project
  const [signer] = platformKeys(() => before.secrets(tokenPurpose))()
  assert.ok(signer !== undefined)
  const grant = {
    jti: 't',
    issuedAt: Math.floor(clock.now() / 1000),
    seconds: 86_400,
    actions: ['search'],
    indexes: ['*'],
  }
  const token = signAccessToken(signer, { ...grant, project: ref, rules: undefined, subject: undefined })
  const call = (path: string, init: RequestInit = {}, key = masterKey) =>
    fetch(`${gateway.url}${path}`, { ...init, headers: { authorization: `Bearer ${key}`, ...init.headers } })
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '[{"id":1}]' }

  const search = await call('/indexes/films/search')
  assert.equal(search.status, 200)
  assert.equal(search.headers.get('flapjack-degraded'), null)
  assert.equal((await call('/indexes/films/search', {}, token)).status, 200)
  assert.equal((await call('/indexes')).status, 200)
  const write = await call('/indexes/films/documents', post)
  assert.deepEqual([write.status, write.headers.get('retry-after')], [503, '5'])
  assert.equal((await call('/keys')).status, 503)
  assert.equal((await call('/indexes/films/search', {}, keyValue(masterKey, 'unknown'))).status, 403)
  const refused = await gateway.admin({ kind: 'resync' })
  assert.equal(refused.status, 503)

  // An hour later answers say what they come from; behind what the operator allows, nobody is let in.
  const degraded = async () => (await call('/indexes/films/search')).headers.get('flapjack-degraded')
  hurryMs = 3_600_000
  await until('answers do not tell', async () => (await degraded()) === 'db')
  hurryMs = 7_300_000
  await until('it is still trusted', async () => (await call('/indexes/films/search')).status === 503)
  assert.equal((await gateway.admin({ kind: 'ready' })).status, 503)

  await startDatabase()
  await store.migrate()
  await until('it did not catch up', async () => (await call('/indexes/films/search')).status === 200)
  assert.equal(await degraded(), null)
  assert.equal((await call('/indexes/films/documents', post)).status, 202)
  const key = await store.catalogue.createKey(world.project.id, {
    ...{
      uid: systemRandom.uuid(),
      name: null,
      description: null,
      actions: ['search'],
      indexes: ['*'],
      expiresAt: null,
    },
  })
  assert.ok(key !== 'exists')
  assert.equal((await call('/indexes/films/search', {}, keyValue(masterKey, key.uid))).status, 200)
})
