/** Lanes of a spread index on a real engine: what stands on the node, and that nobody changes it behind our back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceField, sequenceText, shardField, shardText } from '../../src/api/reserved-fields.ts'
import type { EngineReply } from '../../src/engine/engine.ts'
import type { HttpEngine } from '../../src/engine/http-engine.ts'
import type { Operation } from '../../src/journal/change.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import { shardOfKey } from '../../src/topology/rendezvous.ts'
import { engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'

const spread = { shards: 4, replicationFactor: 1, exactTies: true }
const signal = () => AbortSignal.timeout(60_000)
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

function answered<T>(reply: EngineReply<T>): T {
  must(reply.kind === 'answered', `the node answers: ${JSON.stringify(reply)}`)
  return reply.value
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + 60_000; !(await isSo()); ) {
    assert.ok(Date.now() < ends, 'it takes too long')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Nodes of real engines, and a worker that serves them. */
async function openWorld(engines: ReadonlyMap<string, HttpEngine>) {
  const store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const { catalogue, journal } = store
  const organisation = await catalogue.createOrganisation('Acme')
  const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
  for (const id of engines.keys()) {
    await catalogue.putNode({ id, engine: 'embedded', url: `http://${id}`, region: 'local', key: null })
  }
  const startWorker = (worker: string) =>
    startReplication({
      worker,
      journal: store.laneJournal,
      engineOf: (node) => {
        const engine = engines.get(node.id)
        must(engine !== undefined, 'the node is known')
        return engine
      },
      clock: systemClock,
      random: seededRandom(2),
      log: silent,
      metrics: silentLaneMetrics,
    })
  const write = async (
    uid: string,
    layout: typeof spread | null,
    operation: Operation,
    lines: readonly object[] = [],
  ) => {
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const outcome = await journal.append({
      ...{ project: project.id, uid, operation, customMetadata: null, mayCreateIndex: true, refusal: null },
      payload: lines.length === 0 ? null : { kind: 'inline', bytes },
      inferred: { primaryKey: 'id' },
      spread: layout,
    })
    must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
    return outcome.task
  }
  const succeeds = (task: number) => until(async () => (await journal.task(project.id, task))?.status === 'succeeded')
  return { catalogue, startWorker, write, succeeds }
}

for (const source of engineSources()) {
  test(`${source.name}: an index that is deleted while a node is away is gone from it once it is back`, async () => {
    const [one, two] = [await source.start(), await source.start()]
    const engines = new Map([
      ['n1', one.engine],
      ['n2', two.engine],
    ])
    const { catalogue, startWorker, write, succeeds } = await openWorld(engines)
    let worker = startWorker('w1')
    try {
      const copies = { ...spread, replicationFactor: 2 }
      const documents = [{ id: 1 }, { id: 2 }, { id: 3 }]
      await succeeds(await write('books', copies, { ...put, received: 3, distinct: 3 }, documents))
      await succeeds(await write('notes', null, { ...put, received: 3, distinct: 3 }, documents))
      const { indexes, placements } = await catalogue.snapshot()
      const notes = indexes.find(({ uid }) => uid === 'notes')
      const away = placements.find(({ index }) => index === notes?.id)?.node
      must(away !== undefined, 'a plain index is on one node')
      const gone = away === 'n1' ? one : two
      const names = async () => answered(await gone.engine.indexes(signal())).map(({ uid }) => uid)
      assert.equal((await names()).filter((uid) => !uid.startsWith('fj')).length, 2)
      await gone.halt()
      const plain = await write('notes', null, { kind: 'index-delete' })
      await succeeds(await write('books', copies, { kind: 'index-delete' }))
      assert.deepEqual(
        (await catalogue.snapshot()).placements.map(({ index }) => index),
        [notes?.id],
      )
      await worker.stop()
      worker = startWorker('w2')
      await gone.resume()
      await succeeds(plain)
      await until(async () => (await names()).every((uid) => uid.startsWith('fj')))
    } finally {
      await worker.stop()
      await one.stop()
      await two.stop()
    }
  })

  test(`${source.name}: documents carry their shard and keep their place, and settings stay what they are`, async () => {
    const running = await source.start()
    const { engine } = running
    const store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
    const { catalogue, journal, laneJournal } = store
    const organisation = await catalogue.createOrganisation('Acme')
    const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
    await catalogue.putNode({ id: 'n1', engine: 'embedded', url: 'http://n1', region: 'local', key: null })
    const replication = startReplication({
      worker: 'w',
      journal: laneJournal,
      engineOf: () => engine,
      clock: systemClock,
      random: seededRandom(2),
      log: silent,
      metrics: silentLaneMetrics,
      auditMs: 50,
    })
    const write = async (operation: Operation, lines: readonly object[] = []) => {
      const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
      const outcome = await journal.append({
        ...{ project: project.id, uid: 'books', operation, customMetadata: null, mayCreateIndex: true, refusal: null },
        payload: lines.length === 0 ? null : { kind: 'inline', bytes },
        inferred: { primaryKey: 'id' },
        spread,
      })
      must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
      await until(async () => (await journal.task(project.id, outcome.task))?.status === 'succeeded')
    }
    try {
      await write({ kind: 'settings', settings: { filterableAttributes: ['year'], displayedAttributes: ['title'] } })
      await write({ ...put, received: 3, distinct: 3 }, [
        { id: 1, year: 1 },
        { id: 2, year: 2 },
        { id: 3, year: 3 },
      ])
      await write({ ...put, received: 2, distinct: 2 }, [
        { id: 2, year: 22 },
        { id: 4, year: 4 },
      ])
      const [placement] = (await catalogue.snapshot()).placements
      must(placement !== undefined, 'the index is placed')
      const uid = placement.physicalUid
      const { results } = answered(await engine.fetchDocuments(uid, { limit: 10 }, signal()))
      const places = results.map((document) => [document.id, document[shardField], document[sequenceField]])
      const expected = [
        [1, 2, 0],
        [2, 2, 1],
        [3, 2, 2],
        [4, 3, 1],
      ].map(([id, position, line]) => [
        id,
        shardText(shardOfKey(String(id), 4)),
        sequenceText(position as number, line as number),
      ])
      assert.deepEqual(places.sort(), expected.sort())

      const before = answered(await engine.settings(uid, signal()))
      assert.deepEqual(before.filterableAttributes, ['year', shardField])
      assert.deepEqual(before.displayedAttributes, ['*'])
      // The first looks tell how the node shows its settings.
      await until(async () =>
        (await laneJournal.lanesToAudit('n1', '', 10)).every(({ print }) => print?.position === 1),
      )
      const foreign: JsonObject = {
        stopWords: ['of'],
        filterableAttributes: [],
        embedders: null,
        rankingRules: ['words'],
      }
      const number = answered(await engine.applySettings(uid, foreign, signal()))
      await until(async () => {
        const [task] = answered(await engine.tasks([number], signal()))
        return task?.status === 'succeeded'
      })
      await until(async () => {
        const now = answered(await engine.settings(uid, signal()))
        return JSON.stringify(now) === JSON.stringify(before)
      })
    } finally {
      await replication.stop()
      await running.stop()
    }
  })
}
