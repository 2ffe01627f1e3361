/** What planning reads and edits, and what moves do to parts of replicas: the same in both stores. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Store } from '../../src/journal/open-store.ts'
import type { ChangeOutcome } from '../../src/journal/ports.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { replicaId } from '../../src/topology/replica-id.ts'
import { memorySource, postgresSource, type StoreSource } from './stores.ts'

const outcome: ChangeOutcome = {
  ...{ position: 1, error: null, details: null, isShare: false, startedAt: 1, finishedAt: 2, batchKey: 'b' },
  status: 'succeeded',
}

/** An index of four shards on two nodes, created. */
async function openWorld(source: StoreSource) {
  const store = await source.open()
  const { catalogue, journal, laneJournal, replicas } = store
  const organisation = await catalogue.createOrganisation('Acme')
  const project = await catalogue.createProject({ organisation: organisation.id, name: 'shop' })
  const node = { engine: 'embedded', url: 'http://nowhere', region: 'local', key: null } as const
  await catalogue.putNode({ ...node, id: 'n1' })
  await catalogue.putNode({ ...node, id: 'n2', takesExisting: true, seat: 'n0' })
  const appended = await journal.append({
    ...{ project: project.id, uid: 'books', operation: { kind: 'index-create', primaryKey: 'id' }, payload: null },
    ...{ customMetadata: null, mayCreateIndex: true, refusal: null },
    spread: { shards: 4, replicationFactor: 1, exactTies: true },
  })
  must(appended.kind === 'appended' && appended.index !== null, 'the index is created')
  const leases = new Map((await laneJournal.leaseNodes('w', 60_000)).map((lease) => [lease.node.id, lease]))
  for (const lease of leases.values()) {
    for (const { placement } of await laneJournal.lanesBehind(lease.node.id, 10)) {
      assert.equal(await laneJournal.advance(lease, placement, 1, [outcome], null), true)
    }
  }
  const held = async () =>
    Object.fromEntries(
      (await replicas.layouts()).flatMap((layout) =>
        layout.replicas.map((one) => [one.node, { shards: one.shards, shed: one.shed ?? [] }]),
      ),
    )
  return { store, leases, index: appended.index, held }
}

async function placementOn({ replicas }: Pick<Store, 'replicas'>, index: string, node: string) {
  const standing = await replicas.standing(index)
  const found = standing?.replicas.find((one) => one.node === node)
  must(found !== undefined, `a replica is on ${node}`)
  return found
}

const sources = [memorySource(), await postgresSource()]
after(() => Promise.all(sources.map((source) => source.close())))

for (const source of sources) {
  test(`${source.name}: layouts tell where an index is and is wanted, and edits of that move nothing`, async () => {
    const { store, index } = await openWorld(source)
    const [before] = await store.replicas.layouts()
    assert.deepEqual(before?.wanted, { groups: null, region: null })
    assert.deepEqual(before?.replicas.flatMap(({ shards }) => shards).sort(), [0, 1, 2, 3])
    const { version } = await store.catalogue.snapshot()
    assert.equal(await store.replicas.want(index, { replicationFactor: 2, groups: [0] }), true)
    assert.equal(await store.replicas.want(index, { region: 'eu' }), true)
    const [layout] = await store.replicas.layouts()
    assert.deepEqual(layout?.wanted, { groups: [0], region: 'eu' })
    assert.equal(layout?.spread?.replicationFactor, 2)
    assert.deepEqual(layout?.replicas, before?.replicas)
    assert.equal((await store.catalogue.snapshot()).indexes[0]?.spread?.replicationFactor, 2)
    assert.ok((await store.catalogue.version()) > version, 'gateways are told')
    await source.closeStores()
  })

  test(`${source.name}: shards that are read elsewhere are given up at the end, and can be taken back before`, async () => {
    const { store, leases, index, held } = await openWorld(source)
    const { replicas, laneJournal, catalogue } = store
    const old = await placementOn(store, index, 'n1')
    const given = old.shards.slice(0, 1)
    const rest = old.shards.slice(1)
    const change = (kind: 'shed' | 'reclaim' | 'shrink') =>
      replicas.changeReplica(index, replicaId(old), { kind, shards: given })
    assert.equal(await change('shed'), 'needed', 'nobody else answers for it')
    const other = await placementOn(store, index, 'n2')
    const added = await replicas.addReplica(index, 'n2', given)
    must(added !== undefined, 'a replica more is on the node')
    assert.notEqual(added.physicalUid, other.physicalUid)
    assert.deepEqual(await replicas.addReplica(index, 'n2', given), added, 'asked twice, it is the same')
    const proof = { task: 1_000, mark: 'behind the copy' }
    const begin = { kind: 'begin', applied: 1, proof } as const
    assert.equal(await replicas.changeReplica(index, replicaId(added), begin), 'done')
    // A disk of before the copy is told from it although no change has reached the new replica.
    const identity = await laneJournal.identity(leases.get('n2')!)
    must(identity !== false, 'the lease is held')
    assert.deepEqual(identity.proof, proof)
    assert.equal(await replicas.changeReplica(index, replicaId(added), { kind: 'admit' }), 'done')
    assert.equal(await change('shrink'), 'unsuited', 'it is read there')
    assert.equal(await change('shed'), 'done')
    const { placements } = await catalogue.snapshot()
    assert.deepEqual(placements.find(({ node }) => node === 'n1')?.shed, given)
    assert.equal(await change('reclaim'), 'done')
    assert.deepEqual((await held()).n1, { shards: old.shards, shed: [] })
    assert.equal(await change('shed'), 'done')
    assert.equal(await change('shrink'), 'done')
    assert.deepEqual((await held()).n1, { shards: rest, shed: [] })
    const lease = leases.get('n1')
    must(lease !== undefined, 'the node is leased')
    assert.equal(await laneJournal.advance(lease, old, 1, [], null), 'restarted', 'its lane is another now')
    const [lane] = await laneJournal.lanesBehind('n1', 10)
    assert.equal(lane?.placement.hasLeftovers, true)
    must(lane !== undefined, 'the lane has work')
    assert.deepEqual([lane.placement.shards, lane.placement.applied], [rest, old.applied])
    assert.equal(await laneJournal.noteTrimmed(lease, lane.placement), true)
    assert.equal((await catalogue.snapshot()).placements.find(({ node }) => node === 'n1')?.hasLeftovers, undefined)
    await source.closeStores()
  })

  test(`${source.name}: nodes take part in what exists when they are let, and are forgotten when they are empty`, async () => {
    const { store } = await openWorld(source)
    const { catalogue } = store
    const nodeOf = async (id: string) => (await catalogue.nodes()).find((node) => node.id === id)
    assert.deepEqual([(await nodeOf('n2'))?.takesExisting, (await nodeOf('n2'))?.seat], [true, 'n0'])
    assert.equal((await nodeOf('n1'))?.takesExisting, undefined)
    await catalogue.letNodesTake(['n1'], true)
    assert.equal((await nodeOf('n1'))?.takesExisting, true)
    assert.equal(await catalogue.removeNode('n1', false), 'holds')
    assert.equal(await catalogue.removeNode('n1', true), 'removed')
    assert.equal(await catalogue.removeNode('n1', true), 'unknown')
    const { nodes, placements } = await catalogue.snapshot()
    assert.deepEqual([nodes.map(({ id }) => id), placements.map(({ node }) => node)], [['n2'], ['n2']])
    assert.deepEqual(
      (await store.laneJournal.leaseNodes('w', 60_000)).map(({ node }) => node.id),
      ['n2'],
    )
    const again = { id: 'n1', engine: 'embedded', url: 'http://nowhere', region: 'local', key: null } as const
    await assert.rejects(catalogue.putNode(again), /not used again/)
    await source.closeStores()
  })
}

for (const source of sources) {
  test(`${source.name}: what is deleted while shards move is counted once`, async () => {
    const { store, leases, index } = await openWorld(source)
    const { replicas, laneJournal, journal, catalogue } = store
    const old = await placementOn(store, index, 'n1')
    const added = await replicas.addReplica(index, 'n2', old.shards.slice(0, 1))
    must(added !== undefined, 'a replica more is on the node')
    await replicas.changeReplica(index, replicaId(added), { kind: 'begin', applied: 1, proof: null })
    await replicas.changeReplica(index, replicaId(added), { kind: 'admit' })
    const project = (await catalogue.projects())[0]
    must(project !== undefined, 'the project is there')
    const appended = await journal.append({
      ...{ project: project.id, uid: 'books', operation: { kind: 'documents-clear' }, payload: null },
      ...{ customMetadata: null, mayCreateIndex: false, refusal: null },
    })
    must(appended.kind === 'appended', 'it is appended')
    // Ten documents in each shard.
    for (const lease of leases.values()) {
      for (const { placement } of await laneJournal.lanesBehind(lease.node.id, 10)) {
        const details = { deletedDocuments: 10 * placement.shards.length }
        const share = { ...outcome, position: 2, isShare: true, details }
        assert.equal(await laneJournal.advance(lease, placement, 2, [share], null), true)
      }
    }
    const task = await journal.task(project.id, appended.task)
    assert.deepEqual([task?.status, task?.details], ['succeeded', { deletedDocuments: 40 }])
    await source.closeStores()
  })
}
