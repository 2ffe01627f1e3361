import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ownersOf } from '../topology/rendezvous.ts'
import { coverShards, defaultGroupRule, type NodeView, type Replica, type Standing } from './covering-set.ts'
import { otherReplicas } from './other-replicas.ts'

/** Replicas as placements lie: each group's nodes own the shards by rendezvous. */
function fleet(groups: readonly (readonly string[])[], shards: number, copies: number): readonly Replica[] {
  return groups.flatMap((nodes, group) => {
    const held = new Map(nodes.map((node) => [node, [] as number[]]))
    for (let shard = 0; shard < shards; shard += 1) {
      for (const node of ownersOf(shard, nodes, copies)) held.get(node)!.push(shard)
    }
    return nodes.map((node) => ({ node, group, shards: held.get(node)!, physicalUid: `index-${node}` }))
  })
}

function view(
  turn: number,
  nodes: Readonly<Record<string, { cost?: number; standing?: Standing | undefined }>> = {},
): NodeView {
  return {
    turn,
    cost: (node) => nodes[node]?.cost ?? 1,
    standing: (node) => (nodes[node] && 'standing' in nodes[node] ? nodes[node].standing : 'good'),
  }
}

const all = (shards: number) => Array.from({ length: shards }, (_, shard) => shard)

test('each shard is answered by exactly one replica that holds it, or is said to be missing', () => {
  const layouts = fc
    .record({
      groups: fc.integer({ min: 1, max: 4 }),
      nodes: fc.integer({ min: 1, max: 6 }),
      copies: fc.integer({ min: 1, max: 3 }),
      shards: fc.integer({ min: 1, max: 40 }),
      turn: fc.nat(1_000_000),
      preferred: fc.option(fc.nat(4), { nil: undefined }),
      fallbackGroupsMax: fc.nat(3),
      rotation: fc.constantFrom('turns' as const, 'weighted' as const),
    })
    .chain((layout) =>
      fc.record({
        layout: fc.constant(layout),
        nodes: fc.array(
          fc.record({
            cost: fc.double({ min: 0.1, max: 1e6, noNaN: true }),
            standing: fc.constantFrom<(Standing | undefined)[]>('good', 'good', 'poor', 'trial', undefined),
          }),
          { minLength: 24, maxLength: 24 },
        ),
        targets: fc.subarray(all(layout.shards)),
      }),
    )
  fc.assert(
    fc.property(layouts, ({ layout, nodes, targets }) => {
      const groups = all(layout.groups).map((group) => all(layout.nodes).map((node) => `g${group}n${node}`))
      const replicas = fleet(groups, layout.shards, Math.min(layout.copies, layout.nodes))
      const states = Object.fromEntries(groups.flat().map((node, at) => [node, nodes[at]!]))
      const { group, legs, missing } = coverShards(replicas, targets, view(layout.turn, states), layout)
      const answered = legs.flatMap(({ shards }) => shards)
      assert.deepEqual([...answered, ...missing].sort(ascending), [...targets].sort(ascending))
      assert.equal(new Set(legs.map(({ replica }) => replica.node)).size, legs.length, 'one request for each node')
      for (const { replica, shards, isWhole } of legs) {
        assert.notEqual(states[replica.node]!.standing, undefined)
        assert.ok(shards.length > 0 && shards.every((shard) => replica.shards.includes(shard)))
        assert.deepEqual(shards, [...shards].sort(ascending))
        assert.equal(isWhole, shards.join() === replica.shards.join())
      }
      // What is missing, nobody in the groups that may be asked could have answered.
      const reach = new Set(legs.map(({ replica }) => replica.group))
      if (group !== undefined) reach.add(group)
      const isOneGroup = layout.fallbackGroupsMax >= layout.groups - 1
      for (const shard of missing) {
        const able = replicas.filter(
          ({ node, shards, group }) =>
            states[node]!.standing !== undefined && shards.includes(shard) && (isOneGroup || reach.has(group)),
        )
        assert.deepEqual(able, [], `shard ${shard}`)
      }
    }),
    { numRuns: 300 },
  )
})

test('a read stays within one group while that has live replicas of all shards', () => {
  const replicas = fleet(
    [
      ['a', 'b', 'c'],
      ['d', 'e', 'f'],
    ],
    16,
    2,
  )
  const groups = all(100).map((turn) => {
    const { group, legs } = coverShards(replicas, all(16), view(turn, { a: { standing: undefined } }))
    assert.ok(legs.every(({ replica }) => replica.group === group))
    return group
  })
  const first = groups.filter((group) => group === 0).length
  assert.ok(first >= 48 && first <= 52, `${first} of 100`)
})

test('what a group lacks comes from the nearest other group, and from two of them at most', () => {
  const replicas = fleet([['a'], ['b'], ['c'], ['d']], 4, 1).map((replica) =>
    replica.node === 'a' || replica.node === 'c' ? replica : { ...replica, shards: [0, 1] },
  )
  const states = { c: { standing: undefined } }
  const { group, legs, missing } = coverShards(replicas, all(4), view(1, states), { ...defaultGroupRule, preferred: 1 })
  assert.equal(group, 1)
  assert.deepEqual(
    legs.map(({ replica, shards }) => [replica.node, shards]),
    [
      ['b', [0, 1]],
      ['a', [2, 3]],
    ],
  )
  assert.deepEqual(missing, [])
  const alone = { fallbackGroupsMax: 0, rotation: 'turns', preferred: 1 } as const
  assert.deepEqual(coverShards(replicas, all(4), view(1, states), alone).missing, [2, 3])
})

test('a group without any live replica is not chosen, even when a session asks for it', () => {
  const replicas = fleet([['a'], ['b']], 2, 1)
  const rule = { ...defaultGroupRule, preferred: 0 }
  assert.equal(coverShards(replicas, [0], view(0), rule).group, 0)
  assert.equal(coverShards(replicas, [0], view(0, { a: { standing: undefined } }), rule).group, 1)
})

test('equal nodes take turns, few of them for each read and none of them with much more than its part', () => {
  const nodes = ['a', 'b', 'c', 'd', 'e', 'f']
  const replicas = fleet([nodes], 64, 2)
  const asked: string[] = []
  for (let turn = 0; turn < 600; turn += 1) {
    const { legs } = coverShards(replicas, all(64), view(turn))
    assert.ok(legs.length <= 5, `${legs.length} nodes`)
    const largest = Math.max(...legs.map(({ shards }) => shards.length))
    assert.ok(largest <= 1.5 * (64 / legs.length), `${largest} shards on one of ${legs.length} nodes`)
    for (const { replica, shards } of legs) asked.push(...shards.map(() => replica.node))
  }
  for (const [node, share] of Object.entries(count(asked))) {
    assert.ok(share < 1.25 * 600 * (64 / 6), `${node} answers for ${share} shards`)
  }
})

test('where every node holds everything, one node answers alone and needs no filter', () => {
  const replicas = fleet([['a', 'b']], 16, 2)
  const asked = all(10).map((turn) => {
    const { legs } = coverShards(replicas, all(16), view(turn))
    assert.equal(legs.length, 1)
    assert.equal(legs[0]!.isWhole, true)
    return legs[0]!.replica.node
  })
  assert.deepEqual(count(asked), { a: 5, b: 5 })
})

test('a dear node is asked only for what nobody else holds', () => {
  const replicas: readonly Replica[] = [
    { node: 'slow', group: 0, shards: [0, 1, 2, 3], physicalUid: 'x' },
    { node: 'fast', group: 0, shards: [1, 2, 3], physicalUid: 'x' },
  ]
  const { legs } = coverShards(replicas, all(4), view(3, { slow: { cost: 100 } }))
  assert.deepEqual(legs.map(({ replica, shards }) => [replica.node, shards]).sort(), [
    ['fast', [1, 2, 3]],
    ['slow', [0]],
  ])
  // One that is left out gives way to another group as well.
  const both = [...replicas, { node: 'far', group: 1, shards: [0, 1, 2, 3], physicalUid: 'x' }]
  const rule = { ...defaultGroupRule, preferred: 0 }
  const other = coverShards(both, all(4), view(3, { slow: { standing: 'poor' } }), rule)
  assert.deepEqual(other.legs.map(({ replica }) => replica.node).sort(), ['far', 'fast'])
})

test('the same turn gives the same replicas in every process', () => {
  const make = () =>
    coverShards(
      fleet(
        [
          ['a', 'b', 'c'],
          ['d', 'e', 'f'],
        ],
        16,
        2,
      ),
      all(16),
      view(77),
    )
  assert.deepEqual(make(), make())
})

test('another replica for a leg comes from its own group first, and a hedge only goes to one that does well', () => {
  const replicas = fleet(
    [
      ['a', 'b'],
      ['c', 'd', 'e'],
    ],
    8,
    2,
  )
  const states = { c: { standing: 'poor' }, d: { standing: 'poor' }, e: { standing: 'trial' } } as const
  const others = otherReplicas(replicas, view(0, states), defaultGroupRule)
  const leg = coverShards(replicas, all(8), view(0, states), { ...defaultGroupRule, preferred: 0 }).legs[0]!
  const other = leg.replica.node === 'a' ? 'b' : 'a'
  assert.equal(others.one(leg, new Set([leg.replica.node]), 'hedge')?.node, other)
  const tried = new Set(['a', 'b'])
  // No node of the other group holds all of it, but three of them do.
  assert.equal(others.one(leg, tried, 'retry'), undefined)
  assert.equal(others.several(leg, tried), true)
  const part = { ...leg, shards: [3] }
  assert.equal(others.one(part, tried, 'hedge'), undefined)
  assert.ok(others.one(part, tried, 'retry')?.shards.includes(3))
  assert.equal(others.several(leg, new Set(['a', 'b', 'c', 'd'])), false)
})

function ascending(a: number, b: number): number {
  return a - b
}

function count(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}
