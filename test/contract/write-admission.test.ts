/** When writes to spread indexes are accepted, by the table of C-07 and the three modes of `write_admission`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PlacementState } from '../../src/store/catalogue.ts'
import { type AdmissionReplica, admits, degradedGroups, quorumOf } from '../../src/topology/admission.ts'
import { spreadPlacements } from '../../src/topology/placement-plan.ts'

interface Fleet {
  readonly groups: number
  readonly nodesPerGroup: number
  readonly shards: number
  readonly replicationFactor: number
}

/** Replicas of an index, with some nodes away and some still being filled: nodes are `g0n0`, `g0n1`, … */
function replicasOf(fleet: Fleet, away: readonly string[], states: Readonly<Record<string, PlacementState>> = {}) {
  const nodes = Array.from({ length: fleet.groups * fleet.nodesPerGroup }, (_, place) => {
    const group = Math.floor(place / fleet.nodesPerGroup)
    return { id: `g${group}n${place % fleet.nodesPerGroup}`, group }
  })
  return spreadPlacements(nodes, fleet).map(
    ({ node, shards }): AdmissionReplica => ({
      shards,
      state: states[node] ?? 'active',
      group: Number(node[1]),
      isLive: !away.includes(node),
    }),
  )
}

const twoGroups = { groups: 2, nodesPerGroup: 3, shards: 16, replicationFactor: 2 }
const oneGroup = { ...twoGroups, groups: 1 }
const modes = ['available', 'quorum', 'journal'] as const

test('the quorum of a group is more than half of its copies', () => {
  assert.deepEqual([1, 2, 3, 4].map(quorumOf), [1, 2, 2, 3])
})

test('with every node alive every mode accepts, and nothing is marked', () => {
  for (const mode of modes) {
    const admission = admits(replicasOf(twoGroups, []), twoGroups, mode)
    assert.deepEqual(admission, { admitted: true, shortGroups: [], shortShards: [], unmetShards: [] })
    assert.equal(degradedGroups(admission, 16), undefined)
  }
})

test('a node away in one group is marked with its shards, and accepted when another group has them all', () => {
  const replicas = replicasOf(twoGroups, ['g1n0'])
  const lost = replicas.find(({ isLive }) => !isLive)?.shards ?? []
  for (const mode of modes) {
    const admission = admits(replicas, twoGroups, mode)
    assert.equal(admission.admitted, true, mode)
    assert.deepEqual(admission.shortGroups, [1])
    assert.deepEqual(admission.shortShards, lost)
    assert.equal(degradedGroups(admission, 16), `groups=1;shards=${lost.join(',')}`)
  }
})

test('a whole group away is marked without a list of shards', () => {
  const admission = admits(replicasOf(twoGroups, ['g0n0', 'g0n1', 'g0n2']), twoGroups, 'quorum')
  assert.equal(admission.admitted, true)
  assert.equal(degradedGroups(admission, 16), 'groups=0')
})

// D-05: the price of the strict rule in the smallest redundant fleet.
test('one group with two copies and a node away: `quorum` refuses, `available` accepts with the mark', () => {
  const replicas = replicasOf(oneGroup, ['g0n1'])
  const lost = replicas.find(({ isLive }) => !isLive)?.shards ?? []
  const strict = admits(replicas, oneGroup, 'quorum')
  assert.equal(strict.admitted, false)
  assert.deepEqual(strict.unmetShards, lost)
  const lenient = admits(replicas, oneGroup, 'available')
  assert.equal(lenient.admitted, true)
  assert.deepEqual([lenient.shortGroups, lenient.shortShards], [[0], lost])
})

test('three copies and one away is a quorum', () => {
  const fleet = { ...oneGroup, nodesPerGroup: 5, replicationFactor: 3 }
  assert.deepEqual(admits(replicasOf(fleet, ['g0n4']), fleet, 'quorum').shortGroups, [])
})

test('fewer nodes than copies: the quorum is that of the nodes there are', () => {
  const fleet = { ...oneGroup, nodesPerGroup: 1 }
  assert.deepEqual(admits(replicasOf(fleet, []), fleet, 'quorum').shortGroups, [])
})

test('a shard that lives nowhere is refused, except where the journal alone decides', () => {
  const fleet = { ...twoGroups, replicationFactor: 1 }
  const replicas = replicasOf(fleet, ['g0n0', 'g1n0', 'g1n1', 'g1n2'])
  const lost = replicas[0]?.shards ?? []
  for (const mode of ['available', 'quorum'] as const) {
    const { admitted, unmetShards } = admits(replicas, fleet, mode)
    assert.deepEqual([admitted, unmetShards], [false, lost], mode)
  }
  const admission = admits(replicas, fleet, 'journal')
  assert.equal(admission.admitted, true)
  assert.deepEqual(admission.shortGroups, [0, 1])
})

test('a shard that nobody holds is refused', () => {
  const replicas: readonly AdmissionReplica[] = [{ shards: [0], state: 'active', group: 0, isLive: true }]
  const admission = admits(replicas, { shards: 2, replicationFactor: 1 }, 'available')
  assert.deepEqual([admission.admitted, admission.unmetShards], [false, [1]])
  assert.deepEqual(admits([], { shards: 1, replicationFactor: 1 }, 'available').unmetShards, [0])
})

test('a replica that is being filled takes writes without counting for a quorum; a lost one does neither', () => {
  const fleet = { ...oneGroup, nodesPerGroup: 1, replicationFactor: 1 }
  const filling = replicasOf(fleet, [], { g0n0: 'filling' })
  assert.equal(admits(filling, fleet, 'available').admitted, true)
  assert.deepEqual(admits(filling, fleet, 'available').shortGroups, [0])
  assert.equal(admits(filling, fleet, 'quorum').admitted, false)
  assert.equal(admits(replicasOf(fleet, [], { g0n0: 'lost' }), fleet, 'available').admitted, false)
})

test('a third replica during a move raises no quorum', () => {
  const spread = { shards: 1, replicationFactor: 2 }
  const replica = { shards: [0], group: 0 }
  const moving: readonly AdmissionReplica[] = [
    { ...replica, state: 'active', isLive: true },
    { ...replica, state: 'draining', isLive: true },
    { ...replica, state: 'filling', isLive: true },
    { ...replica, state: 'filling', isLive: false },
  ]
  assert.equal(admits(moving, spread, 'quorum').admitted, true)
})

test('whatever dies: quorum implies available, and nothing short implies both', () => {
  const fleets = fc.record({
    groups: fc.integer({ min: 1, max: 3 }),
    nodesPerGroup: fc.integer({ min: 1, max: 4 }),
    shards: fc.integer({ min: 1, max: 20 }),
    replicationFactor: fc.integer({ min: 1, max: 4 }),
  })
  fc.assert(
    fc.property(fleets, fc.infiniteStream(fc.boolean()), (fleet, coin) => {
      const nodes = Array.from(
        { length: fleet.groups * fleet.nodesPerGroup },
        (_, place) => `g${Math.floor(place / fleet.nodesPerGroup)}n${place % fleet.nodesPerGroup}`,
      )
      const away = nodes.filter(() => coin.next().value)
      const replicas = replicasOf(fleet, away)
      const [available, quorum] = [admits(replicas, fleet, 'available'), admits(replicas, fleet, 'quorum')]
      if (quorum.admitted) assert.ok(available.admitted)
      if (quorum.shortGroups.length === 0) assert.ok(quorum.admitted)
      for (const shard of quorum.unmetShards) assert.ok(quorum.shortShards.includes(shard))
      const counted = Array.from({ length: fleet.shards }, (_, shard) =>
        replicas.some(({ shards, isLive }) => isLive && shards.includes(shard)),
      )
      assert.equal(available.admitted, counted.every(Boolean))
    }),
    { numRuns: 1024 },
  )
})
