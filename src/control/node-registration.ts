/** Takes a node that somebody else runs into the fleet. New indexes use it; those that exist come to it when it is said. */
import { ApiError } from '../api/errors.ts'
import { markerKeyUid } from '../engine/http-engine.ts'
import type { Clock } from '../lib/clock.ts'
import { EngineUnavailable } from '../orchestrator/local-driver.ts'
import { isLocalId } from '../orchestrator/local-fleet.ts'
import { markedNode, reachEngine } from '../orchestrator/remote-node.ts'
import type { EngineKind, Node, NodeCapacity, NodeId } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'

/** Most replica groups. */
export const groupsMax = 64

export interface NewNode {
  readonly id: string
  readonly url: string
  /** Its master key; null = it has none. */
  readonly key: string | null
  readonly region: string
  readonly group: number
  readonly engine: EngineKind
  /** null = unknown. */
  readonly capacity: NodeCapacity | null
  /** Whether it takes its part of indexes that exist. Default false. */
  readonly takesExisting?: true
  /** The node whose place it takes. */
  readonly seat?: NodeId
}

const idForm = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * Checks that the node answers with its key before it is stored. Not safe to repeat: the second time its id is taken.
 *
 * @throws ApiError `miroir_invalid_request` for what cannot be a node, or does not answer; `miroir_conflict` when the id or
 *                  the address is in use.
 */
export async function addNode(
  node: NewNode,
  {
    catalogue,
    clock,
    signal,
    fault = () => undefined,
  }: {
    readonly catalogue: Pick<Catalogue, 'nodes' | 'putNode'>
    readonly clock: Clock
    readonly signal: AbortSignal
    /** What speaks against an address. Default: nothing. */
    readonly fault?: (url: URL) => string | undefined
  },
): Promise<Node> {
  const url = checkedUrl(node)
  const reason = fault(new URL(url))
  if (reason !== undefined) {
    throw invalid(`The address ${url} is refused (${reason}); \`outbound.allowed_ip_networks\` allows it.`)
  }
  const known = await catalogue.nodes()
  if (known.some(({ id }) => id === node.id)) throw conflict(`There is a node \`${node.id}\` already.`)
  // Two copies of a shard in one process would not be two copies.
  const twin = known.find((other) => other.url === url)
  if (twin !== undefined) throw conflict(`The node \`${twin.id}\` has the address ${url} already.`)
  await reachEngine({ url, key: node.key }, { clock, signal }).catch((error: unknown) => {
    throw error instanceof EngineUnavailable ? invalid(`${error.message}.`) : error
  })
  const marked = await markedNode({ url, key: node.key }, signal)
  // Two nodes on one disk would each take it for a foreign one, and build everything anew for ever.
  if (marked !== undefined)
    throw conflict(
      markedText(
        url,
        marked,
        known.some(({ id }) => id === marked),
      ),
    )
  return catalogue.putNode({ ...node, url })
}

function markedText(url: string, marked: NodeId, isOurs: boolean): string {
  if (isOurs) return `The engine at ${url} is the node \`${marked}\` already.`
  return `The engine at ${url} is the node \`${marked}\` of another installation; if that is gone, delete its key ${markerKeyUid}.`
}

/** @returns its address as it is stored. */
function checkedUrl({ id, url, group }: NewNode): string {
  if (!idForm.test(id)) {
    throw invalid(`\`${id}\` cannot be the id of a node: 1 to 63 lower-case letters, digits and inner hyphens can.`)
  }
  if (isLocalId(id)) throw invalid(`Ids such as \`${id}\` belong to the engines that \`flapjack up\` starts.`)
  if (!Number.isInteger(group) || group < 0 || group >= groupsMax) {
    throw invalid(`The replica group is a whole number from 0 to ${groupsMax - 1}.`)
  }
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const isPlain = parsed !== undefined && `${parsed.pathname}${parsed.search}${parsed.hash}` === '/'
  if (!isPlain || !['http:', 'https:'].includes(parsed.protocol) || parsed.username !== '' || parsed.password !== '') {
    throw invalid(`The address of a node is such as \`http://10.0.0.7:7700\`, without a path or a password.`)
  }
  return parsed.origin
}

function invalid(message: string): ApiError {
  return new ApiError('miroir_invalid_request', message)
}

function conflict(message: string): ApiError {
  return new ApiError('miroir_conflict', message)
}
