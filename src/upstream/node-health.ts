/**
 * Which nodes answer, as this process sees it (C-04): probed every few seconds, and told of what live requests met. A node
 * that is `down` is asked nothing but probes and one trial at a time: this is the circuit breaker of reads. What it says is
 * advice for reads; nothing shared changes because of it.
 */
import type { Config } from '../config/config.ts'
import type { Clock, Timers } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import type { NodeLink } from './read-attempt.ts'

/** `degraded`: it failed lately, others are preferred. `down`: it failed too often in a row. */
export type HealthState = 'up' | 'degraded' | 'down'

export type HealthOptions = Config['cluster']['health']

export interface FleetHealthDeps {
  readonly options: HealthOptions
  /** To pools for probes alone: in those of searches they would wait behind requests that hang. One connection is enough. */
  readonly connect: (node: Node) => NodeLink
  /** The nodes to probe, asked before each round. What is known of others is forgotten. */
  readonly nodes: () => Iterable<Node>
  readonly clock: Pick<Clock, 'monotonic'>
  readonly timers: Timers
  readonly random: Pick<Random, 'float'>
  /** Called at every change, and once for a new node. */
  readonly onState?: (node: NodeId, state: HealthState) => void
}

/** A node that is not up is probed, and one that is down is tried, this often. */
const troubledMs = 1_000

interface Known {
  state: HealthState
  /** In a row. */
  failures: number
  /** In a row, since the last failure. */
  successes: number
  failedAt: number
  /** When it became `down` last. */
  downAt: number
  /** It was down, and has not answered often enough since to be up. */
  isRecovering: boolean
  probeAt: number
  trialAt: number
  probe: ReturnType<NodeLink['send']> | undefined
}

export class FleetHealth {
  readonly #deps: FleetHealthDeps
  readonly #known = new Map<NodeId, Known>()
  readonly #tickMs: number
  #cancelTick: (() => void) | undefined
  #isStopped = false

  constructor(deps: FleetHealthDeps) {
    this.#deps = deps
    this.#tickMs = Math.min(deps.options.intervalMs, troubledMs)
  }

  /** Begins to probe. */
  start(): void {
    this.#tick()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelTick?.()
    for (const { probe } of this.#known.values()) probe?.abort('the gateway stops')
  }

  /** `up` for a node that nothing is known of. */
  state(id: NodeId): HealthState {
    return this.#known.get(id)?.state ?? 'up'
  }

  /** Whether a request may go to it: one that is down takes a trial now and then. */
  mayAsk(id: NodeId): boolean {
    const known = this.#known.get(id)
    return known === undefined || known.state !== 'down' || this.#deps.clock.monotonic() >= known.trialAt
  }

  /** Since when it is down, on the monotonic clock; `undefined` = it is not. */
  downAt(id: NodeId): number | undefined {
    const known = this.#known.get(id)
    return known?.state === 'down' ? known.downAt : undefined
  }

  /** A live request goes to it. */
  asked(id: NodeId): void {
    const known = this.#known.get(id)
    if (known?.state === 'down') known.trialAt = this.#deps.clock.monotonic() + this.#tickMs
  }

  /** It answered a live request, whatever with. */
  answered(id: NodeId): void {
    const known = this.#known.get(id)
    if (known !== undefined && known.state !== 'up') this.#succeeded(id, known)
  }

  /**
   * Its connection failed under a live request.
   * @param sentAt  on the monotonic clock: requests that were lost together are one failure.
   */
  failed(id: NodeId, sentAt: number): void {
    const known = this.#known.get(id)
    if (known === undefined || sentAt < known.failedAt) return
    this.#failed(id, known)
  }

  /** It let a live request wait too long. That may be the request's own fault, so a probe looks. */
  suspected(id: NodeId): void {
    const known = this.#known.get(id)
    if (known !== undefined) known.probeAt = this.#deps.clock.monotonic()
  }

  #tick(): void {
    if (this.#isStopped) return
    const { clock, random, options, nodes, timers, onState } = this.#deps
    const now = clock.monotonic()
    const seen = new Set<NodeId>()
    for (const node of nodes()) {
      seen.add(node.id)
      let known = this.#known.get(node.id)
      if (known === undefined) {
        known = {
          state: 'up',
          failures: 0,
          successes: 0,
          failedAt: Number.NEGATIVE_INFINITY,
          downAt: Number.NEGATIVE_INFINITY,
          isRecovering: false,
          // Gateways that start together do not go on probing together.
          probeAt: now + random.float() * options.intervalMs,
          trialAt: 0,
          probe: undefined,
        }
        this.#known.set(node.id, known)
        onState?.(node.id, 'up')
      }
      // The nearest tick, or intervals would all be longer than asked for.
      if (known.probe === undefined && now >= known.probeAt - this.#tickMs / 2) this.#probe(node, known)
    }
    for (const [id, { probe }] of this.#known) {
      if (seen.has(id)) continue
      this.#known.delete(id)
      probe?.abort('the node is gone')
    }
    this.#cancelTick = timers.after(this.#tickMs, () => this.#tick())
  }

  #probe(node: Node, known: Known): void {
    const { connect, timers, options } = this.#deps
    let status = 0
    const end = (isGood: boolean) => {
      cancelTimeout()
      known.probe = undefined
      if (this.#isStopped || this.#known.get(node.id) !== known) return
      if (isGood) this.#succeeded(node.id, known)
      else this.#failed(node.id, known)
      // What failed or came back just now is looked at again soon.
      known.probeAt = this.#deps.clock.monotonic() + (known.state === 'up' ? options.intervalMs : this.#tickMs)
    }
    const cancelTimeout = timers.after(options.timeoutMs, () => known.probe?.abort('no answer to the probe'))
    known.probe = connect(node).send(
      { method: 'GET', path: '/health', headers: [], body: null },
      {
        onHead(sent) {
          status = sent
        },
        onData: () => true,
        onEnd: () => end(status === 200),
        onFailure: () => end(false),
      },
    )
  }

  #succeeded(id: NodeId, known: Known): void {
    known.failures = 0
    if (known.state === 'up') return
    known.successes += 1
    if (known.successes >= this.#deps.options.recoveryThreshold) this.#become(id, known, 'up')
    // It may be the only one that has a shard: it is asked again, after all others.
    else if (known.state === 'down') {
      this.#become(id, known, 'degraded')
      known.isRecovering = true
    }
  }

  #failed(id: NodeId, known: Known): void {
    const now = this.#deps.clock.monotonic()
    known.failedAt = now
    known.failures += 1
    known.successes = 0
    if (known.isRecovering || known.failures >= this.#deps.options.unhealthyThreshold) this.#become(id, known, 'down')
    else if (known.state === 'up') this.#become(id, known, 'degraded')
    known.probeAt = Math.min(known.probeAt, now + this.#tickMs)
  }

  #become(id: NodeId, known: Known, state: HealthState): void {
    if (known.state === state) return
    known.state = state
    known.isRecovering = false
    if (state === 'down') {
      known.downAt = this.#deps.clock.monotonic()
      known.trialAt = known.downAt + this.#tickMs
    }
    this.#deps.onState?.(id, state)
  }
}
