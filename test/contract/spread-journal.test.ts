/** What replicas of a spread index come to together, in both stores: completion, the in-sync set, disagreement. */
import assert from 'node:assert/strict'
import { after, afterEach, describe, test } from 'node:test'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import type { ChangeOutcome, LaneState, NodeLease } from '../../src/journal/ports.ts'
import { assert as must } from '../../src/lib/assert.ts'
import type { Json } from '../../src/lib/json.ts'
import type { Project } from '../../src/store/catalogue.ts'
import { line, outcomeAt, put } from './journal-world.ts'
import { memorySource, postgresSource, type StoreSource } from './stores.ts'

const spread = { shards: 4, replicationFactor: 2, exactTies: false }
const clear: Operation = { kind: 'documents-clear' }

/** Three nodes in one group, one lease each. */
class Fleet {
  readonly store: Store
  readonly project: Project
  readonly leases: ReadonlyMap<string, NodeLease>

  constructor(store: Store, project: Project, leases: readonly NodeLease[]) {
    this.store = store
    this.project = project
    this.leases = new Map(leases.map((lease) => [lease.node.id, lease]))
  }

  static async open(store: Store): Promise<Fleet> {
    const organisation = await store.catalogue.createOrganisation('Acme')
    const project = await store.catalogue.createProject({ organisation: organisation.id, name: 'books' })
    for (const id of ['n0', 'n1', 'n2']) {
      await store.catalogue.putNode({ id, engine: 'embedded', url: `http://${id}`, region: 'local', key: null })
    }
    return new Fleet(store, project, await store.laneJournal.leaseNodes('worker', 600_000))
  }

  append(operation: Operation = put) {
    return this.store.journal.append({
      project: this.project.id,
      uid: 'a',
      operation,
      payload: operation.kind === 'documents-put' ? { kind: 'inline', bytes: line } : null,
      customMetadata: null,
      mayCreateIndex: true,
      refusal: null,
      inferred: { primaryKey: 'id' },
      spread,
    })
  }

  async write(operation: Operation = put): Promise<number> {
    const outcome = await this.append(operation)
    must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
    return outcome.task
  }

  async lane(node: string): Promise<LaneState> {
    const [lane] = await this.store.laneJournal.lanesBehind(node, 10)
    must(lane !== undefined, `${node} has something to do`)
    return lane
  }

  /** One replica applies everything up to `through`. */
  async apply(node: string, through: number, outcome?: Partial<ChangeOutcome>, lane?: LaneState) {
    const { placement } = lane ?? (await this.lane(node))
    const positions = Array.from({ length: through - placement.applied }, (_, at) => placement.applied + at + 1)
    await this.store.laneJournal.markSent(this.lease(node), placement.index, positions, 1)
    const outcomes = positions.map((position) => ({ ...outcomeAt(position), ...outcome }))
    return this.store.laneJournal.advance(this.lease(node), placement, through, outcomes, null)
  }

  lease(node: string): NodeLease {
    const lease = this.leases.get(node)
    must(lease !== undefined, `${node} is leased`)
    return lease
  }

  async status(task: number): Promise<string> {
    return (await this.store.journal.task(this.project.id, task))?.status ?? 'none'
  }

  async states(): Promise<Record<string, string>> {
    const { placements } = await this.store.catalogue.snapshot()
    return Object.fromEntries(placements.map(({ node, state, applied }) => [node, `${state} ${applied}`]).sort())
  }
}

for (const source of [memorySource(), await postgresSource()]) {
  describe(`spread indexes in ${source.name}`, () => {
    afterEach(() => source.closeStores())
    after(() => source.close())
    completion(source)
    inSync(source)
    disagreement(source)
  })
}

function completion(source: StoreSource) {
  test('a new spread index lies on every node that rendezvous gives a shard, under one name', async () => {
    const fleet = await Fleet.open(await source.open())
    const task = await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    const { indexes, placements } = await fleet.store.catalogue.snapshot()
    assert.equal(await fleet.status(task), 'succeeded')
    assert.deepEqual(indexes[0]?.spread, spread)
    assert.equal(new Set(placements.map(({ physicalUid }) => physicalUid)).size, 1)
    const copies = placements.flatMap(({ shards }) => shards).sort()
    assert.deepEqual(copies, [0, 0, 1, 1, 2, 2, 3, 3])
  })

  test('a change is complete when every replica of the in-sync set has applied it, and not before', async () => {
    const fleet = await Fleet.open(await source.open())
    const task = await fleet.write()
    await fleet.apply('n0', 1)
    await fleet.apply('n1', 1)
    assert.equal(await fleet.status(task), 'processing')
    await fleet.apply('n2', 1)
    assert.equal(await fleet.status(task), 'succeeded')
  })

  // Each transaction must see what the other said, although neither waits for the other's statement.
  test('replicas that apply a change at the same moment complete it', async () => {
    const fleet = await Fleet.open(await source.open())
    for (let position = 1; position <= 15; position += 1) {
      const task = await fleet.write()
      const told = await Promise.all(['n0', 'n1', 'n2'].map((node) => fleet.apply(node, position)))
      assert.deepEqual(told, [true, true, true])
      assert.equal(await fleet.status(task), 'succeeded', `position ${position}`)
    }
  })

  test('documents that were removed from every copy are counted once', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    const task = await fleet.write(clear)
    const removed = (deletedDocuments: number) => ({ details: { deletedDocuments } as Json, isShare: true })
    await fleet.apply('n0', 2, removed(6))
    await fleet.apply('n1', 2, removed(4))
    await fleet.apply('n2', 2, removed(2))
    const view = await fleet.store.journal.task(fleet.project.id, task)
    assert.deepEqual(view?.details, { deletedDocuments: 6 })
  })
}

function inSync(source: StoreSource) {
  test('a silent node leaves the set, so that the others complete, and is back when it holds what is complete', async () => {
    const fleet = await Fleet.open(await source.open())
    const first = await fleet.write()
    await fleet.apply('n0', 1)
    await fleet.apply('n1', 1)
    await fleet.store.laneJournal.noteSilence(fleet.lease('n2'), true)
    assert.equal(await fleet.status(first), 'succeeded')
    assert.equal((await fleet.states()).n2, 'filling 0')
    const second = await fleet.append()
    must(second.kind === 'appended', 'one replica of each shard is enough')
    assert.equal(second.degraded, 'groups=0;shards=0,1,3')
    await fleet.store.laneJournal.noteSilence(fleet.lease('n2'), false)
    assert.equal((await fleet.states()).n2, 'filling 0')
    await fleet.apply('n2', 1)
    assert.equal((await fleet.states()).n2, 'active 1')
  })

  test('a node that misses nothing when it is back is read again at once', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    await fleet.store.laneJournal.noteSilence(fleet.lease('n1'), true)
    assert.equal((await fleet.states()).n1, 'filling 1')
    const troubles = await fleet.store.laneJournal.troubles()
    assert.match(troubles.get('n1') ?? '', /^it has not answered since \d{4}-/)
    assert.equal(troubles.size, 1)
    await fleet.store.laneJournal.noteSilence(fleet.lease('n1'), false)
    assert.equal((await fleet.states()).n1, 'active 1')
    assert.equal((await fleet.store.laneJournal.troubles()).size, 0)
  })

  test('the last replica of a shard stays in the set, and nothing is accepted that nobody could apply', async () => {
    const fleet = await Fleet.open(await source.open())
    const first = await fleet.write()
    await fleet.apply('n0', 1)
    for (const node of ['n1', 'n2']) await fleet.store.laneJournal.noteSilence(fleet.lease(node), true)
    assert.equal(await fleet.status(first), 'processing')
    const refused = await fleet.append()
    must(refused.kind === 'no-quorum', 'some shard is on the silent nodes alone')
    assert.ok(refused.shards.length > 0)
  })

  test('who holds the others back for too long leaves the set', async () => {
    const fleet = await Fleet.open(await source.open())
    const task = await fleet.write()
    await fleet.apply('n0', 1)
    await fleet.apply('n2', 1)
    await fleet.store.laneJournal.releaseHeld(3_600_000)
    assert.equal(await fleet.status(task), 'processing')
    await fleet.store.laneJournal.releaseHeld(0)
    assert.equal(await fleet.status(task), 'succeeded')
    assert.equal((await fleet.states()).n1, 'filling 0')
  })
}

function disagreement(source: StoreSource) {
  test('what failed on one replica failed for the client, and those that hold it begin anew', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    const task = await fleet.write()
    const before = await fleet.lane('n0')
    await fleet.apply('n0', 2)
    await fleet.apply('n1', 2, outcomeAt(2, true))
    await fleet.apply('n2', 2)
    assert.equal(await fleet.status(task), 'failed')
    assert.deepEqual(await fleet.states(), { n0: 'filling 0', n1: 'active 2', n2: 'filling 0' })
    const again = await fleet.lane('n0')
    assert.equal(again.placement.revision, before.placement.revision + 1)
    assert.equal(await fleet.apply('n0', 2, {}, before), 'restarted')
    // A change that has failed is passed over.
    const { laneJournal } = fleet.store
    assert.equal(await laneJournal.advance(fleet.lease('n0'), again.placement, 2, [], null), true)
    assert.equal((await fleet.states()).n0, 'active 2')
  })

  test('a replica that comes late with another outcome begins anew', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    const task = await fleet.write()
    await fleet.store.laneJournal.noteSilence(fleet.lease('n2'), true)
    await fleet.apply('n0', 2)
    await fleet.apply('n1', 2)
    assert.equal(await fleet.status(task), 'succeeded')
    await fleet.apply('n2', 2, outcomeAt(2, true))
    assert.equal((await fleet.states()).n2, 'filling 0')
  })

  test('one replica takes a settings change first, and what it refuses does not reach the others', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    const task = await fleet.write({ kind: 'settings', settings: { stopWords: ['a'] } })
    const { laneJournal } = fleet.store
    const { placement } = await fleet.lane('n1')
    const item = async () => (await laneJournal.read(placement.index, 1, 10, 1e6))[0]
    assert.equal((await item())?.firstOn, 'n0')
    await laneJournal.noteSilence(fleet.lease('n0'), true)
    assert.equal((await item())?.firstOn, 'n1')
    await fleet.apply('n1', 2, outcomeAt(2, true))
    assert.equal((await item())?.firstOn, undefined)
    assert.equal((await item())?.refusedFirst?.code, outcomeAt(2, true).error?.code)
    await fleet.apply('n2', 2, outcomeAt(2, true))
    assert.equal(await fleet.status(task), 'failed')
    assert.equal((await item())?.refusedFirst, undefined)
  })

  test('what a change came to in each shard is recorded once and read by every lane', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    await fleet.write({ kind: 'documents-delete-by-filter', filter: 'a = 1' })
    const { placement } = await fleet.lane('n0')
    const resolution = { puts: null, merge: false, deletes: null, putCount: 0, deleteCount: 0, error: null }
    const { laneJournal } = fleet.store
    const record = (node: string, shards: number[], deleteCount: number) =>
      laneJournal.recordPartial(fleet.lease(node), placement.index, 2, {
        shards,
        resolution: { ...resolution, deleteCount },
      })
    assert.equal(await record('n0', [0, 1], 5), true)
    assert.equal(await record('n1', [1, 2], 7), true)
    assert.equal(await record('n1', [2, 3], 9), true)
    const [item] = await laneJournal.read(placement.index, 1, 10, 1e6)
    assert.deepEqual(
      item?.partials.map(({ shards, resolution: { deleteCount } }) => ({ shards, deleteCount })),
      [
        { shards: [0, 1], deleteCount: 5 },
        { shards: [2, 3], deleteCount: 9 },
      ],
    )
  })

  // Who differs on an earlier change is built anew, but what it read meanwhile would have stayed.
  test('what a change comes to is not taken from a replica before the others agree on what is in front of it', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    await fleet.write({ kind: 'documents-delete-by-filter', filter: 'a = 1' })
    const early = await fleet.lane('n0')
    await fleet.apply('n0', 1)
    const { laneJournal } = fleet.store
    const resolution = { puts: null, merge: false, deletes: null, putCount: 0, deleteCount: 0, error: null }
    const record = () =>
      laneJournal.recordPartial(fleet.lease('n0'), early.placement.index, 2, { shards: [0, 1], resolution })
    const partials = async () => (await laneJournal.read(early.placement.index, 1, 10, 1e6))[0]?.partials.length
    assert.equal(await record(), true)
    assert.equal(await partials(), 0)
    for (const node of ['n1', 'n2']) await fleet.apply(node, 1)
    assert.equal(await record(), true)
    assert.equal(await partials(), 1)
  })
}
