import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Random, seededRandom } from '../lib/random.ts'
import type { NodeId, Spread } from '../store/catalogue.ts'
import { anyPlace, type IndexLayout, type LayoutNode, type LayoutReplica, type PlannedMove } from './index-layout.ts'
import { spreadPlacements } from './placement-plan.ts'
import { brakesDefault, type Fleet, nodesOf, planRebalance } from './rebalance-plan.ts'

const seed = 20_261_122

function node(id: NodeId, group = 0, more: Partial<LayoutNode> = {}): LayoutNode {
  return {
    ...{ id, group, region: 'local', engine: 'embedded', state: 'active', capacity: null },
    ...{ takesExisting: true, seat: id, isLive: true },
    ...more,
  }
}

let made = 0

function spreadOver(nodes: readonly LayoutNode[], shards: number, replicationFactor: number): IndexLayout {
  made += 1
  const spread: Spread = { shards, replicationFactor, exactTies: true }
  const replicas = spreadPlacements(
    nodes.filter(({ state }) => state === 'active'),
    spread,
  ).map(({ node: id, shards: held }): LayoutReplica => ({ node: id, physicalUid: 'u', shards: held, state: 'active' }))
  return { index: `i${made}`, uid: `u${made}`, project: 'p', spread, wanted: anyPlace, byteCount: 1_000, replicas }
}

function plainOn(id: NodeId, byteCount = 1_000): IndexLayout {
  made += 1
  const replicas: readonly LayoutReplica[] = [{ node: id, physicalUid: 'u', shards: [0], state: 'active' }]
  return { index: `i${made}`, uid: `u${made}`, project: 'p', spread: null, wanted: anyPlace, byteCount, replicas }
}

const planOf = (layouts: readonly IndexLayout[], nodes: readonly LayoutNode[], more: Partial<Fleet> = {}) =>
  planRebalance({ layouts, nodes, open: [], resting: new Set(), settled: new Set(), ...more })

/** What a move comes to when it has closed. */
function after(layout: IndexLayout, { kind, takes, target }: PlannedMove): IndexLayout {
  made += 1
  const gained = takes.flatMap(({ shards }) => shards).sort((a, b) => a - b)
  const kept = layout.replicas.flatMap((replica) => {
    const given = takes.find((take) => take.node === replica.node && take.physicalUid === replica.physicalUid)
    if (kind === 'copy' || given === undefined) return [replica]
    const shards = replica.shards.filter((shard) => !given.shards.includes(shard))
    return shards.length === 0 ? [] : [{ ...replica, shards }]
  })
  const fresh: LayoutReplica = { node: target, physicalUid: `u${made}`, shards: gained, state: 'active' }
  return { ...layout, replicas: kind === 'removal' ? kept : [...kept, fresh] }
}

/** Carries out all that may begin, until nothing is left to do. */
function settle(
  layouts: readonly IndexLayout[],
  nodes: readonly LayoutNode[],
  check: (layouts: readonly IndexLayout[]) => void,
) {
  const carried: PlannedMove[] = []
  let now = layouts
  for (let round = 0; round < 1_000; round += 1) {
    const { next } = planOf(now, nodes)
    if (next.length === 0) return { layouts: now, carried }
    for (const move of next)
      now = now.map((layout) => (layout.index === move.layout.index ? after(layout, move) : layout))
    carried.push(...next)
    check(now)
  }
  throw new Error('it does not come to an end')
}

const shardsOn = ({ replicas }: IndexLayout, ids: ReadonlySet<NodeId>) =>
  replicas.flatMap(({ node: id, shards }) => (ids.has(id) ? shards : []))

/** Copies of each shard in each group. */
function copiesIn({ replicas, spread }: IndexLayout, nodes: readonly LayoutNode[], group: number): readonly number[] {
  const members = new Set(nodes.flatMap((one) => (one.group === group ? [one.id] : [])))
  const copies = Array.from({ length: spread?.shards ?? 1 }, () => 0)
  for (const { node: id, shards } of replicas) if (members.has(id)) for (const shard of shards) copies[shard]! += 1
  return copies
}

test('a node that is added takes only what it wins, from whoever loses it, and a second plan is empty', () => {
  const nodes = ['a', 'b', 'c'].map((id) => node(id))
  const before = spreadOver(nodes, 16, 1)
  const grown = [...nodes, node('d')]
  const { moves } = planOf([before], grown)
  assert.equal(moves.length, 1, 'one move brings everything')
  const [move] = moves
  assert.equal(move?.target, 'd')
  const { layouts } = settle([before], grown, () => undefined)
  const wanted = spreadPlacements(grown, before.spread!)
  for (const { node: id, shards } of wanted) {
    assert.deepEqual(
      shardsOn(layouts[0]!, new Set([id])).sort((a, b) => a - b),
      shards,
    )
  }
  assert.equal(
    move?.takes.flatMap(({ shards }) => shards).length,
    wanted.find(({ node: id }) => id === 'd')?.shards.length,
  )
  assert.deepEqual(planOf(layouts, grown).moves, [])
})

test('a node that does not take existing indexes is left alone', () => {
  const nodes = ['a', 'b'].map((id) => node(id, 0, { takesExisting: false }))
  const before = spreadOver(nodes, 16, 1)
  assert.deepEqual(planOf([before], [...nodes, node('c', 0, { takesExisting: false })]).moves, [])
  assert.equal(planOf([before], [...nodes, node('c')]).moves.length, 1)
})

test('a node that takes the seat of another takes exactly what that one held', () => {
  const nodes = ['a', 'b', 'c'].map((id) => node(id))
  const before = spreadOver(nodes, 32, 1)
  const held = shardsOn(before, new Set(['b']))
  const replaced = [node('a'), node('b', 0, { state: 'draining' }), node('c'), node('d', 0, { seat: 'b' })]
  const { moves } = planOf([before], replaced)
  assert.deepEqual(
    moves.map(({ kind, target, takes }) => ({ kind, target, takes })),
    [{ kind: 'move', target: 'd', takes: [{ node: 'b', physicalUid: 'u', shards: held }] }],
  )
})

test('a node of a group in which all nodes hold the index is drained to the others', () => {
  const nodes = ['a', 'b', 'c'].map((id) => node(id))
  const before = spreadOver(nodes, 16, 1)
  const drained = [node('a', 0, { state: 'draining' }), node('b'), node('c')]
  const { layouts } = settle([before], drained, (now) =>
    assert.ok(copiesIn(now[0]!, drained, 0).every((count) => count === 1)),
  )
  assert.deepEqual(shardsOn(layouts[0]!, new Set(['a'])), [])
})

test('a node stays where a group would have fewer copies than a quorum without it', () => {
  const nodes = ['a', 'b'].map((id) => node(id))
  const before = spreadOver(nodes, 4, 2)
  const { moves, stuck } = planOf([before], [node('a', 0, { state: 'draining' }), node('b')])
  assert.deepEqual(moves, [])
  assert.match(stuck[0]?.reason ?? '', /too few copies/)
})

test('a group is added by copies and goes by removals, and never the last one', () => {
  const first = ['a', 'b'].map((id) => node(id, 0))
  const second = ['c', 'd'].map((id) => node(id, 1))
  const before = spreadOver(first, 8, 1)
  const grown = settle([before], [...first, ...second], (now) =>
    assert.ok(copiesIn(now[0]!, first, 0).every((n) => n === 1)),
  )
  assert.deepEqual(new Set(grown.carried.map(({ kind }) => kind)), new Set(['copy']))
  assert.ok(copiesIn(grown.layouts[0]!, second, 1).every((count) => count === 1))
  const leaving = first.map((one) => ({ ...one, state: 'draining' as const }))
  const shrunk = settle(grown.layouts, [...leaving, ...second], () => undefined)
  assert.deepEqual(
    shrunk.carried.map(({ kind }) => kind),
    ['removal'],
  )
  assert.ok(copiesIn(shrunk.layouts[0]!, second, 1).every((count) => count === 1))
  const last = second.map((one) => ({ ...one, state: 'draining' as const }))
  const { moves, stuck } = planOf(shrunk.layouts, [...leaving, ...last])
  assert.deepEqual(moves, [])
  assert.ok(stuck.length > 0)
})

test('an index leaves groups in which it is not wanted once another one holds it', () => {
  const nodes = [node('a', 0, { region: 'eu' }), node('b', 1, { region: 'us' })]
  const before = { ...spreadOver([nodes[0]!], 4, 1), wanted: { groups: [1], region: null } }
  const { carried, layouts } = settle([before], nodes, () => undefined)
  assert.deepEqual(
    carried.map(({ kind, target }) => [kind, target]),
    [
      ['copy', 'b'],
      ['removal', 'a'],
    ],
  )
  assert.deepEqual(shardsOn(layouts[0]!, new Set(['b'])), [0, 1, 2, 3])
})

test('whatever happens to nodes and copies, no shard is ever without one, and planning comes to an end', () => {
  const random = seededRandom(seed)
  for (let round = 0; round < 25; round += 1) {
    const groups = 1 + random.integer(2)
    let nodes = Array.from({ length: groups * (2 + random.integer(3)) }, (_, at) => node(`n${at}`, at % groups))
    let layouts: readonly IndexLayout[] = Array.from({ length: 3 }, () =>
      spreadOver(nodes, 1 + random.integer(24), 1 + random.integer(2)),
    )
    for (let change = 0; change < 4; change += 1) {
      ;[nodes, layouts] = changed(nodes, layouts, random, `x${round}-${change}`)
      const settled = settle(layouts, nodes, (now) => {
        for (const { replicas, spread } of now) {
          const held = new Set(replicas.flatMap(({ shards }) => shards))
          assert.equal(held.size, spread?.shards, `seed ${seed}: a shard is gone`)
        }
      })
      layouts = settled.layouts
      for (const layout of layouts) {
        for (const group of new Set(nodes.flatMap((one) => (one.state === 'active' ? [one.group] : [])))) {
          const copies = copiesIn(layout, nodes, group)
          const most = nodes.filter((one) => one.group === group && one.state === 'active').length
          const least = Math.min(layout.spread!.replicationFactor, most)
          assert.ok(
            copies.every((count) => count >= least),
            `seed ${seed}: too few copies`,
          )
        }
      }
    }
  }
})

function changed(
  nodes: LayoutNode[],
  layouts: readonly IndexLayout[],
  random: Random,
  id: string,
): [LayoutNode[], readonly IndexLayout[]] {
  const any = nodes[random.integer(nodes.length)]!
  switch (random.integer(4)) {
    case 0:
      return [[...nodes, node(id, random.integer(3))], layouts]
    case 1:
      return [nodes.map((one) => (one === any ? { ...one, state: 'draining' } : one)), layouts]
    case 2:
      return [
        [
          ...nodes.map((one) => (one === any ? { ...one, state: 'draining' as const } : one)),
          node(id, any.group, { seat: any.seat }),
        ],
        layouts,
      ]
    default: {
      const replicationFactor = 1 + random.integer(3)
      return [nodes, layouts.map((layout) => ({ ...layout, spread: { ...layout.spread!, replicationFactor } }))]
    }
  }
}

test('small indexes stay where they are until a node is too full, then as few as needed go, and none comes back', () => {
  const capacity = { diskBytes: 10_000, memoryBytes: null }
  const nodes = ['a', 'b', 'c'].map((id) => node(id, 0, { capacity }))
  const full = [3_000, 2_500, 1_500, 1_200].map((bytes) => plainOn('a', bytes))
  const others = [plainOn('b', 1_000)]
  const { moves } = planOf([...full, ...others], nodes)
  assert.deepEqual(
    moves.map(({ layout, target }) => [layout.byteCount, target]),
    [[1_200, 'c']],
  )
  const settled = settle([...full, ...others], nodes, () => undefined)
  assert.equal(settled.carried.length, 1)
  assert.deepEqual(planOf(full.slice(0, 3), nodes).moves, [], 'nothing moves below the mark')
})

test('everything leaves a draining node, to the emptiest of its region and kind', () => {
  const nodes = [
    node('a', 0, { state: 'draining' }),
    node('b'),
    node('c'),
    node('d', 0, { region: 'us' }),
    node('e', 0, { engine: 'meilisearch' }),
  ]
  const { moves, stuck } = planOf([plainOn('a'), plainOn('a'), plainOn('b')], nodes)
  assert.deepEqual(moves.map(({ target }) => target).sort(), ['b', 'c'])
  assert.deepEqual(stuck, [])
  const alone = planOf(
    [plainOn('d')],
    nodes.map((one) => (one.id === 'd' ? { ...one, state: 'draining' as const } : one)),
  )
  assert.match(alone.stuck[0]?.reason ?? '', /no other active embedded node is in region us/)
})

test('a plain index goes to the region in which it is wanted', () => {
  const nodes = [node('a'), node('b', 0, { region: 'us' })]
  const { moves } = planOf([{ ...plainOn('a'), wanted: { groups: null, region: 'us' } }], nodes)
  assert.deepEqual(
    moves.map(({ target }) => target),
    ['b'],
  )
})

test('few nodes take data at once, few moves go on at one node, and one of an index', () => {
  const nodes = Array.from({ length: 8 }, (_, at) => node(`n${at}`))
  const layouts = Array.from({ length: 30 }, () => spreadOver(nodes.slice(0, 4), 32, 1))
  const { next, moves } = planRebalance(
    { layouts, nodes, open: [], resting: new Set(), settled: new Set() },
    { ...brakesDefault, perNode: 5 },
  )
  assert.ok(moves.length > next.length)
  assert.ok(new Set(next.map(({ target }) => target)).size <= 2)
  const counts = new Map<NodeId, number>()
  for (const move of next) for (const id of nodesOf(move)) counts.set(id, (counts.get(id) ?? 0) + 1)
  assert.ok(Math.max(...counts.values()) <= 5)
  assert.equal(new Set(next.map(({ layout }) => layout.index)).size, next.length)
})

test('nothing begins in a region where many nodes are away', () => {
  const nodes = ['a', 'b', 'c', 'd', 'e'].map((id, at) =>
    node(id, 0, { isLive: at > 1, ...(at === 4 ? { state: 'draining' } : {}) }),
  )
  const plan = planOf([plainOn('e')], nodes)
  assert.equal(plan.moves.length, 1)
  assert.deepEqual(plan.next, [])
  assert.deepEqual(plan.braked, ['local'])
})

test('an index that moves, or has moved just now, is left alone', () => {
  const nodes = [node('a', 0, { state: 'draining' }), node('b')]
  const [one, other] = [plainOn('a'), plainOn('a')]
  const open = [{ index: one.index, nodes: ['a', 'b'], target: 'b', isUnderWay: true, isKept: false }]
  assert.deepEqual(planOf([one, other], nodes, { open, resting: new Set([other.index]) }).moves, [])
})
