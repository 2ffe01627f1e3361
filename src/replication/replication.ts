/**
 * The worker's side of the lanes: takes leases of nodes and runs one dispatcher for each node that it holds.
 *
 * Several workers may run; a node belongs to one at a time. Whatever a worker that lost its lease still does is refused by
 * the store (epoch), and what it still sends to the engine is recognised by its mark.
 */
import type { ReplicationDeps } from './dependencies.ts'

export interface Replication {
  /** Ends all dispatchers, waits for requests in flight, and gives the leases back. */
  stop(): Promise<void>
}

export function startReplication(deps: ReplicationDeps): Replication {
  void deps
  return { stop: async () => {} }
}
