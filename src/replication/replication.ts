/**
 * The worker's side of the lanes: takes leases of nodes and runs one dispatcher for each node that it holds.
 *
 * Several workers may run; a node belongs to one at a time. Whatever a worker that lost its lease still does is refused by
 * the store (epoch), and what it still sends to the engine is recognised by its mark.
 */
import type { NodeLease } from '../journal/ports.ts'
import type { NodeId } from '../store/catalogue.ts'
import { backoffMs, manyWaiting } from './deadline.ts'
import type { ReplicationDeps } from './dependencies.ts'
import { Dispatcher } from './dispatcher.ts'

/**
 * How long a lease lasts, and how often it is renewed. Another worker takes a dead one's nodes after the sum of the two at
 * most, which leaves a second of the five in which lanes must go on. A renewal costs the store one statement.
 */
export const leaseMs = 3_000
export const renewMs = 1_000

export interface Replication {
  /** Ends all dispatchers, waits for requests in flight, and gives the leases back. */
  stop(): Promise<void>
}

/** How often replicas are looked for that hold others back. */
const heldPollMs = 1_000
/** How long they may, before they leave the in-sync set. */
export const lagMsMax = 30_000

export function startReplication(deps: ReplicationDeps): Replication {
  const stop = manyWaiting()
  const dispatchers = new Map<NodeId, Dispatcher>()
  const run = Promise.all([hold(deps, dispatchers, stop.signal), releaseHeld(deps, stop.signal)])
  return {
    async stop() {
      stop.abort(new Error('replication stops'))
      await run
      await Promise.all([...dispatchers.values()].map((dispatcher) => dispatcher.stop()))
      await deps.journal.releaseNodes(deps.worker).catch((error: unknown) => {
        deps.log.warn({ error: String(error) }, 'the leases were not given back; they expire')
      })
    },
  }
}

async function releaseHeld({ journal, clock, log }: ReplicationDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(heldPollMs, signal).catch(() => {})
    if (signal.aborted) return
    await journal.releaseHeld(lagMsMax).catch((error: unknown) => {
      log.warn({ error: String(error) }, 'replicas that hold others back were not looked for')
    })
  }
}

async function hold(deps: ReplicationDeps, dispatchers: Map<NodeId, Dispatcher>, signal: AbortSignal): Promise<void> {
  const { journal, clock, random, log, worker } = deps
  let failures = 0
  let heldUntil = 0
  const isHeld = () => clock.monotonic() < heldUntil
  while (!signal.aborted) {
    const askedAt = clock.monotonic()
    try {
      const leases = await journal.leaseNodes(worker, leaseMs)
      heldUntil = askedAt + leaseMs
      failures = 0
      if (!signal.aborted) await follow(deps, dispatchers, leases, isHeld)
    } catch (error) {
      failures += 1
      log.warn({ error: String(error) }, 'the leases were not renewed')
    }
    // A lease that could not be renewed in time may be another's by now: nothing more goes out under it.
    if (clock.monotonic() >= heldUntil && dispatchers.size > 0) {
      await Promise.all([...dispatchers.values()].map((dispatcher) => dispatcher.stop()))
      dispatchers.clear()
    }
    const pause = failures === 0 ? renewMs : Math.min(renewMs, backoffMs(failures, random))
    await clock.sleep(pause, signal).catch(() => {})
  }
}

/** Starts and ends dispatchers so that there is one for each lease, of its epoch and at its node's present address. */
async function follow(
  deps: ReplicationDeps,
  dispatchers: Map<NodeId, Dispatcher>,
  leases: readonly NodeLease[],
  isHeld: () => boolean,
): Promise<void> {
  const held = new Map(leases.map((lease) => [lease.node.id, lease]))
  for (const [node, dispatcher] of dispatchers) {
    const lease = held.get(node)
    const { lease: before } = dispatcher
    const isSame =
      lease?.epoch === before.epoch && lease.node.url === before.node.url && lease.node.key === before.node.key
    if (isSame && !dispatcher.isLeaseLost) continue
    await dispatcher.stop()
    dispatchers.delete(node)
  }
  for (const [node, lease] of held)
    if (!dispatchers.has(node)) dispatchers.set(node, new Dispatcher(deps, lease, isHeld))
}
