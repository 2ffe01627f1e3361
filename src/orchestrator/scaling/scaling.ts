/**
 * When a fleet gets a node more or less (P-39, P-40): limits for what a node carries, held for a while, with a pause behind
 * every change, so that a load that comes and goes moves nothing to and fro. Pure.
 */
import type { EngineKind, NodeId } from '../../store/catalogue.ts'
import type { NodeSample } from '../../store/fleet.ts'

/** What a node may carry; null = does not matter. */
export interface ScaleLimits {
  /** Of one processor. */
  readonly cpuPercentMax: number | null
  readonly memoryPercentMax: number | null
  readonly diskPercentMax: number | null
  readonly dataBytesMax: number | null
  readonly searchMsMax: number | null
  readonly searchesPerSecondMax: number | null
  readonly indexesMax: number | null
}

export interface ScaleRules {
  readonly limits: ScaleLimits
  /** Above a limit for so long, a node is hot. */
  readonly hotMs: number
  /** Below this share of every limit for so long, it is underused. null = nobody is. */
  readonly idlePercent: number | null
  readonly idleMs: number
  /** A node is filled up to this share of its limits. */
  readonly targetPercent: number
  /** Those that stay stay below this share when an underused one is given back. */
  readonly keptPercentMax: number
  readonly coolDownMs: number
  /** Nodes of each replica group in each region that scaling stays between. */
  readonly nodesMin: number
  readonly nodesMax: number
}

export interface LoadedNode {
  readonly id: NodeId
  readonly engine: EngineKind
  readonly region: string
  readonly group: number
  readonly isActive: boolean
  /** Its machine was made by a driver, which can take it back. */
  readonly isOurs: boolean
  /** Nothing of it fits on those that are there, and something would on an empty one. */
  readonly isCrowded: boolean
  /** Newest last. */
  readonly samples: readonly NodeSample[]
}

export interface LoadedFleet {
  readonly nodes: readonly LoadedNode[]
  /** Machines on their way. */
  readonly coming: readonly { readonly region: string; readonly group: number }[]
  readonly canCreate: boolean
  readonly scaledAt: number | null
  /** A node is being emptied. */
  readonly isDraining: boolean
}

export type ScaleIntent =
  | { readonly kind: 'add'; readonly like: NodeId; readonly reason: string }
  /** Something of the node goes to another that has room. */
  | { readonly kind: 'relieve'; readonly node: NodeId; readonly target: NodeId; readonly reason: string }
  | { readonly kind: 'drain'; readonly node: NodeId; readonly reason: string }
  /** It should, and cannot. */
  | { readonly kind: 'stuck'; readonly node: NodeId; readonly reason: string }

/** Share of its limit, 1 = at it. */
export interface Usage {
  readonly ratio: number
  /** Which limit it is nearest to. */
  readonly what: string
}

export function scaling(fleet: LoadedFleet, rules: ScaleRules, now: number): readonly ScaleIntent[] {
  const active = fleet.nodes.filter(({ isActive }) => isActive).sort((a, b) => (a.id < b.id ? -1 : 1))
  const hot = active.flatMap((node) => {
    const usage = heldUsage(node, rules.limits, now, rules.hotMs)
    return usage !== undefined && usage.low.ratio >= 1 ? [{ node, usage: usage.low }] : []
  })
  const added = new Set<string>()
  const filled = new Set<NodeId>()
  const intents = hot.flatMap(({ node, usage }): readonly ScaleIntent[] => {
    const share = Math.round(usage.ratio * 100)
    const reason = `${usage.what} has been at ${share} % of its limit for ${Math.round(rules.hotMs / 1000)} s`
    const peers = active.filter((peer) => peer.id !== node.id && isPeer(peer, node))
    const target = node.isCrowded ? undefined : roomiest(peers, rules, filled)
    if (target !== undefined) {
      filled.add(target)
      return [{ kind: 'relieve', node: node.id, target, reason }]
    }
    const place = `${node.region} ${node.group}`
    const coming = fleet.coming.filter(({ region, group }) => region === node.region && group === node.group).length
    if (added.has(place) || coming > 0) return []
    const count = peers.length + 1
    if (count >= rules.nodesMax) {
      return [
        { kind: 'stuck', node: node.id, reason: `${reason}, and there are ${count} nodes already (\`nodes_max\`)` },
      ]
    }
    if (!fleet.canCreate) {
      return [{ kind: 'stuck', node: node.id, reason: `${reason}, and no driver makes nodes (\`fleet.driver\`)` }]
    }
    if (isCooling(fleet, rules, now)) return []
    added.add(place)
    return [{ kind: 'add', like: node.id, reason }]
  })
  if (hot.length > 0 || fleet.isDraining || fleet.coming.length > 0 || isCooling(fleet, rules, now)) return intents
  const idle = underused(active, rules, now)
  return idle === undefined ? intents : [...intents, idle]
}

const isCooling = ({ scaledAt }: LoadedFleet, { coolDownMs }: ScaleRules, now: number) =>
  scaledAt !== null && now - scaledAt < coolDownMs

function isPeer(peer: LoadedNode, node: LoadedNode): boolean {
  return peer.region === node.region && peer.group === node.group && peer.engine === node.engine
}

/** Of nodes that were looked at, the least used one below the target. */
function roomiest(peers: readonly LoadedNode[], rules: ScaleRules, filled: ReadonlySet<NodeId>): NodeId | undefined {
  const [best] = peers
    .flatMap((peer) => {
      const usage = presentUsage(peer, rules.limits)
      const hasRoom = usage !== undefined && usage.ratio * 100 < rules.targetPercent
      return hasRoom && !filled.has(peer.id) ? [{ id: peer.id, ratio: usage.ratio }] : []
    })
    .sort((a, b) => a.ratio - b.ratio || (a.id < b.id ? -1 : 1))
  return best?.id
}

/** The least used one that the others of its group can do without. */
function underused(active: readonly LoadedNode[], rules: ScaleRules, now: number): ScaleIntent | undefined {
  const { idlePercent } = rules
  if (idlePercent === null) return undefined
  const found = active.flatMap((node) => {
    if (!node.isOurs) return []
    const peers = active.filter((peer) => peer.id !== node.id && isPeer(peer, node))
    if (peers.length < Math.max(1, rules.nodesMin)) return []
    const usage = heldUsage(node, rules.limits, now, rules.idleMs)
    if (usage === undefined || usage.high.ratio * 100 >= idlePercent) return []
    const loads = [node, ...peers].map((one) => presentUsage(one, rules.limits)?.ratio)
    if (loads.some((load) => load === undefined)) return []
    const share = loads.reduce<number>((sum, load) => sum + (load ?? 0), 0) / peers.length
    return share * 100 < rules.keptPercentMax ? [{ node, ratio: usage.high.ratio }] : []
  })
  const [best] = found.sort((a, b) => a.ratio - b.ratio || (a.node.id < b.node.id ? -1 : 1))
  if (best === undefined) return undefined
  const share = Math.round(best.ratio * 100)
  const reason = `it has been below ${share + 1} % of its limits for ${Math.round(rules.idleMs / 1000)} s`
  return { kind: 'drain', node: best.node.id, reason }
}

/** Its lowest and highest use within the last `forMs`; `undefined` = it was not looked at all that time. */
export function heldUsage(
  { samples }: Pick<LoadedNode, 'samples'>,
  limits: ScaleLimits,
  now: number,
  forMs: number,
): { readonly low: Usage; readonly high: Usage } | undefined {
  const from = now - forMs
  if (!samples.some(({ at }) => at <= from)) return undefined
  const usages = samples.filter(({ at }) => at >= from).flatMap((sample) => usageOf(sample, limits) ?? [])
  const sorted = usages.sort((a, b) => a.ratio - b.ratio)
  const [low] = sorted
  const high = sorted.at(-1)
  return low === undefined || high === undefined ? undefined : { low, high }
}

function presentUsage({ samples }: Pick<LoadedNode, 'samples'>, limits: ScaleLimits): Usage | undefined {
  const last = samples.at(-1)
  return last === undefined ? undefined : usageOf(last, limits)
}

/** How near it is to the limit that it is nearest to; `undefined` = nothing is known of what is limited. */
export function usageOf(sample: NodeSample, limits: ScaleLimits): Usage | undefined {
  const used = percentOf(sample.diskBytesMax, sample.diskBytesFree)
  const shares: readonly (readonly [string, number | null, number | null])[] = [
    ['its processor', sample.cpuPercent, limits.cpuPercentMax],
    ['its memory', percent(sample.memoryBytes, sample.memoryBytesMax), limits.memoryPercentMax],
    ['its disk', used, limits.diskPercentMax],
    ['its data', sample.dataBytes, limits.dataBytesMax],
    ['the time of searches', sample.searchMsP95, limits.searchMsMax],
    ['its searches', sample.searchesPerSecond, limits.searchesPerSecondMax],
    ['the number of its indexes', sample.indexes, limits.indexesMax],
  ]
  const known = shares.flatMap(([what, value, max]) =>
    value === null || max === null ? [] : [{ what, ratio: value / max }],
  )
  return known.sort((a, b) => b.ratio - a.ratio)[0]
}

function percent(part: number | null, whole: number | null): number | null {
  return part === null || whole === null || whole === 0 ? null : (part / whole) * 100
}

function percentOf(whole: number | null, free: number | null): number | null {
  return whole === null || free === null ? null : percent(whole - free, whole)
}
