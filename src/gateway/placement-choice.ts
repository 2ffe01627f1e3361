/** Which replica of an index answers a read. With one shard there is little to choose. */
import { ApiError } from '../api/errors.ts'
import type { Placement, ProjectId } from '../store/catalogue.ts'
import { isRead } from '../topology/placement-states.ts'
import { nodeForReads } from '../topology/read-access.ts'
import type { IndexRoute, RouteTable } from '../topology/route-table.ts'
import type { NodeConnection, NodePools } from '../upstream/node-pools.ts'

/** @throws ApiError `engine_unavailable` when no replica may be read. */
export function readPlacement(route: IndexRoute): Placement {
  const placement = route.placements.find(isRead)
  if (placement === undefined) throw unreachableIndex()
  return placement
}

/** With the key that reads the project's indexes there (P-22). */
export function connectTo(
  table: RouteTable,
  pools: NodePools,
  placement: Pick<Placement, 'node'>,
  project: ProjectId,
): NodeConnection {
  const node = nodeForReads(table, placement.node, project)
  if (node === undefined || node.state === 'lost') throw unreachableIndex()
  return pools.connection(node)
}

function unreachableIndex(): ApiError {
  return new ApiError('engine_unavailable', 'The index cannot be reached at the moment. Try again.')
}
