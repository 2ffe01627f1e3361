/** Replicas that are compared in the background: on engines, one of which comes to show something else than was written. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Engine } from '../../src/engine/engine.ts'
import type { Operation } from '../../src/journal/change.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { startAntiEntropy } from '../../src/orchestrator/moves/anti-entropy.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { outcomeAt, put, World } from './journal-world.ts'
import { memorySource, postgresSource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const stepMsMax = 120_000

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + stepMsMax; !(await isSo()); ) {
    assert.ok(Date.now() < ends, `${what} takes too long`)
    await systemClock.sleep(20)
  }
}

for (const source of engineSources()) {
  const running: EngineProcess[] = []
  after(async () => {
    for (const { stop } of running) await stop()
  })

  test(`${source.name}: a replica that shows something else twice is built anew from the journal, and an index of one replica is left alone`, async () => {
    running.push(...(await Promise.all([source.start(), source.start()])))
    const store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
    const { catalogue, laneJournal, replicas, replicaChecks: checks } = store
    const organisation = await catalogue.createOrganisation('Acme')
    const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
    const engines = new Map<string, Engine>()
    for (const [at, { engine, url, key }] of running.entries()) {
      await catalogue.putNode({ id: `n${at}`, engine: 'embedded', url, region: 'local', key })
      engines.set(`n${at}`, engine)
    }
    const rotten = rots(engines.get('n1')!)
    engines.set('n1', rotten.engine)
    const engineOf = ({ id }: { readonly id: string }): Engine => {
      const engine = engines.get(id)
      must(engine !== undefined, 'the node has an engine')
      return engine
    }
    const parts = { worker: 'w', engineOf, clock: systemClock, log: silent }
    const replication = startReplication({
      ...{ ...parts, journal: laneJournal, random: seededRandom(2), metrics: silentLaneMetrics },
    })
    const append = async (uid: string, operation: Operation, lines: readonly object[] = [], isSpread = false) => {
      const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
      const outcome = await store.journal.append({
        ...{ project: project.id, uid, operation, customMetadata: null, mayCreateIndex: true, refusal: null },
        payload: lines.length === 0 ? null : { kind: 'inline', bytes },
        inferred: { primaryKey: 'id' },
        spread: isSpread ? { shards: 4, replicationFactor: 2, exactTies: true } : null,
      })
      must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
      await until('a task', async () => (await store.journal.task(project.id, outcome.task))?.finishedAt != null)
    }
    const books = Array.from({ length: 40 }, (_, id) => ({ id, title: `book ${id}` }))
    for (const [uid, isSpread] of [['spread', true] as const, ['plain', false] as const]) {
      await append(uid, { kind: 'index-create', primaryKey: 'id' }, [], isSpread)
      await append(uid, { ...put, received: books.length, distinct: books.length }, books)
    }
    const { indexes } = await catalogue.snapshot()
    const spread = indexes.find(({ uid }) => uid === 'spread')
    must(spread !== undefined, 'the index is there')
    const counts = { scanned: 0, mismatched: 0, rebuilt: 0, finished: 0 }
    const counted = (name: keyof typeof counts) => () => {
      counts[name] += 1
    }
    const comparing = startAntiEntropy({
      ...{ ...parts, checks, replicas, catalogue, documentsPerSecond: 100_000, intervalMs: 50, mayRebuild: true },
      lookMs: 20,
      metrics: {
        scanned: counted('scanned'),
        mismatched: counted('mismatched'),
        rebuilt: counted('rebuilt'),
        finished: counted('finished'),
      },
    })
    try {
      await until('two passes', async () => counts.finished >= 2)
      assert.equal(counts.mismatched, 0)
      assert.deepEqual(
        (await checks.list(10)).map(({ index }) => index),
        [spread.id],
      )
      rotten.begin()
      await until('the repair', async () => counts.rebuilt > 0)
      assert.ok(counts.mismatched >= 2, `${counts.mismatched} were enough`)
      await until('the replica', async () => {
        const standing = await replicas.standing(spread.id)
        return standing?.replicas.every(({ state }) => state === 'active') === true
      })
      const passes = counts.finished
      await until('a clean pass', async () => {
        const [check] = await checks.list(1)
        return counts.finished > passes && check?.findings.length === 0
      })
      assert.equal(rotten.isOver(), true)
    } finally {
      await comparing.stop()
      await replication.stop()
    }
  })
}

const stores = [memorySource(), await postgresSource()]
after(async () => {
  for (const one of stores) await one.close()
})
for (const storeSource of stores) {
  test(`store in ${storeSource.name}: an index is compared by one worker at a time, when it is due, for as long as it lives`, async () => {
    let now = Date.now()
    const clock: Clock = { ...systemClock, now: () => now }
    const store = await storeSource.open(3, clock)
    const world = await World.open(store)
    const checks = store.replicaChecks
    await store.catalogue.putNode({ id: 'n2', engine: 'embedded', url: 'http://n2', region: 'local', key: null })
    await store.laneJournal.leaseNodes('worker', 60_000)
    await world.append('plain', { kind: 'index-create', primaryKey: 'id' })
    await world.deliverAll()
    assert.equal(await checks.claim('a', 60_000), undefined)
    const spread = { shards: 2, replicationFactor: 2, exactTies: true }
    const { task } = await world.append('spread', { kind: 'index-create', primaryKey: 'id' }, { spread })
    for (const node of ['n1', 'n2']) {
      const [lane] = await store.laneJournal.lanesBehind(node, 10)
      must(lane !== undefined, `the index is on ${node}`)
      const [lease] = (await store.laneJournal.leaseNodes('worker', 60_000)).filter((one) => one.node.id === node)
      must(lease !== undefined, `${node} is ours`)
      await store.laneJournal.advance(lease, lane.placement, lane.head, [outcomeAt(lane.head)], null)
    }
    assert.equal((await world.task(task)).status, 'succeeded')
    const index = (await world.names()).spread
    must(index !== undefined, 'the index is there')

    assert.equal((await checks.claim('a', 60_000))?.index, index)
    assert.equal(await checks.claim('b', 60_000), undefined)
    assert.deepEqual([await checks.renew('a', index, 60_000), await checks.renew('b', index, 60_000)], [true, false])
    const finding = { node: 'n2', physicalUid: 'x', times: 1, rebuilt: 0, differing: ['7'], settingsDiffer: false }
    assert.equal(await checks.finish('b', index, { findings: [], dueInMs: 0 }), false)
    assert.equal(await checks.finish('a', index, { findings: [finding], dueInMs: 3_600_000 }), true)
    assert.equal(await checks.claim('b', 60_000), undefined)
    assert.equal(await checks.ask(index), 1)
    assert.deepEqual((await checks.claim('b', 60_000))?.findings, [finding])
    assert.deepEqual(
      (await checks.list(10)).map(({ findings }) => findings.length),
      [1],
    )
    now += 1
  })
}

/** An engine that from some moment on shows one document otherwise, until the index is made anew. */
function rots(engine: Engine): { readonly engine: Engine; begin(): void; isOver(): boolean } {
  let isRotten = false
  let wasRebuilt = false
  return {
    begin: () => {
      isRotten = true
    },
    isOver: () => wasRebuilt && !isRotten,
    engine: {
      ...engine,
      async fetchDocumentTexts(...call) {
        const reply = await engine.fetchDocumentTexts(...call)
        if (!isRotten || reply.kind !== 'answered') return reply
        return { ...reply, value: reply.value.map((text) => text.replace('"book 3"', '"something else"')) }
      },
      deleteIndex(...call) {
        wasRebuilt ||= isRotten
        isRotten = false
        return engine.deleteIndex(...call)
      },
    },
  }
}
