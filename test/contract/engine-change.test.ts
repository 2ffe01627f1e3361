/**
 * Moves between engines that read none of each other's files: other kinds of engine, or other versions. Documents are streamed
 * there, and back. With MEILISEARCH_BIN the other engine is a real Meilisearch.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Engine } from '../../src/engine/engine.ts'
import type { Operation } from '../../src/journal/change.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { startMover } from '../../src/orchestrator/moves/mover.ts'
import { openMove } from '../../src/orchestrator/moves/open-move.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'
import { memorySource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const signal = () => AbortSignal.timeout(60_000)
const movedMsMax = 120_000

const sources = engineSources()
const [embedded, other = embedded] = sources
must(embedded !== undefined && other !== undefined, 'there is an engine')

test(`an index goes from the embedded engine to ${other === embedded ? 'one of another version' : other.name}, and back, under writes`, async () => {
  const engines: readonly EngineProcess[] = await Promise.all([embedded.start(), other.start()])
  after(async () => {
    for (const { stop } of engines) await stop()
  })
  const byNode = new Map<string, Engine>([
    ['n0', engines[0]!.engine],
    ['n1', other === embedded ? ofAnotherVersion(engines[1]!.engine) : engines[1]!.engine],
  ])
  const engineOf = ({ id }: { readonly id: string }) => {
    const engine = byNode.get(id)
    must(engine !== undefined, 'the node has an engine')
    return engine
  }
  const store = await memorySource().open(9, systemClock)
  const { catalogue, laneJournal, journal, replicas, moves, gateways } = store
  const organisation = await catalogue.createOrganisation('Acme')
  const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
  const node = (id: string, at: number) => {
    const engine = at === 1 && other !== embedded ? 'meilisearch' : 'embedded'
    return catalogue.putNode({ id, engine, url: engines[at]!.url, region: 'local', key: engines[at]!.key })
  }
  await node('n0', 0)
  const random = seededRandom(4)
  const shared = { engineOf, clock: systemClock, log: silent }
  const replication = startReplication({
    ...{ worker: 'w', journal: laneJournal, random, metrics: silentLaneMetrics },
    ...shared,
  })
  const mover = startMover({ worker: 'm', moves, replicas, journal: laneJournal, catalogue, gateways, ...shared })
  const append = async (operation: Operation, lines: readonly object[] = []) => {
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const outcome = await journal.append({
      ...{ project: project.id, uid: 'books', operation, customMetadata: null, mayCreateIndex: true, refusal: null },
      payload: lines.length === 0 ? null : { kind: 'inline', bytes },
      inferred: { primaryKey: 'id' },
    })
    must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
    return outcome.task
  }
  const ended = async (task: number) => {
    while ((await journal.task(project.id, task))?.finishedAt == null) await systemClock.sleep(10)
  }
  const model = new Map<number, object>()
  const write = (id: number, round: number) => {
    const book = {
      id,
      title: `book ${id} of round ${round}`,
      shade: id % 7,
      price: 1.5 * round,
      tags: ['a', `${round}`],
      none: null,
    }
    model.set(id, book)
    return append({ ...put, received: 1, distinct: 1 }, [{ ...book, _vectors: { own: [id, 0.1 * round] } }])
  }
  try {
    const embedders = { own: { source: 'userProvided', dimensions: 2 } }
    const settings = { filterableAttributes: ['shade'], synonyms: { book: ['tome'] }, stopWords: ['of'], embedders }
    await append({ kind: 'settings', settings })
    const first = Array.from({ length: 120 }, (_, id) => ({ id, title: `book ${id}`, _vectors: { own: [id, 1] } }))
    for (const { _vectors, ...book } of first) model.set(book.id, book)
    await ended(await append({ ...put, received: first.length, distinct: first.length }, first))
    await node('n1', 1)
    for (const [round, target] of ['n1', 'n0'].entries()) {
      const index = (await catalogue.snapshot()).indexes[0]!
      const deps = { ...store, clock: systemClock, random }
      const move = await openMove(deps, { index, target, options: { keepMs: 0, bytesPerSecond: null } })
      must(!('refusal' in move), JSON.stringify(move))
      const deadline = Date.now() + movedMsMax
      for (let count = 0; (await moves.get(move.id))?.finishedAt === null; count += 1) {
        assert.ok(Date.now() < deadline, `the move to ${target} takes too long`)
        await ended(await write(60 + (count % 60), 10 * round + count))
      }
      const { step, failure, progress } = (await moves.get(move.id)) ?? {}
      assert.equal(step, 'closed', failure ?? undefined)
      assert.equal(progress?.copy, 'streamed')
      await ended(await write(500 + round, round))
      const [placement] = (await catalogue.snapshot()).placements
      must(placement !== undefined && placement.node === target, `the index is on ${target}`)
      const reply = await engineOf({ id: target }).fetchDocuments(placement.physicalUid, { limit: 1_000 }, signal())
      must(reply.kind === 'answered', 'the engine answers')
      const byId = (a: object, b: object) => Number('id' in a && a.id) - Number('id' in b && b.id)
      assert.deepEqual([...reply.value.results].sort(byId), [...model.values()].sort(byId))
    }
  } finally {
    await mover.stop()
    await replication.stop()
    await store.close()
  }
})

/** Its snapshots are of a format that no other engine reads. */
function ofAnotherVersion(engine: Engine): Engine {
  const { snapshots } = engine
  const offer: Engine['snapshots']['offer'] = async (of) => {
    const reply = await snapshots.offer(of)
    return reply.kind === 'answered' && reply.value !== null
      ? { ...reply, value: { ...reply.value, indexFormat: reply.value.indexFormat + 1 } }
      : reply
  }
  return new Proxy(engine, {
    get: (target, name) => {
      if (name === 'snapshots')
        return new Proxy(snapshots, { get: (of, part) => (part === 'offer' ? offer : memberOf(of, part)) })
      return memberOf(target, name)
    },
  })
}

function memberOf(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target)
  return typeof value === 'function' ? value.bind(target) : value
}
