/**
 * How this gateway finds the nodes (C-04): probes of its own, beside what live requests meet. It may leave out a node that it
 * cannot reach; what everybody should know is said by the worker that holds the node's lease.
 */
import type { Logger } from 'pino'
import type { NodeStanding } from '../control/topology-view.ts'
import type { Clock, Timers } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import type { AnswerReceiver } from '../upstream/connection-pool.ts'
import type { UpstreamFailure } from '../upstream/failure.ts'
import { FleetHealth, type HealthOptions } from '../upstream/node-health.ts'
import { createNodePools, type NodeConnection } from '../upstream/node-pools.ts'
import type { NodeLink } from '../upstream/read-attempt.ts'

export interface FleetWatch {
  readonly health: FleetHealth
  standing(id: NodeId): NodeStanding
  close(): Promise<void>
}

export interface FleetWatchDeps {
  /** Absent = nothing is probed: every node counts as up, unless it is told otherwise. */
  readonly options: HealthOptions | undefined
  readonly nodes: () => Iterable<Node>
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Pick<Random, 'float'>
  readonly log: Logger
}

interface Seen {
  at: number | null
  error: string | null
}

const unprobed: HealthOptions = { intervalMs: 5_000, timeoutMs: 2_000, unhealthyThreshold: 3, recoveryThreshold: 2 }

/** Begins to probe. */
export function watchFleet({ options, nodes, clock, timers, random, log }: FleetWatchDeps): FleetWatch {
  const { timeoutMs } = options ?? unprobed
  const pools = createNodePools({ connectionsMax: 1, connectTimeoutMs: timeoutMs, answerTimeoutMs: timeoutMs, clock })
  const seen = new Map<NodeId, Seen>()
  const health = new FleetHealth({
    options: options ?? unprobed,
    connect(node) {
      const known = seen.get(node.id) ?? { at: null, error: null }
      seen.set(node.id, known)
      // `/health` asks for no key.
      return notingLink(pools.connection({ ...node, key: null }), known, clock)
    },
    nodes,
    clock,
    timers,
    random,
    onState(node, state) {
      if (state === 'up') log.info({ node }, 'node answers')
      else log.warn({ node, state, error: seen.get(node)?.error ?? null }, 'node does not answer')
    },
  })
  if (options !== undefined) health.start()
  return {
    health,
    standing(id) {
      const state = health.state(id)
      const { at, error } = seen.get(id) ?? { at: null, error: null }
      return { state, seenAt: at, error: state === 'up' ? null : error }
    },
    close() {
      health.stop()
      return pools.close()
    },
  }
}

/** Remembers when the node answered and what went wrong. */
function notingLink(connection: NodeConnection, seen: Seen, clock: Clock): NodeLink {
  return {
    send(request, receiver) {
      let status = 0
      const noting: AnswerReceiver = {
        onHead(answered, headers) {
          status = answered
          receiver.onHead(answered, headers)
        },
        onData: (piece) => receiver.onData(piece),
        onEnd() {
          seen.at = clock.now()
          seen.error = status === 200 ? null : `it answers ${status}`
          receiver.onEnd()
        },
        onFailure(failure: UpstreamFailure) {
          seen.error = failure.reason
          receiver.onFailure(failure)
        },
      }
      return connection.send(request, noting)
    },
  }
}
