import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultProjectSettings, type Node, noTokenRules, type Placement, type Project } from '../store/catalogue.ts'
import { spreadPlacements } from '../topology/placement-plan.ts'
import { buildRouteTable, type RouteTable } from '../topology/route-table.ts'
import { findRoute, type NodeStanding, surveyShards, viewShards, viewTopology } from './topology-view.ts'

const spread = { shards: 4, replicationFactor: 1, exactTies: false }
const nodes: readonly Node[] = ['a1', 'a2', 'b1'].map((id) => ({
  id,
  engine: 'embedded',
  url: `http://${id}`,
  region: 'local',
  group: id.startsWith('a') ? 0 : 1,
  capacity: null,
  state: 'active',
  key: null,
}))

function project(id: string): Project {
  const ref = id.padEnd(12, 'x')
  const rest = {
    state: 'active',
    masterKey: id,
    features: {},
    searchRules: [],
    tokens: noTokenRules,
    createdAt: 0,
  } as const
  return { id, ref, name: id, organisation: 'us', settings: defaultProjectSettings, ...rest }
}

/** Two projects with an index `books`: one spread, one plain on `a1`. */
function table(fleet: readonly Node[] = nodes): RouteTable {
  const index = { uid: 'books', primaryKey: null, createdAt: 0, updatedAt: 0, settingsPosition: 0 }
  const placed: Omit<Placement, 'index' | 'node' | 'shards'> = {
    ...{ generation: 1, physicalUid: 'x', state: 'active', applied: 0, revision: 0 },
  }
  return buildRouteTable({
    version: 7,
    projects: [project('shop'), project('blog')],
    keys: [],
    credentials: [],
    nodes: fleet,
    indexes: [
      { ...index, id: 'i1', project: 'shop', spread },
      { ...index, id: 'i2', project: 'blog', spread: null },
    ],
    placements: [
      ...spreadPlacements(fleet, spread).map((place) => ({ ...placed, ...place, index: 'i1' })),
      { ...placed, index: 'i2', node: 'a1', shards: [0] },
    ],
  })
}

const up: NodeStanding = { state: 'up', seenAt: 900, error: null }
const deps = (standings: Readonly<Record<string, Partial<NodeStanding>>> = {}) => ({
  standing: (id: string) => ({ ...up, ...standings[id] }),
  now: () => 1_000,
  pause: async () => undefined,
})

test('the topology tells how each node is found and how many shards it holds', async () => {
  const view = await viewTopology(table(), deps({ a2: { state: 'degraded', error: 'it was slow' } }))
  assert(Array.isArray(view.nodes))
  const held = spreadPlacements(nodes, spread).map(({ shards }) => shards.length)
  assert.deepEqual(
    view.nodes.map((node) => typeof node === 'object' && node !== null && Object.values(node).slice(0, 6)),
    [
      ['a1', 'http://a1', 'healthy', held[0]! + 1, 100, 0],
      ['a2', 'http://a2', 'degraded', held[1], 100, 0],
      ['b1', 'http://b1', 'healthy', 4, 100, 1],
    ],
  )
  assert.match(JSON.stringify(view.nodes), /"id":"a2".*"error":"it was slow"/)
  const { nodes: _, ...rest } = view
  assert.deepEqual(rest, {
    degraded_node_count: 1,
    rebalance_in_progress: false,
    fully_covered: true,
    uncovered_shards: 0,
    epoch: 7,
    replica_groups: [
      { id: 0, state: 'active' },
      { id: 1, state: 'active' },
    ],
    config_drift: [],
  })
})

test('a shard is covered as long as some group has it on a node that answers', async () => {
  const down = { state: 'down' } as const
  const uncovered = async (standings: Readonly<Record<string, Partial<NodeStanding>>>, fleet = nodes) =>
    (await surveyShards(table(fleet), deps(standings))).uncovered
  assert.equal(await uncovered({ b1: down }), 0)
  assert.equal(await uncovered({ a2: down }), 0)
  // The plain index lives there alone.
  assert.equal(await uncovered({ a1: down }), 1)
  assert.equal(await uncovered({ a1: down, a2: down, b1: down }), 5)
  const lost = nodes.map((node): Node => (node.id === 'b1' ? { ...node, state: 'lost' } : node))
  const ofFirst = spreadPlacements(nodes, spread)[0]?.shards.length ?? 0
  assert.equal(await uncovered({ a1: down }, lost), ofFirst + 1)
})

test('the shards of an index are shown by group, and names of several projects are told apart', () => {
  const routes = table()
  assert.deepEqual(findRoute(routes, 'books', null), { fault: 'several' })
  assert.deepEqual(findRoute(routes, 'films', null), { fault: 'none' })
  assert.deepEqual(findRoute(routes, 'books', 'nobody'), { fault: 'none' })
  const found = findRoute(routes, 'books', 'shop'.padEnd(12, 'x'))
  assert('route' in found)
  const view = viewShards(routes, found.route)
  const shard = Object.fromEntries(
    [0, 1, 2, 3].map((number) => {
      const holder = spreadPlacements(nodes, spread).find(({ shards }) => shards.includes(number))
      return [number, { 0: [holder?.node], 1: ['b1'] }]
    }),
  )
  assert.deepEqual(view, {
    index: 'books',
    project: 'shopxxxxxxxx',
    shards: 4,
    replication_factor: 1,
    shard,
  })
})
