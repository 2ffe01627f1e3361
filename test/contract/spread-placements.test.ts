/** Properties of where shards go (C-02, C-03), over random fleets: what operators count on when nodes come and go. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type PlannedPlacement, spreadPlacements } from '../../src/topology/placement-plan.ts'
import { ownersOf } from '../../src/topology/rendezvous.ts'

const runs = 1024
const fleets = fc.record({
  /** Nodes of each group. */
  groups: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
  replicationFactor: fc.integer({ min: 1, max: 4 }),
  shards: fc.constantFrom(1, 2, 3, 8, 16, 31, 64),
  salt: fc.string({ maxLength: 6 }),
})

interface FleetNode {
  readonly id: string
  readonly group: number
}

function nodesOf(groups: readonly number[], salt: string): readonly FleetNode[] {
  return groups.flatMap((count, group) =>
    Array.from({ length: count }, (_, place) => ({ id: `n${group}-${place}${salt}`, group })),
  )
}

function placesOf(plan: readonly PlannedPlacement[], nodes: readonly FleetNode[]): ReadonlySet<string> {
  const isIn = new Set(nodes.map(({ id }) => id))
  return new Set(
    plan.filter(({ node }) => isIn.has(node)).flatMap(({ node, shards }) => shards.map((s) => `${s}@${node}`)),
  )
}

test('every group holds every shard, on as many nodes as there are copies', () => {
  fc.assert(
    fc.property(fleets, ({ groups, replicationFactor, shards, salt }) => {
      const nodes = nodesOf(groups, salt)
      const plan = spreadPlacements(nodes, { shards, replicationFactor })
      assert.equal(new Set(plan.map(({ node }) => node)).size, plan.length, 'one placement for a node')
      for (const { shards: held } of plan) {
        assert.ok(held.length > 0)
        assert.deepEqual(
          held,
          [...new Set(held)].sort((a, b) => a - b),
        )
      }
      groups.forEach((count, group) => {
        const members = new Set(nodes.filter((node) => node.group === group).map(({ id }) => id))
        for (let shard = 0; shard < shards; shard += 1) {
          const holders = plan.filter(({ node, shards: held }) => members.has(node) && held.includes(shard))
          assert.equal(holders.length, Math.min(replicationFactor, count), `shard ${shard} of group ${group}`)
        }
      })
    }),
    { numRuns: runs },
  )
})

test('the order in which nodes are named changes nothing', () => {
  const shuffled = fleets.chain((fleet) => {
    const nodes = nodesOf(fleet.groups, fleet.salt)
    return fc.tuple(fc.constant(fleet), fc.shuffledSubarray([...nodes], { minLength: nodes.length }))
  })
  fc.assert(
    fc.property(shuffled, ([{ groups, replicationFactor, shards, salt }, nodes]) => {
      const spread = { shards, replicationFactor }
      assert.deepEqual(spreadPlacements(nodes, spread), spreadPlacements(nodesOf(groups, salt), spread))
    }),
    { numRuns: runs },
  )
})

test('a new node takes only the shards that it holds, and nothing moves in other groups', () => {
  fc.assert(
    fc.property(fleets, ({ groups, replicationFactor, shards, salt }) => {
      const before = nodesOf(groups, salt)
      const added = { id: `added${salt}`, group: 0 }
      const spread = { shards, replicationFactor }
      const earlier = placesOf(spreadPlacements(before, spread), before)
      const plan = spreadPlacements([...before, added], spread)
      const later = placesOf(plan, before)
      for (const place of later) assert.ok(earlier.has(place), `${place} is new`)
      const gone = [...earlier].filter((place) => !later.has(place))
      const taken = plan.find(({ node }) => node === added.id)?.shards ?? []
      assert.ok(gone.length <= taken.length)
      for (const place of gone) assert.ok(taken.includes(Number(place.split('@')[0])), `${place} has moved for nothing`)
      // A copy that is left over (fewer nodes than copies before) moves nothing.
      if (groups[0]! < replicationFactor) assert.equal(gone.length, 0)
    }),
    { numRuns: runs },
  )
})

test('without a node, its shards alone get new owners', () => {
  fc.assert(
    fc.property(fleets, fc.nat(), ({ groups, replicationFactor, shards, salt }, pick) => {
      const before = nodesOf(groups, salt)
      const gone = before[pick % before.length]!
      const rest = before.filter((node) => node !== gone)
      const spread = { shards, replicationFactor }
      const plan = spreadPlacements(before, spread)
      const lost = plan.find(({ node }) => node === gone.id)?.shards ?? []
      const earlier = placesOf(plan, rest)
      const later = placesOf(spreadPlacements(rest, spread), rest)
      for (const place of earlier) assert.ok(later.has(place), `${place} is gone`)
      const fresh = [...later].filter((place) => !earlier.has(place))
      for (const place of fresh) assert.ok(lost.includes(Number(place.split('@')[0])), `${place} has moved for nothing`)
      assert.ok(fresh.length <= lost.length)
    }),
    { numRuns: runs },
  )
})

test('shards are shared out within the bounds for movement and balance', () => {
  const members = ['meili-0', 'meili-1', 'meili-2']
  const shards = Array.from({ length: 64 }, (_, shard) => shard)
  const held = (ids: readonly string[], copies: number) =>
    shards.flatMap((shard) => ownersOf(shard, ids, copies).map((node) => `${shard}@${node}`))
  const counts = members.map((node) => held(members, 1).filter((place) => place.endsWith(node)).length)
  for (const count of counts) assert.ok(count >= 15 && count <= 27, `${count} shards`)
  // A node more takes about 1/(Ng+1) and at most half; a node less leaves about RF·S/Ng edges to make anew.
  const four = new Set(held([...members, 'meili-3'], 1))
  const moved = held(members, 1).filter((place) => !four.has(place)).length
  assert.ok(moved <= 32, `${moved} shards moved`)
  const less = new Set(held(members, 2))
  const edges = held(members.slice(1), 2).filter((place) => !less.has(place)).length
  assert.ok(Math.abs(edges - (2 * 64) / 3) <= 0.4 * ((2 * 64) / 3), `${edges} edges`)
})
