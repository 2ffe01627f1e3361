/** What the store promises to the keeper of a fleet, over PostgreSQL and its twin in memory. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Machine, NodeSample } from '../../src/store/fleet.ts'
import { line, outcomeAt, put, World } from './journal-world.ts'
import { memorySource, postgresSource, standingClock } from './stores.ts'

const leaseMs = 60_000
const machine: Machine = {
  ...{ node: 'h1', driver: 'hetzner', life: 'requested', engine: 'meilisearch', region: 'local', group: 1 },
  ...{ generation: 1, health: 'starting', healthSince: 5, record: { restarts: [1, 2] }, wish: null, createdAt: 5 },
}
const event = (text: string, node: string | null = 'h1') => ({ node, at: 7, kind: 'life', text })
const sample = (node: string, at: number): NodeSample => ({
  ...{ node, at, cpuPercent: 12.5, memoryBytes: 1, memoryBytesMax: null, dataBytes: 3, diskBytesFree: null },
  ...{ diskBytesMax: null, indexes: 4, documents: 5, searchesPerSecond: 0.5, searchMsP95: null, probeMs: 1 },
})

for (const source of [memorySource(), await postgresSource()]) {
  after(() => source.close())
  const open = async () => (await source.open(1, standingClock())).fleet
  const name = `${source.name}: `

  test(`${name}one worker keeps the fleet, and another follows when it resigns`, async () => {
    const fleet = await open()
    assert.equal(await fleet.keeper(), undefined)
    const epoch = await fleet.lead('a', 'act', leaseMs)
    assert.equal(await fleet.lead('a', 'act', leaseMs), epoch)
    assert.equal(await fleet.lead('b', 'watch', leaseMs), undefined)
    assert.equal((await fleet.keeper())?.worker, 'a')
    await fleet.resign('a')
    assert.equal((await fleet.keeper())?.isLeading, false)
    const next = await fleet.lead('b', 'watch', leaseMs)
    assert.ok(epoch !== undefined && next === epoch + 1)
    assert.equal(await fleet.note(epoch, { machines: [machine], events: [event('late')] }), false)
    assert.deepEqual([await fleet.machines(), await fleet.events(null, 9)], [[], []])
  })

  test(`${name}what a look changed is written at once, and wishes of people are left alone by it`, async () => {
    const fleet = await open()
    const epoch = (await fleet.lead('a', 'act', leaseMs)) ?? 0
    assert.ok(await fleet.request(machine, event('asked for')))
    assert.equal(await fleet.request(machine, event('again')), false)
    assert.ok(await fleet.wish('h1', 'restart', event('a wish')))
    assert.equal(await fleet.wish('h9', 'restart', event('nobody', 'h9')), false)
    const changed: Machine = { ...machine, life: 'active', health: 'up', record: { marker: 'm', isFilling: true } }
    await fleet.note(epoch, {
      machines: [changed],
      events: [event('active'), event('brake', null)],
      halted: 'too many',
      scaledAt: 9,
    })
    assert.deepEqual(await fleet.machines(), [{ ...changed, wish: 'restart' }])
    assert.deepEqual(
      (await fleet.events('h1', 9)).map(({ text }) => text),
      ['active', 'a wish', 'asked for'],
    )
    assert.equal((await fleet.events(null, 1))[0]?.text, 'brake')
    const standing = await fleet.keeper()
    assert.deepEqual([standing?.halted, standing?.scaledAt, standing?.mode], ['too many', 9, 'act'])
    await fleet.note(epoch, { granted: [{ node: 'h1', wish: 'replace' }] })
    assert.equal((await fleet.machines())[0]?.wish, 'restart', 'another wish came meanwhile')
    await fleet.note(epoch, { granted: [{ node: 'h1', wish: 'restart' }] })
    assert.equal((await fleet.machines())[0]?.wish, null)
    await fleet.release(event('released', null))
    assert.equal((await fleet.keeper())?.halted, null)
  })

  test(`${name}what nodes carried is kept in order, and the newest is at hand`, async () => {
    const fleet = await open()
    const epoch = (await fleet.lead('a', 'act', leaseMs)) ?? 0
    const now = Date.now()
    const samples = [sample('n1', now - 2_000), sample('n2', now - 1_500), sample('n1', now - 1_000)]
    const machines = ['n1', 'n2'].map((node) => ({ ...machine, node }))
    await fleet.note(epoch, { machines, samples })
    assert.deepEqual(await fleet.samples(null, 0), samples)
    assert.deepEqual(await fleet.samples('n1', now - 1_200), [samples[2]])
    assert.deepEqual((await fleet.latest()).get('n1'), samples[2])
    await fleet.prune()
    assert.equal((await fleet.latest()).size, 2)
  })

  test(`${name}a node shows what it holds and what its lanes know`, async () => {
    const store = await source.open(2)
    await store.catalogue.putNode({
      id: 'n1',
      engine: 'embedded',
      url: 'http://127.0.0.1:1',
      region: 'local',
      key: null,
    })
    assert.deepEqual(await store.fleet.holdings('n1'), { replicas: 0, filling: 0, irreplaceable: 0 })
    const before = (await store.fleet.lanes()).get('n1')
    assert.deepEqual(before, { isHeld: false, silentSince: null, trouble: null, marker: null })
    const [lease] = await store.laneJournal.leaseNodes('w', leaseMs)
    assert(lease)
    await store.laneJournal.adopt(lease, 'marker')
    await store.laneJournal.noteSilence(lease, true)
    const sight = (await store.fleet.lanes()).get('n1')
    assert.deepEqual([sight?.isHeld, sight?.marker, sight?.silentSince !== null], [true, 'marker', true])
  })

  test(`${name}a disk cannot be replaced when parts of the journal that would fill it again were dropped`, async () => {
    const world = await World.open(await source.open(3))
    const { fleet, laneJournal } = world.store
    const { index } = await world.put('a')
    await world.deliver(index)
    assert.deepEqual(await fleet.holdings('n1'), { replicas: 1, filling: 0, irreplaceable: 0 })
    assert.equal(await laneJournal.dropPayloads(Number.MAX_SAFE_INTEGER, 10), 1)
    assert.equal((await fleet.holdings('n1')).irreplaceable, 1)
  })

  // A lane cannot fill an empty disk then: two replacements would take one copy after the other.
  test(`${name}a copy elsewhere does not make up for parts of the journal that were dropped`, async () => {
    const store = await source.open(4)
    const { catalogue, fleet, journal, laneJournal } = store
    const organisation = await catalogue.createOrganisation('Acme')
    const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
    for (const id of ['n1', 'n2']) {
      await catalogue.putNode({ id, engine: 'embedded', url: `http://${id}`, region: 'local', key: null })
    }
    const leases = await laneJournal.leaseNodes('w', leaseMs)
    const appended = await journal.append({
      ...{ project: project.id, uid: 'a', operation: put, payload: { kind: 'inline', bytes: line } },
      ...{ customMetadata: null, mayCreateIndex: true, refusal: null, inferred: { primaryKey: 'id' } },
      spread: { shards: 1, replicationFactor: 2, exactTies: false },
    })
    assert.equal(appended.kind, 'appended')
    for (const lease of leases) {
      const [lane] = await laneJournal.lanesBehind(lease.node.id, 1)
      assert(lane)
      await laneJournal.markSent(lease, lane.placement.index, [1], 1)
      await laneJournal.advance(lease, lane.placement, 1, [{ ...outcomeAt(1), isShare: true }], null)
    }
    assert.equal((await fleet.holdings('n1')).irreplaceable, 0)
    assert.equal(await laneJournal.dropPayloads(Number.MAX_SAFE_INTEGER, 10), 1)
    assert.deepEqual(await fleet.holdings('n1'), { replicas: 1, filling: 0, irreplaceable: 1 })
    assert.equal((await fleet.holdings('n2')).irreplaceable, 1)
  })
}
