/**
 * Asks one leg of a read, and gets over nodes that fail or are slow (C-08, C-27).
 *
 * The leg's replica is asked first. When it takes longer than usual, another replica that holds all of the leg's shards is
 * asked as well, and the first answer wins. When whoever was asked has failed, the next such replica is; when there is none,
 * all may be asked again after a pause. One answer comes of it, so that no shard is answered twice (I3). Reads only: every
 * request may be sent twice.
 */
import type { Config } from '../config/config.ts'
import type { NodeId } from '../store/catalogue.ts'
import type { NodeRequest } from './connection-pool.ts'
import type { Leg, Replica } from './covering-set.ts'
import type { HedgeBudget } from './hedge-budget.ts'
import type { OtherReplicas } from './other-replicas.ts'
import {
  type AttemptDeps,
  type AttemptEnd,
  type HeldReply,
  type NodeLink,
  ReadAttempt,
  type ReadOperation,
} from './read-attempt.ts'
import type { ReplicaScores } from './replica-scores.ts'
import { pauseBefore } from './retry.ts'

export interface AskDeps extends AttemptDeps {
  readonly options: Pick<Config['cluster'], 'hedging' | 'scatter'>
  readonly scores: AttemptDeps['scores'] & Pick<ReplicaScores, 'usualMs'>
  /** One for all reads of the process. */
  readonly budget: HedgeBudget
  readonly onRetry?: () => void
  /** `savedMs`: by how much the winner beat what the first node usually takes; 0 for a loser. */
  readonly onHedge?: (outcome: 'winner' | 'loser', savedMs: number) => void
  /** A hedge was due and the process had sent its part of them. */
  readonly onHedgeExhausted?: () => void
}

/** What all legs of one request of a client may use together. */
export interface ReadAllowance {
  /** On the monotonic clock. */
  readonly startedAt: number
  readonly deadlineAt: number
  hedgesLeft: number
  attemptsLeft: number
}

/** Requests for one request of a client at most: a bound behind all others. */
const attemptsMax = 1_000
const busyRetriesMax = 2
/** For a busy node that does not say when to come back. */
const busyPauseMs = 200

export function readAllowance(deadlineAt: number, { clock, options }: AskDeps): ReadAllowance {
  const { enabled, maxHedgesPerQuery } = options.hedging
  return {
    startedAt: clock.monotonic(),
    deadlineAt,
    hedgesLeft: enabled ? maxHedgesPerQuery : 0,
    attemptsLeft: attemptsMax,
  }
}

export interface LegToAsk<R extends Replica> {
  readonly leg: Leg<R>
  readonly others: OtherReplicas<R>
  /** Its path carries the index's name on that node. */
  readonly request: (replica: R) => NodeRequest
  /** `undefined`: the node is gone. */
  readonly connect: (node: NodeId) => NodeLink | undefined
  readonly operation: ReadOperation
  readonly allowance: ReadAllowance
  readonly answerBytesMax: number
  /** Whether an answer below 500 may be used. A replica that does not know the index is no good one. */
  readonly accepts: (reply: HeldReply) => boolean
  /** It takes longer than usual, and no single replica can help. */
  readonly onSlow: () => void
}

/** Why a leg has no answer. */
export type LegFailure = Exclude<AttemptEnd, { readonly kind: 'answered' }>

export type LegEnd<R extends Replica> =
  | {
      readonly kind: 'answered'
      readonly reply: HeldReply
      /** Who answered. */
      readonly replica: R
      readonly isHedge: boolean
    }
  | {
      readonly kind: 'lost'
      /** What the last of them met. */
      readonly failure: LegFailure
      readonly asked: ReadonlySet<NodeId>
      /** Several other replicas hold its shards together: a new plan would do. */
      readonly isDivisible: boolean
    }

export class LegAsk<R extends Replica> {
  readonly #ask: LegToAsk<R>
  readonly #deps: AskDeps
  readonly #resolve: (end: LegEnd<R>) => void
  readonly #startedAt: number
  /** Nodes that need not be asked again, until all of them were. */
  #asked = new Set<NodeId>()
  /** Rises each time that all replicas were asked. */
  #round = 1
  readonly #open = new Map<ReadAttempt, NodeId>()
  /** Nodes that let us wait too long: they would do so again. */
  readonly #late = new Set<NodeId>()
  /** Nodes to which the way broke off: they may answer now. */
  readonly #broken = new Set<NodeId>()
  /** When all of them had failed for the first time. */
  #exhaustedAt: number | undefined
  #busyRetriesLeft = busyRetriesMax
  #isHedged = false
  #cancelPause: (() => void) | undefined
  #isOver = false

  /** @param resolve  called once, perhaps before `start` returns. */
  constructor(ask: LegToAsk<R>, deps: AskDeps, resolve: (end: LegEnd<R>) => void) {
    this.#ask = ask
    this.#deps = deps
    this.#resolve = resolve
    this.#startedAt = deps.clock.monotonic()
  }

  start(): void {
    this.#send(this.#ask.leg.replica, false)
  }

  /** Ends everything that was sent for it: the client is gone, or another run was faster. */
  abort(reason: string): void {
    if (!this.#isOver) this.#giveUp({ kind: 'aborted', reason }, false)
  }

  #send(replica: R, isHedge: boolean): void {
    const { connect, request, operation, answerBytesMax, allowance, accepts } = this.#ask
    const { node } = replica
    this.#asked.add(node)
    allowance.attemptsLeft -= 1
    if (!isHedge) this.#deps.budget.earn()
    const attempt = new ReadAttempt(
      this.#deps,
      {
        node,
        connection: connect(node),
        request: request(replica),
        operation,
        answerBytesMax,
        timeoutMs: Math.max(1, Math.min(this.#deps.options.scatter.nodeTimeoutMs, this.#leftMs)),
        slowAfterMs: isHedge ? undefined : this.#triggerMs(node),
        accepts,
      },
      () => this.#hedge(),
      (end) => {
        this.#open.delete(attempt)
        if (end.kind === 'timed-out') this.#late.add(node)
        if (end.kind === 'lost' || end.kind === 'unreachable') this.#broken.add(node)
        if (end.kind === 'answered') this.#win(replica, end.reply, isHedge)
        // Another may still answer.
        else if (this.#open.size === 0) this.#retry(end)
      },
    )
    this.#open.set(attempt, node)
    attempt.send()
  }

  get #leftMs(): number {
    return this.#ask.allowance.deadlineAt - this.#deps.clock.monotonic()
  }

  /** After how long another replica is asked as well; `undefined` = never. */
  #triggerMs(node: NodeId): number | undefined {
    if (this.#ask.allowance.hedgesLeft === 0) return undefined
    const { p95TriggerMultiplier, minTriggerMs } = this.#deps.options.hedging
    return Math.max(minTriggerMs, p95TriggerMultiplier * this.#deps.scores.usualMs(node))
  }

  #hedge(): void {
    const { leg, others, allowance, onSlow } = this.#ask
    if (this.#isOver || allowance.hedgesLeft === 0) return
    const awaited = new Set([...this.#late, ...this.#open.values()])
    const isLeft = (node: NodeId) => !this.#broken.has(node) || awaited.has(node)
    const replica =
      others.one(leg, this.#asked, 'hedge') ?? others.one(leg, new Set([...this.#asked].filter(isLeft)), 'hedge')
    if (replica === undefined) {
      onSlow()
      return
    }
    if (!this.#deps.budget.take(1)) {
      this.#deps.onHedgeExhausted?.()
      return
    }
    allowance.hedgesLeft -= 1
    this.#isHedged = true
    this.#send(replica, true)
  }

  #win(replica: R, reply: HeldReply, isHedge: boolean): void {
    if (this.#isHedged) {
      const { scores, clock, onHedge } = this.#deps
      const usualMs = scores.usualMs(this.#ask.leg.replica.node)
      const savedMs = Math.max(0, usualMs - (clock.monotonic() - this.#startedAt))
      onHedge?.(isHedge ? 'winner' : 'loser', isHedge ? savedMs : 0)
    }
    this.#end({ kind: 'answered', replica, reply, isHedge })
  }

  /** Whoever was asked has failed. */
  #retry(failure: LegFailure): void {
    const { leg, others, allowance } = this.#ask
    const mayGoOn = this.#leftMs > 0 && allowance.attemptsLeft > 0 && this.#mayRetry(failure)
    const next = mayGoOn ? others.one(leg, this.#asked, 'retry') : undefined
    if (next !== undefined) {
      this.#deps.onRetry?.()
      this.#send(next, false)
      return
    }
    const isDivisible = mayGoOn && others.several(leg, this.#asked)
    const isAwaited = mayGoOn && !isDivisible && others.isAwaited(leg, this.#asked)
    const pauseMs = mayGoOn && !isDivisible ? this.#pauseMs(failure, isAwaited) : undefined
    if (pauseMs === undefined || pauseMs >= this.#leftMs) {
      this.#giveUp(failure, isDivisible)
      return
    }
    this.#cancelPause = this.#deps.timers.after(pauseMs, () => {
      // A node that starts anew, or was busy, may answer now.
      this.#asked = new Set(this.#late)
      this.#round += 1
      this.#retry(failure)
    })
  }

  #mayRetry({ kind }: LegFailure): boolean {
    if (kind === 'timed-out') return this.#deps.options.scatter.retryOnTimeout
    return kind !== 'aborted'
  }

  /** Before all replicas may be asked again; `undefined` = they need not be. */
  #pauseMs(failure: LegFailure, isAwaited: boolean): number | undefined {
    const now = this.#deps.clock.monotonic()
    this.#exhaustedAt ??= now
    const isBroken = [...this.#broken].some((node) => !this.#late.has(node))
    if (isAwaited || isBroken) {
      return pauseBefore(this.#round, now - this.#exhaustedAt)
    }
    if (failure.kind !== 'refused' || failure.type !== 'busy' || this.#busyRetriesLeft === 0) return undefined
    this.#busyRetriesLeft -= 1
    return failure.reply.retryAfterMs ?? busyPauseMs
  }

  #giveUp(failure: LegFailure, isDivisible: boolean): void {
    if (this.#isHedged) this.#deps.onHedge?.('loser', 0)
    this.#end({ kind: 'lost', failure, asked: this.#asked, isDivisible })
  }

  #end(end: LegEnd<R>): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelPause?.()
    for (const attempt of this.#open.keys()) attempt.abandon('it is not needed any more')
    this.#resolve(end)
  }
}
