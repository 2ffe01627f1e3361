/** What operators see of nodes and of where shards are (C-55), from a route table and from who answers. */
import type { JsonObject } from '../lib/json.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import { isRead } from '../topology/placement-states.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'

/** How one process finds a node. */
export interface NodeStanding {
  readonly state: 'up' | 'degraded' | 'down'
  /** When it answered last; null = not yet. */
  readonly seenAt: number | null
  /** What its last failure was, while it fails. */
  readonly error: string | null
}

export interface TopologyDeps {
  readonly standing: (node: NodeId) => NodeStanding
  readonly now: () => number
  /** Lets other work go first. */
  readonly pause: () => Promise<void>
}

type NodeStatus = 'healthy' | 'degraded' | 'draining' | 'failed'

/** Indexes that are looked at in one go. */
const sliceSize = 500

/** Counted over every index. */
export interface ShardSurvey {
  readonly shards: number
  /** Without a replica that may be read on a node that answers. */
  readonly uncovered: number
  /** Copies of shards, by node. */
  readonly shardCounts: ReadonlyMap<NodeId, number>
}

/** Looks at every index, in slices. */
export async function surveyShards(table: RouteTable, { standing, pause }: TopologyDeps): Promise<ShardSurvey> {
  const there = new Set<NodeId>()
  for (const node of table.nodes()) if (statusOfNode(node, standing(node.id)) !== 'failed') there.add(node.id)
  const shardCounts = new Map<NodeId, number>()
  let shards = 0
  let uncovered = 0
  let seen = 0
  for (const project of table.projects()) {
    for (const route of table.unsortedIndexes(project.id)) {
      for (const { node, shards: held } of route.placements) {
        shardCounts.set(node, (shardCounts.get(node) ?? 0) + held.length)
      }
      shards += route.index.spread?.shards ?? 1
      uncovered += uncoveredShards(route, there)
      seen += 1
      if (seen % sliceSize === 0) await pause()
    }
  }
  return { shards, uncovered, shardCounts }
}

/** Answer of `GET /_miroir/topology`, without the defaults for new indexes. */
export async function viewTopology(table: RouteTable, deps: TopologyDeps): Promise<JsonObject> {
  const { uncovered, shardCounts } = await surveyShards(table, deps)
  const byGroup = [...table.nodes()].sort((a, b) => a.group - b.group || (a.id < b.id ? -1 : 1))
  const nodes = byGroup.map((node) => showNode(node, deps, shardCounts.get(node.id) ?? 0))
  return {
    nodes,
    degraded_node_count: nodes.filter(({ status }) => status === 'degraded' || status === 'failed').length,
    rebalance_in_progress: false,
    fully_covered: uncovered === 0,
    uncovered_shards: uncovered,
    epoch: table.version,
    replica_groups: [...new Set(byGroup.map(({ group }) => group))].map((id) => ({ id, state: 'active' })),
    config_drift: [],
  }
}

function showNode(node: Node, { standing, now }: TopologyDeps, shardCount: number) {
  const { state, seenAt, error } = standing(node.id)
  return {
    id: node.id,
    address: node.url,
    status: statusOfNode(node, { state }),
    shard_count: shardCount,
    last_seen_ms: seenAt === null ? null : Math.max(0, now() - seenAt),
    replica_group: node.group,
    region: node.region,
    engine: node.engine,
    ...(error === null ? {} : { error }),
  }
}

function statusOfNode({ state }: Pick<Node, 'state'>, health: Pick<NodeStanding, 'state'>): NodeStatus {
  if (state === 'lost' || health.state === 'down') return 'failed'
  if (state === 'draining') return 'draining'
  return health.state === 'degraded' ? 'degraded' : 'healthy'
}

/** How many shards of an index have no replica that may be read on one of the nodes. */
function uncoveredShards({ index, placements }: IndexRoute, there: ReadonlySet<NodeId>): number {
  const usable = placements.filter((placement) => isRead(placement) && there.has(placement.node))
  if (index.spread === null) return usable.length > 0 ? 0 : 1
  const covered = new Set(usable.flatMap(({ shards }) => shards))
  return index.spread.shards - covered.size
}

/** Answer of `GET /_miroir/shards`: for each shard, the nodes of each replica group that hold it. */
export function viewShards(table: RouteTable, { index, placements }: IndexRoute): JsonObject {
  const shards = index.spread?.shards ?? 1
  const shard: Record<string, Record<string, string[]>> = {}
  for (let number = 0; number < shards; number += 1) shard[number] = {}
  for (const { node, shards: held } of placements) {
    const group = String(table.node(node)?.group ?? 0)
    for (const number of held) {
      const groups = shard[number] ?? {}
      groups[group] = [...(groups[group] ?? []), node].sort()
    }
  }
  return {
    index: index.uid,
    project: table.project(index.project)?.ref ?? index.project,
    shards,
    replication_factor: index.spread?.replicationFactor ?? 1,
    shard,
  }
}

/**
 * The index that an operator means.
 * @param ref  of its project; null = whichever has one of that name, if only one does.
 */
export function findRoute(
  table: RouteTable,
  uid: string,
  ref: string | null,
): { readonly route: IndexRoute } | { readonly fault: 'none' | 'several' } {
  const projects = ref === null ? [...table.projects()] : [table.projectByRef(ref)]
  const found = projects.flatMap((project) => {
    const route = project && table.index(project.id, uid)
    return route === undefined ? [] : [route]
  })
  const [route, ...others] = found
  if (route === undefined) return { fault: 'none' }
  return others.length > 0 ? { fault: 'several' } : { route }
}
