/** An engine that somebody else runs, whose key may not make others: that one key does everything, or says what it lacks. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { createEngineKeys } from '../../src/engine/engine-keys.ts'
import { createHttpEngine, type HttpEngine } from '../../src/engine/http-engine.ts'
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { isObject, type Json } from '../../src/lib/json.ts'
import { systemRandom } from '../../src/lib/random.ts'
import { type CredentialKeeper, keepEngineCredentials } from '../../src/orchestrator/engine-credentials.ts'
import { checkEngineKey } from '../../src/orchestrator/remote-node.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { type Replication, startReplication } from '../../src/replication/replication.ts'
import type { Project } from '../../src/store/catalogue.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { postgresSource } from './stores.ts'

const source = await postgresSource()
after(() => source.close())
const signal = AbortSignal.timeout(120_000)
const silent = pino({ level: 'silent' })
const needed = ['search', 'documents.*', 'indexes.*', 'settings.*', 'stats.get', 'tasks.*']

for (const engines of engineSources()) {
  describe(`one key for the ${engines.name}`, () => {
    let engine: EngineProcess
    let count = 0
    before(async () => {
      engine = await engines.start()
    })
    after(() => engine.stop())

    function makeKey(actions: readonly string[], indexes: readonly string[] = ['*']): Promise<string> {
      count += 1
      const uid = `00000000-0000-4000-8000-${String(count).padStart(12, '0')}`
      return createEngineKeys(engine).make({ uid, name: 'one', actions, indexes }, signal)
    }
    const check = async (actions: readonly string[], indexes?: readonly string[]) =>
      checkEngineKey(engine.url, await makeKey(actions, indexes))

    test('the check of a key names the actions that it lacks, and changes nothing', async () => {
      assert.equal(await checkEngineKey(engine.url, engine.key), 'makes-keys')
      assert.equal(await check(['*']), 'makes-keys')
      assert.equal(await check(needed), 'one-key')
      assert.equal(await check([...needed, 'keys.get']), 'one-key')
      await assert.rejects(
        check(needed.filter((action) => action !== 'stats.get')),
        /lacks the action stats\.get on all/,
      )
      const some = ['search', 'documents.add', 'documents.get', 'indexes.*', 'settings.*', 'stats.get', 'tasks.get']
      await assert.rejects(check(some), /lacks the actions documents\.delete, tasks\.cancel, tasks\.delete on all/)
      await assert.rejects(check(needed, ['shop_*']), /lacks the actions search, documents\.add, /)
      await assert.rejects(checkEngineKey(engine.url, 'wrong'), /refuses this key/)
      await assert.rejects(checkEngineKey(engine.url, null), /refuses this key/)
      const tasks = await engine.engine.newestTasks(undefined, 10, undefined, signal)
      assert.deepEqual(tasks, { kind: 'answered', value: [] })
      assert.deepEqual(await engine.engine.indexes(signal), { kind: 'answered', value: [] })
    })

    test('writes and reads of all projects go through with that key, and it is replaced when another is given', async () => {
      const store: Store = await source.open(1, systemClock)
      const { catalogue } = store
      const { id: organisation } = await catalogue.createOrganisation('o')
      const shop = await catalogue.createProject({ organisation, name: 'shop' })
      const url = engine.url
      const key = await makeKey(needed)
      const described = { id: 'n1', engine: 'meilisearch', url, region: 'r' } as const
      const node = await catalogue.putNode({ ...described, key })
      const lane: HttpEngine = createHttpEngine({ url, key })
      const warnings: object[] = []
      const keeper: CredentialKeeper = keepEngineCredentials({
        credentials: store.engineCredentials,
        nodes: () => catalogue.nodes(),
        keysOf: ({ key: own }) => createEngineKeys({ url, key: own ?? '' }),
        clock: systemClock,
        log: { warn: (fields) => void warnings.push(fields) },
        everyMs: 3_600_000,
      })
      const replication: Replication = startReplication({
        ...{ worker: 'w', journal: store.laneJournal, engineOf: () => lane, credentials: keeper },
        ...{ clock: systemClock, random: systemRandom, log: silent, metrics: silentLaneMetrics },
      })
      const gateway: Gateway = await startGateway({
        ...{ httpAddr: '127.0.0.1:0', catalogue: store.gatewayCatalogue, journal: store.journal, logger: silent },
        metrics: new Registry(),
      })
      const call = async (project: Project, method: string, path: string, sent?: Json) => {
        const answer = await fetch(`${gateway.url}${path}`, {
          method,
          headers: { authorization: `Bearer ${project.masterKey}`, 'content-type': 'application/json' },
          ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
        })
        const body: unknown = await answer.json()
        return isObject(body) ? body : {}
      }
      try {
        await call(shop, 'POST', '/indexes/films/documents', [{ id: 1, title: 'Alien' }])
        while ((await call(shop, 'GET', '/tasks/0')).status !== 'succeeded') await systemClock.sleep(10)
        const hits = async () => (await call(shop, 'POST', '/indexes/films/search', { q: 'alien' })).hits
        assert.deepEqual(await hits(), [{ id: 1, title: 'Alien' }])
        await keeper.settle(node, signal)
        assert.deepEqual(warnings, [{ node: 'n1' }], 'told once')
        const kept = async () =>
          (await store.engineCredentials.ofNode('n1')).map(({ id, generation, key: value }) => [id, generation, value])
        assert.deepEqual((await kept()).sort(), [
          ['n1/flags', 0, key],
          ['n1/reads', 0, key],
        ])
        const other = await makeKey(needed)
        await keeper.settle(await catalogue.putNode({ ...described, key: other }), signal)
        assert.deepEqual((await kept()).sort(), [
          ['n1/flags', 0, other],
          ['n1/reads', 0, other],
        ])
        // With the master key gateways get keys of their own again.
        await keeper.settle(await catalogue.putNode({ ...described, key: engine.key }), signal)
        assert.equal((await kept()).length, 3)
        assert.ok((await kept()).every(([, generation, value]) => generation === 1 && value !== other))
        assert.deepEqual(await hits(), [{ id: 1, title: 'Alien' }])
      } finally {
        await gateway.close(0)
        await replication.stop()
        await keeper.stop()
        await lane.close()
        await store.close()
      }
    })
  })
}
