/** Which replica a wanted move takes along, or why none. Pure. */
import type { Node, NodeId, Placement, Spread } from '../store/catalogue.ts'
import { isRead } from './placement-states.ts'

export interface WantedMove {
  readonly target: NodeId
  /** Of a spread index: the replica that holds this shard. */
  readonly shard?: number
  /** The replica on this node. Where neither is said, the only one there is. */
  readonly source?: NodeId
}

export interface OrderedMove {
  readonly source: Placement
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
  if (replicas.some(({ node }) => node === to)) return { refusal: `the index is on \`${to}\` already` }
  const shards = spread?.shards ?? 1
  if (shard !== undefined && shard >= shards) return { refusal: `the index has the shards 0 to ${shards - 1}` }
  // The groups stay whole: a replica moves inside its own. A plain index is in no group.
  const isOfGroup = ({ node }: Placement) => spread === null || known.get(node)?.group === target.group
  const candidates = replicas.filter(
    (replica) =>
      isOfGroup(replica) &&
      (from === undefined || replica.node === from) &&
      (shard === undefined || replica.shards.includes(shard)),
  )
  const [source, ...others] = candidates
  if (source === undefined) {
    const where = spread === null ? '' : ` of replica group ${target.group}`
    return { refusal: `no node${where} holds a replica that fits` }
  }
  if (others.length > 0) {
    const holders = candidates.map(({ node }) => `\`${node}\``).join(', ')
    return { refusal: `several replicas fit, on ${holders}: say which with \`--from\`` }
  }
  if (!isRead(source) && source.state !== 'filling')
    return { refusal: `the replica on \`${source.node}\` is ${source.state}` }
  if (source.shards.length > 1 && shard !== undefined && from === undefined && source.shards.length !== shards) {
    const held = source.shards.join(', ')
    return {
      refusal: `shard ${shard} lies on \`${source.node}\` with the shards ${held}, which move together: say \`--from ${source.node}\``,
    }
  }
  return { source, target }
}
