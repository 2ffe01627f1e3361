/** What replicas of a spread index come to together, in both stores: completion, the in-sync set, disagreement. */
import assert from 'node:assert/strict'
import { after, afterEach, describe, test } from 'node:test'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import type { ChangeOutcome, LaneState, NodeLease, ReplicaChange } from '../../src/journal/ports.ts'
import { assert as must } from '../../src/lib/assert.ts'
import type { Json } from '../../src/lib/json.ts'
import type { Project } from '../../src/store/catalogue.ts'
import { replicaId } from '../../src/topology/replica-id.ts'
import { line, outcomeAt, put } from './journal-world.ts'
import { memorySource, postgresSource, type StoreSource } from './stores.ts'

const spread = { shards: 4, replicationFactor: 2, exactTies: false }
const clear: Operation = { kind: 'documents-clear' }

/** Nodes, and one lease on each. */
class Fleet {
  readonly store: Store
  readonly project: Project
  readonly leases: ReadonlyMap<string, NodeLease>
  replicationFactor = spread.replicationFactor

  constructor(store: Store, project: Project, leases: readonly NodeLease[]) {
    this.store = store
    this.project = project
    this.leases = new Map(leases.map((lease) => [lease.node.id, lease]))
  }

  /** @param groups  replica groups of the nodes `n0`, `n1` … */
  static async open(store: Store, groups: readonly number[] = [0, 0, 0]): Promise<Fleet> {
    const organisation = await store.catalogue.createOrganisation('Acme')
    const project = await store.catalogue.createProject({ organisation: organisation.id, name: 'books' })
    for (const [at, group] of groups.entries()) {
      const id = `n${at}`
      await store.catalogue.putNode({ id, engine: 'embedded', url: `http://${id}`, region: 'local', key: null, group })
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
      spread: { ...spread, replicationFactor: this.replicationFactor },
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
    settingsInTurns(source)
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

  // Changes go on waiting for who gave way while gateways learn of it: until then there is a way back.
  for (const gone of ['restart', 'adopt', 'silence', 'contradiction'] as const) {
    test(`who gave way to others is read again when these begin anew or are away (${gone})`, async () => {
      const fleet = await Fleet.open(await source.open(), [0, 0])
      await fleet.write()
      const [first, second] = [await fleet.lane('n0'), await fleet.lane('n1')]
      for (const node of ['n0', 'n1']) await fleet.apply(node, 1)
      const { replicas, laneJournal } = fleet.store
      const { placement } = first
      const change = (kind: ReplicaChange) => replicas.changeReplica(placement.index, replicaId(placement), kind)
      const shed = async () => {
        const standing = await replicas.standing(placement.index)
        return standing?.replicas.map((one) => `${one.node} ${one.shed ?? []}`.trim())
      }
      assert.equal(await change({ kind: 'shed', shards: [2, 3] }), 'done')
      assert.deepEqual(await shed(), ['n0 2,3', 'n1'])
      assert.equal(await change({ kind: 'part' }), 'done')
      assert.deepEqual(await fleet.states(), { n0: 'parting 1', n1: 'active 1' })
      if (gone === 'restart') await laneJournal.restart(fleet.lease('n1'), second.placement)
      if (gone === 'adopt') await laneJournal.adopt(fleet.lease('n1'), 'another disk')
      if (gone === 'silence') await laneJournal.noteSilence(fleet.lease('n1'), true)
      if (gone === 'contradiction') {
        await fleet.write()
        await fleet.apply('n0', 2, outcomeAt(2, true))
        await fleet.apply('n1', 2)
      }
      const { n0, n1 } = await fleet.states()
      assert.match(n0 ?? '', /^active/)
      assert.match(n1 ?? '', /^filling/)
      assert.deepEqual(await shed(), ['n0', 'n1'])
    })
  }

  test('a node that was away when an index was deleted is to delete it', async () => {
    const fleet = await Fleet.open(await source.open())
    const { laneJournal } = fleet.store
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    await laneJournal.noteSilence(fleet.lease('n2'), true)
    const task = await fleet.write({ kind: 'index-delete' })
    const { physicalUid } = (await fleet.lane('n2')).placement
    for (const node of ['n0', 'n1']) await fleet.apply(node, 2)
    assert.equal(await fleet.status(task), 'succeeded')
    assert.deepEqual(await laneJournal.dueDrops('n0', 10), [])
    assert.deepEqual(await laneJournal.dueDrops('n2', 10), [physicalUid])
    await laneJournal.noteDropped(fleet.lease('n2'), physicalUid)
    assert.deepEqual(await laneJournal.dueDrops('n2', 10), [])
    // A request that came late has made it anew.
    await laneJournal.noteLeftover(fleet.lease('n2'), physicalUid)
    assert.deepEqual(await laneJournal.dueDrops('n2', 10), [physicalUid])
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

  test('what only a node held back that was removed by force is completed', async () => {
    const fleet = await Fleet.open(await source.open())
    const task = await fleet.write()
    for (const node of ['n0', 'n2']) await fleet.apply(node, 1)
    await fleet.store.laneJournal.noteTrouble(fleet.lease('n1'), 'no space')
    assert.equal(await fleet.store.catalogue.removeNode('n1', true), 'removed')
    await fleet.store.laneJournal.releaseHeld(3_600_000)
    assert.equal(await fleet.status(task), 'processing')
    await fleet.store.laneJournal.releaseHeld(0)
    assert.equal(await fleet.status(task), 'succeeded')
    assert.deepEqual([...(await fleet.store.laneJournal.troubles()).keys()], [])
    assert.deepEqual([...(await fleet.store.fleet.lanes()).keys()].sort(), ['n0', 'n2'])
  })

  test('shards are held elsewhere while another replica of theirs is on a node that is not lost', async () => {
    const fleet = await Fleet.open(await source.open(), [0, 1])
    fleet.replicationFactor = 1
    await fleet.write()
    const { placement } = await fleet.lane('n0')
    assert.equal(await fleet.store.laneJournal.isHeldElsewhere(placement), true)
    await fleet.store.catalogue.setNodeState('n1', 'lost')
    assert.equal(await fleet.store.laneJournal.isHeldElsewhere(placement), false)
    const alone = await Fleet.open(await source.open(), [0, 0])
    alone.replicationFactor = 1
    await alone.write()
    assert.equal(await alone.store.laneJournal.isHeldElsewhere((await alone.lane('n0')).placement), false)
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

  // Else each batch that is refused would have all other shards built anew.
  test('a replica that has nothing of a change that failed elsewhere goes on as it is', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    const task = await fleet.write()
    await fleet.apply('n0', 2, { isElsewhere: true })
    await fleet.store.laneJournal.noteSilence(fleet.lease('n2'), true)
    await fleet.apply('n1', 2, outcomeAt(2, true))
    assert.equal(await fleet.status(task), 'failed')
    // Also when it says so late.
    await fleet.apply('n2', 2, { isElsewhere: true })
    assert.deepEqual(await fleet.states(), { n0: 'active 2', n1: 'active 2', n2: 'active 2' })
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

  test('what a change came to in each shard is recorded once and read by every lane', async () => {
    const fleet = await Fleet.open(await source.open())
    await fleet.write()
    for (const node of ['n0', 'n1', 'n2']) await fleet.apply(node, 1)
    await fleet.write({ kind: 'documents-delete-by-filter', filter: 'a = 1' })
    const { placement } = await fleet.lane('n0')
    const resolution = { puts: null, merge: false, deletes: null, putCount: 0, deleteCount: 0, error: null }
    const { laneJournal } = fleet.store
    const record = async (node: string, shards: number[], deleteCount: number) =>
      laneJournal.recordPartial(fleet.lease(node), (await fleet.lane(node)).placement, 2, {
        shards,
        of: 4,
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
      laneJournal.recordPartial(fleet.lease('n0'), early.placement, 2, { shards: [0, 1], of: 4, resolution })
    const partials = async () => (await laneJournal.read(early.placement.index, 1, 10, 1e6))[0]?.partials.length
    assert.equal(await record(), true)
    assert.equal(await partials(), 0)
    for (const node of ['n1', 'n2']) await fleet.apply(node, 1)
    assert.equal(await record(), true)
    assert.equal(await partials(), 1)
  })
}

const settings: Operation = { kind: 'settings', settings: { stopWords: ['a'] } }

const nodeOf = (replica: string) => replica.split('/')[0] ?? ''

/** One document everywhere; a settings change waits at position 2. By default two groups of two nodes. */
async function openGroups(source: StoreSource, groups = [0, 0, 1, 1], replicationFactor = 1) {
  const fleet = await Fleet.open(await source.open(), groups)
  fleet.replicationFactor = replicationFactor
  const nodes = groups.map((_, at) => `n${at}`)
  await fleet.write()
  for (const node of nodes) await fleet.apply(node, 1)
  const task = await fleet.write(settings)
  const { placement } = await fleet.lane('n0')
  const { laneJournal } = fleet.store
  await laneJournal.markSent(fleet.lease('n0'), placement.index, [2], 1)
  const turn = async () => {
    const found = (await laneJournal.read(placement.index, 1, 10, 1e6))[0]?.turn
    must(found !== undefined, 'a settings change has turns')
    const { takers, leavers, undoers } = found
    return { ...found, takers: takers.map(nodeOf), leavers: leavers.map(nodeOf), undoers: undoers.map(nodeOf) }
  }
  const takers = async () => [...(await turn()).takers].sort()
  const give = async (node: string) => laneJournal.giveTurns(fleet.lease(node), (await fleet.lane(node)).placement, 2)
  const turning = async () => {
    const { placements } = await fleet.store.catalogue.snapshot()
    return placements.flatMap(({ node, turn: position = 0 }) => (position > 0 ? [node] : [])).sort()
  }
  return { fleet, nodes, task, turn, takers, give, turning }
}

function settingsInTurns(source: StoreSource) {
  test('one group takes a settings change while the other is read, then they change places', async () => {
    const { fleet, task, turn, takers, give, turning } = await openGroups(source)
    assert.deepEqual(await turn(), { takers: [], leavers: [], isOpen: true, refusal: null, undoers: [] })
    await give('n3')
    assert.deepEqual(await turning(), ['n2', 'n3'])
    assert.deepEqual([...(await turn()).leavers].sort(), ['n2', 'n3'], 'gateways learn of it first')
    assert.deepEqual(await takers(), ['n3'], 'the one that asked leads')
    await fleet.apply('n3', 2)
    assert.deepEqual(await takers(), ['n2', 'n3'])
    assert.equal(await fleet.status(task), 'processing')
    await fleet.apply('n2', 2)
    assert.equal(await fleet.status(task), 'succeeded')
    assert.deepEqual(await fleet.states(), { n0: 'filling 1', n1: 'filling 1', n2: 'active 2', n3: 'active 2' })
    assert.deepEqual(await takers(), ['n0', 'n1', 'n2', 'n3'])
    for (const node of ['n0', 'n1']) await fleet.apply(node, 2)
    assert.deepEqual(Object.values(await fleet.states()), Array(4).fill('active 2'))
    assert.deepEqual(await turning(), [])
  })

  test('the next settings change waits for those that follow the last one late', async () => {
    const { fleet, give } = await openGroups(source)
    await give('n0')
    for (const node of ['n0', 'n1']) await fleet.apply(node, 2)
    await fleet.write(settings)
    const { placement } = await fleet.lane('n0')
    await fleet.store.laneJournal.giveTurns(fleet.lease('n0'), placement, 3)
    const isOpen = async () => (await fleet.store.laneJournal.read(placement.index, 2, 1, 1e6))[0]?.turn?.isOpen
    assert.equal(await isOpen(), false)
    for (const node of ['n2', 'n3']) await fleet.apply(node, 2)
    assert.equal(await isOpen(), true)
  })

  test('what the first replica refuses reaches nobody else', async () => {
    const { fleet, task, turn, takers, give, turning } = await openGroups(source)
    await give('n0')
    assert.deepEqual(await takers(), ['n0'])
    await fleet.apply('n0', 2, outcomeAt(2, true))
    assert.deepEqual((await turn()).takers, [])
    assert.equal((await turn()).refusal?.code, outcomeAt(2, true).error?.code)
    for (const node of ['n1', 'n2', 'n3']) await fleet.apply(node, 2, outcomeAt(2, true))
    assert.equal(await fleet.status(task), 'failed')
    assert.deepEqual(Object.values(await fleet.states()), Array(4).fill('active 2'), 'nobody starts anew')
    assert.deepEqual(await turning(), ['n0', 'n1'])
  })

  test('what one refuses and others took for all of its shards is its own fault: it begins anew', async () => {
    const { fleet, task, takers, give, turning } = await openGroups(source, [0, 0, 0], 2)
    await give('n1')
    assert.deepEqual(await turning(), ['n0', 'n1', 'n2'], 'two of three nodes would not hold everything twice')
    assert.deepEqual(await takers(), ['n1'])
    await fleet.apply('n1', 2)
    assert.deepEqual(await takers(), ['n0', 'n1', 'n2'])
    await fleet.apply('n0', 2, outcomeAt(2, true))
    assert.equal(await fleet.status(task), 'processing')
    await fleet.apply('n2', 2)
    assert.equal(await fleet.status(task), 'succeeded')
    assert.deepEqual(await fleet.states(), { n0: 'filling 0', n1: 'active 2', n2: 'active 2' })
  })

  test('with one copy of each shard a refusal behind the first replica starts nobody anew', async () => {
    const { fleet, task, turn, takers, give, turning } = await openGroups(source, [0, 0, 0])
    await give('n1')
    assert.deepEqual(await turning(), ['n0', 'n1', 'n2'])
    await fleet.apply('n1', 2)
    assert.deepEqual(await takers(), ['n0', 'n1', 'n2'])
    await fleet.apply('n0', 2, outcomeAt(2, true))
    assert.equal(await fleet.status(task), 'processing')
    await fleet.apply('n2', 2)
    assert.equal(await fleet.status(task), 'failed')
    assert.deepEqual(Object.values(await fleet.states()), Array(3).fill('active 2'))
    assert.deepEqual((await turn()).undoers.toSorted(), ['n0', 'n1', 'n2'])
    const { placement } = await fleet.lane('n1')
    await fleet.store.laneJournal.endTurn(fleet.lease('n1'), placement)
    assert.deepEqual(await turning(), ['n0', 'n2'])
  })

  test('when those whose turn it is do not answer any more, others take theirs', async () => {
    const { fleet, task, turn, takers, give } = await openGroups(source)
    await give('n0')
    await fleet.apply('n0', 2)
    await fleet.store.laneJournal.noteSilence(fleet.lease('n1'), true)
    assert.equal((await turn()).isOpen, true)
    await give('n2')
    assert.deepEqual(await takers(), ['n0', 'n2', 'n3'])
    for (const node of ['n2', 'n3']) await fleet.apply(node, 2)
    assert.equal(await fleet.status(task), 'succeeded')
  })

  test('a replica that begins anew at its turn does not hold up those that have had theirs', async () => {
    const fleet = await Fleet.open(await source.open())
    const task = await fleet.write(settings)
    const journal = fleet.store.laneJournal
    const { placement } = await fleet.lane('n2')
    await journal.giveTurns(fleet.lease('n0'), placement, 1)
    for (const node of ['n0', 'n1']) await fleet.apply(node, 1)
    await journal.adopt(fleet.lease('n2'), 'another disk')
    const [item] = await journal.read(placement.index, 0, 1, 1e6)
    assert.equal(item?.turn?.isOpen, true)
    await journal.giveTurns(fleet.lease('n2'), placement, 1)
    assert.equal(await fleet.status(task), 'succeeded')
    assert.deepEqual(await fleet.states(), { n0: 'active 1', n1: 'active 1', n2: 'filling 0' })
  })
}
