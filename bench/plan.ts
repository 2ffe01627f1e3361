/**
 * Planning of a large installation: 100,000 indexes over 1,000 nodes, a tenth of them spread. How long a full plan takes, what a
 * node that is added moves, and what a plan behind that finds. Processor time of this process, as others may use the machine.
 */
import { seededRandom } from '../src/lib/random.ts'
import { anyPlace, type IndexLayout, type LayoutNode } from '../src/topology/index-layout.ts'
import { spreadPlacements } from '../src/topology/placement-plan.ts'
import { type Fleet, planRebalance } from '../src/topology/rebalance-plan.ts'

const indexCount = 100_000
const nodeCount = 1_000
const shards = 64

export interface PlanFigures {
  readonly indexes: number
  readonly nodes: number
  readonly placements: number
  readonly fullPlanCpuMs: number
  readonly movesOfFullPlan: number
  /** A node more: bytes that move, by the bytes that the new node must hold. */
  readonly addedNodeCpuMs: number
  readonly movedByMinimum: number
  readonly movesOfSecondPlan: number
  /** A node drains. */
  readonly drainCpuMs: number
  readonly movesOfDrain: number
}

export function benchPlan(say: (line: string) => void): PlanFigures {
  const random = seededRandom(1)
  const nodes = Array.from({ length: nodeCount }, (_, at): LayoutNode => nodeOf(`node-${at}`, at % 2))
  const spread = { shards, replicationFactor: 1, exactTies: true }
  const layouts = Array.from({ length: indexCount }, (_, at): IndexLayout => {
    const byteCount = 1_000 + random.integer(10_000_000)
    const home = nodes[random.integer(nodeCount)]!
    const known = { index: `index-${at}`, uid: `u${at}`, project: 'p', wanted: anyPlace, byteCount }
    if (at % 10 > 0) {
      return { ...known, spread: null, replicas: [{ node: home.id, physicalUid: 'u', shards: [0], state: 'active' }] }
    }
    return { ...known, spread, replicas: placed(nodes, spread) }
  })
  const fleet: Fleet = { layouts, nodes, open: [], resting: new Set(), settled: new Set() }
  const full = timed(() => planRebalance(fleet))
  const grown = [...nodes, nodeOf('node-new', 0)]
  const added = timed(() => planRebalance({ ...fleet, nodes: grown }))
  const moved = added.plan.moves.reduce((sum, { bytes }) => sum + bytes, 0)
  const wins = placed(grown, spread).find(({ node }) => node === 'node-new')?.shards.length ?? 0
  const minimum = layouts.reduce((sum, one) => sum + (one.spread === null ? 0 : (one.byteCount * wins) / shards), 0)
  const settled = layouts.map((one) => (one.spread === null ? one : { ...one, replicas: placed(grown, spread) }))
  const second = planRebalance({ ...fleet, nodes: grown, layouts: settled })
  const draining = nodes.map((node) => (node.id === 'node-7' ? { ...node, state: 'draining' as const } : node))
  const drain = timed(() => planRebalance({ ...fleet, nodes: draining }))
  const figures: PlanFigures = {
    ...{ indexes: indexCount, nodes: nodeCount },
    placements: layouts.reduce((sum, { replicas }) => sum + replicas.length, 0),
    ...{ fullPlanCpuMs: full.cpuMs, movesOfFullPlan: full.plan.moves.length },
    ...{ addedNodeCpuMs: added.cpuMs, movedByMinimum: minimum === 0 ? 1 : moved / minimum },
    ...{ movesOfSecondPlan: second.moves.length, drainCpuMs: drain.cpuMs, movesOfDrain: drain.plan.moves.length },
  }
  say(JSON.stringify(figures))
  return figures
}

let lists: { readonly nodes: readonly LayoutNode[]; readonly placed: ReturnType<typeof spreadPlacements> } | undefined

/** The same for all indexes. */
function placed(nodes: readonly LayoutNode[], spread: { readonly shards: number; readonly replicationFactor: number }) {
  if (lists?.nodes !== nodes) lists = { nodes, placed: spreadPlacements(nodes, spread) }
  return lists.placed.map(({ node, shards: held }) => {
    return { node, physicalUid: 'u', shards: held, state: 'active' as const }
  })
}

function nodeOf(id: string, group: number): LayoutNode {
  return {
    ...{ id, group, region: 'local', engine: 'embedded', state: 'active' },
    capacity: { diskBytes: 100e9, memoryBytes: null },
    ...{ takesExisting: true, seat: id, isLive: true },
  }
}

function timed<T>(run: () => T): { readonly plan: T; readonly cpuMs: number } {
  const before = process.cpuUsage()
  const plan = run()
  const { user, system } = process.cpuUsage(before)
  return { plan, cpuMs: Math.round((user + system) / 1_000) }
}
