/** What gateways may do on nodes: reads of their projects, with keys that come, go and are replaced without a refusal. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { createEngineKeys } from '../../src/engine/engine-keys.ts'
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { isObject, type Json } from '../../src/lib/json.ts'
import { systemRandom } from '../../src/lib/random.ts'
import { type CredentialKeeper, keepEngineCredentials } from '../../src/orchestrator/engine-credentials.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { type Replication, startReplication } from '../../src/replication/replication.ts'
import type { Node, Project } from '../../src/store/catalogue.ts'
import { credentialId } from '../../src/topology/read-access.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { postgresSource } from './stores.ts'

const source = await postgresSource()
after(() => source.close())
const signal = AbortSignal.timeout(120_000)
const silent = pino({ level: 'silent' })

for (const engines of engineSources()) {
  describe(`gateways on the ${engines.name}`, () => {
    let engine: EngineProcess
    let store: Store
    let node: Node
    let keeper: CredentialKeeper
    let replication: Replication
    let gateway: Gateway
    let shop: Project
    let other: Project
    /** Added to the clock of the keeper. */
    let aheadMs = 0

    before(async () => {
      engine = await engines.start()
      store = await source.open(1, systemClock)
      const { catalogue } = store
      const { id: organisation } = await catalogue.createOrganisation('o')
      shop = await catalogue.createProject({ organisation, name: 'shop' })
      other = await catalogue.createProject({ organisation, name: 'other' })
      node = await catalogue.putNode({ id: 'n1', engine: 'meilisearch', url: engine.url, region: 'r', key: engine.key })
      keeper = keepEngineCredentials({
        credentials: store.engineCredentials,
        nodes: () => catalogue.nodes(),
        keysOf: ({ url, key }) => createEngineKeys({ url, key: key ?? '' }),
        clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
        log: silent,
        everyMs: 3_600_000,
      })
      replication = startReplication({
        worker: 'w',
        journal: store.laneJournal,
        engineOf: () => engine.engine,
        credentials: keeper,
        clock: systemClock,
        random: systemRandom,
        log: silent,
        metrics: silentLaneMetrics,
      })
      gateway = await startGateway({
        httpAddr: '127.0.0.1:0',
        catalogue: store.gatewayCatalogue,
        journal: store.journal,
        logger: silent,
        metrics: new Registry(),
      })
      for (const project of [shop, other]) {
        await call(project, 'POST', '/indexes/films/documents', [{ id: 1, title: project.name }])
      }
    })
    after(async () => {
      await gateway.close(0)
      await replication.stop()
      await keeper.stop()
      await engine.stop()
      await store.close()
    })

    async function call(project: Project, method: string, path: string, sent?: Json) {
      const answer = await fetch(`${gateway.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${project.masterKey}`, 'content-type': 'application/json' },
        ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
      })
      const body: unknown = await answer.json()
      return { status: answer.status, body: isObject(body) ? body : {} }
    }

    async function settled(project: Project): Promise<void> {
      for (;;) {
        if ((await call(project, 'GET', '/tasks/0')).body.status === 'succeeded') return
        await systemClock.sleep(10)
      }
    }

    const search = (project: Project) => call(project, 'POST', '/indexes/films/search', { q: '' })
    const credential = async (purpose: string) => {
      const found = (await store.engineCredentials.ofNode('n1')).find(({ id }) => id === credentialId('n1', purpose))
      assert(found !== undefined)
      return found
    }
    const askEngine = (key: string, path: string) =>
      fetch(`${engine.url}${path}`, { headers: { authorization: `Bearer ${key}` } })

    test('the first search after the first write works, as do all other reads', async () => {
      await settled(shop)
      assert.equal((await search(shop)).status, 200)
      await settled(other)
      assert.deepEqual((await search(other)).body.hits, [{ id: 1, title: 'other' }])
      const paths = ['/indexes/films/documents', '/indexes/films/documents/1', '/indexes/films/stats', '/stats']
      for (const path of [...paths, '/indexes/films/settings', '/indexes/films/search?q=other']) {
        assert.equal((await call(other, 'GET', path)).status, 200, path)
      }
      for (const path of ['/multi-search', '/indexes/films/documents/fetch', '/indexes/films/fields']) {
        const sent = path === '/multi-search' ? { queries: [{ indexUid: 'films' }] } : {}
        assert.equal((await call(other, 'POST', path, sent)).status, 200, path)
      }
      assert.equal((await call(other, 'PATCH', '/experimental-features', { containsFilter: true })).status, 200)
    })

    test('a gateway holds no master key, and its keys open nothing but the indexes of their project', async () => {
      const { nodes, credentials } = await store.gatewayCatalogue.snapshot()
      assert.deepEqual(nodes, [{ ...node, key: null }])
      assert(!JSON.stringify(credentials).includes(engine.key))
      const { key } = await credential(shop.id)
      assert.equal((await askEngine(key, `/indexes/${shop.ref}_films/documents`)).status, 200)
      assert.equal((await askEngine(key, `/indexes/${other.ref}_films/documents`)).status, 403)
      for (const path of ['/keys', '/tasks', '/version', '/experimental-features']) {
        assert.equal((await askEngine(key, path)).status, 403, path)
      }
      const flags = await credential('flags')
      assert.equal((await askEngine(flags.key, `/indexes/${shop.ref}_films/documents`)).status, 403)
    })

    test('keys are replaced while searches go on, and the one before works until the next replacement', async () => {
      const first = await credential(shop.id)
      const statuses = new Set<number>()
      let isOver = false
      const searching = (async () => {
        while (!isOver) statuses.add((await search(shop)).status)
      })()
      aheadMs += 91 * 86_400_000
      await keeper.settle(node, signal)
      const second = await credential(shop.id)
      assert.notEqual(second.key, first.key)
      assert.equal((await askEngine(first.key, `/indexes/${shop.ref}_films/documents`)).status, 200)
      await store.engineCredentials.expire()
      await keeper.settle(node, signal)
      const third = await credential(shop.id)
      assert.equal((await askEngine(second.key, `/indexes/${shop.ref}_films/documents`)).status, 200)
      assert.equal((await askEngine(first.key, `/indexes/${shop.ref}_films/documents`)).status, 403)
      isOver = true
      await searching
      assert.deepEqual([...statuses], [200])
      assert.equal(third.generation, 3)
      // Nothing is due any more.
      await keeper.settle(node, signal)
      assert.deepEqual(await credential(shop.id), third)
    })

    test('a node that refuses our key is suspect, and answers again when the key is back', async () => {
      const { key } = await credential(other.id)
      const keys = createEngineKeys(engine)
      const values = await keys.list(signal)
      assert(values instanceof Map)
      const uid = [...values].find(([, value]) => value === key)?.[0]
      assert(uid !== undefined)
      await keys.remove(uid, signal)
      const refused = await search(other)
      assert.deepEqual([refused.status, refused.body.code], [502, 'engine_bad_response'])
      const suspects = async () => {
        const { nodes } = (await gateway.admin({ kind: 'state' })).body as { nodes: { suspect: boolean }[] }
        return nodes.map(({ suspect }) => suspect)
      }
      assert.deepEqual(await suspects(), [true])
      await keeper.settle(node, signal)
      assert.equal((await search(other)).status, 200)
      assert.deepEqual(await suspects(), [false])
      assert.equal((await credential(other.id)).key, key, 'the same key is made again')
    })
  })
}
