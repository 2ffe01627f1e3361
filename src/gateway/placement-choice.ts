/** Which replica of an index answers a read. With one shard and one replica there is little to choose. */
import { ApiError } from '../api/errors.ts'
import { credentialId, type Placement, type PlacementState, type ProjectId } from '../store/catalogue.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'
import type { NodeConnection, NodePools } from '../upstream/node-pools.ts'

const readable: Record<PlacementState, boolean> = { filling: false, active: true, draining: true, lost: false }

/** @throws ApiError `engine_unavailable` when no replica may be read. */
export function readPlacement(route: IndexRoute): Placement {
  const placement = route.placements.find(({ state }) => readable[state])
  if (placement === undefined) throw unreachableIndex()
  return placement
}

/** With the key that reads the project's indexes there (P-22). */
export function connectTo(
  table: RouteTable,
  pools: NodePools,
  placement: Placement,
  project: ProjectId,
): NodeConnection {
  const node = table.node(placement.node)
  if (node === undefined || node.state === 'lost') throw unreachableIndex()
  const credential =
    table.credential(credentialId(node.id, project)) ?? table.credential(credentialId(node.id, 'reads'))
  return pools.connection(node, credential?.key ?? node.key)
}

function unreachableIndex(): ApiError {
  return new ApiError('engine_unavailable', 'The index cannot be reached at the moment. Try again.')
}
