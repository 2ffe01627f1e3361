/** What a wanted move takes along, or why nothing. Pure. */
import type { Node, NodeId, Placement, Spread } from '../store/catalogue.ts'
import { isRead, servedShards } from './placement-states.ts'

export interface WantedMove {
  readonly target: NodeId
  /** Of a spread index: this shard alone; absent = the whole replica. */
  readonly shard?: number
  /** The replica on this node. Where neither is said, the only one there is. */
  readonly source?: NodeId
}

export interface OrderedMove {
  readonly source: Placement
  /** Ascending; all that the source answers for, or some of it. */
  readonly shards: readonly number[]
  readonly target: Node
}

export function orderMove(
  spread: Spread | null,
  replicas: readonly Placement[],
  nodes: readonly Node[],
  { target: to, shard, source: from }: WantedMove,
): OrderedMove | { readonly refusal: string } {
  const known = new Map(nodes.map((node) => [node.id, node]))
  const target = known.get(to)
  if (target === undefined) return { refusal: `there is no node \`${to}\`; \`flapjack node list\` shows all` }
  if (target.state !== 'active') return { refusal: `node \`${to}\` is ${target.state}: it takes no indexes` }
  const count = spread?.shards ?? 1
  if (shard !== undefined && shard >= count) return { refusal: `the index has the shards 0 to ${count - 1}` }
  const there = new Set(replicas.flatMap((replica) => (replica.node === to ? replica.shards : [])))
  // The groups stay whole: a replica moves inside its own. A plain index is in no group.
  const isOfGroup = ({ node }: Placement) => spread === null || known.get(node)?.group === target.group
  const wanted = (replica: Placement) => {
    const served = servedShards(replica)
    if (shard === undefined) return served
    return served.includes(shard) ? [shard] : []
  }
  const fitting = replicas.filter(
    (replica) =>
      isOfGroup(replica) &&
      replica.node !== to &&
      (from === undefined || replica.node === from) &&
      wanted(replica).length > 0,
  )
  const candidates = fitting.filter((replica) => !wanted(replica).some((one) => there.has(one)))
  const [source, ...others] = candidates
  if (source === undefined) {
    if (there.size > 0) return { refusal: `the index is on \`${to}\` already` }
    const where = spread === null ? '' : ` of replica group ${target.group}`
    return { refusal: `no node${where} holds a replica that fits` }
  }
  if (others.length > 0) {
    const holders = candidates.map(({ node }) => `\`${node}\``).join(', ')
    return { refusal: `several replicas fit, on ${holders}: say which with \`--from\`` }
  }
  if (!isRead(source) && source.state !== 'filling')
    return { refusal: `the replica on \`${source.node}\` is ${source.state}` }
  return { source, shards: wanted(source), target }
}
