/**
 * Asks the legs of one read, all at once, and gets over nodes that fail or are slow (C-08, C-09, C-27).
 *
 * Each leg's shards have one asker. It asks the leg's replica; when that takes longer than usual, it asks other replicas for
 * the same shards as well, and the first side to answer wins. When all sides have failed, it divides the shards among
 * replicas that were not asked yet, with an asker for each part; when there are none, it waits a little and begins again.
 * So each shard is answered once, or said to be missing (I3). Reads only: every request may be sent twice.
 */
import type { Config } from '../config/config.ts'
import { assert } from '../lib/assert.ts'
import type { NodeId } from '../store/catalogue.ts'
import type { NodeRequest } from './connection-pool.ts'
import type { Leg, Replica } from './covering-set.ts'
import type { HedgeBudget } from './hedge-budget.ts'
import type { Alternatives } from './other-replicas.ts'
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

export interface ReadToAsk<R extends Replica> {
  readonly legs: readonly Leg<R>[]
  /** The request for a leg: its index's name, and its shards unless it is whole. */
  readonly request: (leg: Leg<R>) => NodeRequest
  /** `undefined`: the node is gone. */
  readonly connect: (node: NodeId) => NodeLink | undefined
  /** Who else may answer for a leg: see `otherReplicas`. */
  readonly alternatives: Alternatives<R>
  readonly operation: ReadOperation
  /** On the monotonic clock. */
  readonly deadlineAt: number
  readonly answerBytesMax: number
  /** Ends everything: the client is gone. */
  readonly signal: AbortSignal
  /** Whether an answer below 500 may be used. Default: all. A replica that does not know the index is no good one. */
  readonly accepts?: (reply: HeldReply) => boolean
}

export interface LegAnswer<R extends Replica> {
  /** Not always one of the plan's: of the replica that answered, with the shards that it answered for. */
  readonly leg: Leg<R>
  readonly reply: HeldReply
  readonly tookMs: number
  readonly isHedge: boolean
}

/** Why shards have no answer. */
export type LegFailure = Exclude<AttemptEnd, { readonly kind: 'answered' }>

export interface Asked<R extends Replica> {
  /** No shard twice. */
  readonly answers: readonly LegAnswer<R>[]
  /** The rest of the plan's shards, with what the last replica met. */
  readonly missing: readonly { readonly shards: readonly number[]; readonly failure: LegFailure }[]
}

/** Requests for one read at most, for each leg of its plan: a bound behind all others. */
const attemptsPerLegMax = 24
const busyRetriesMax = 2
/** For a busy node that does not say when to come back. */
const busyPauseMs = 200
const takesAll = () => true

/** Never rejects, and resolves when all legs have ended. */
export function askLegs<R extends Replica>(read: ReadToAsk<R>, deps: AskDeps): Promise<Asked<R>> {
  return new Promise((resolve) => new Asking(read, deps, resolve).start())
}

class Asking<R extends Replica> {
  readonly read: ReadToAsk<R>
  readonly deps: AskDeps
  readonly startedAt: number
  hedgesLeft: number
  attemptsLeft: number
  busyRetriesLeft = busyRetriesMax
  readonly #resolve: (asked: Asked<R>) => void
  readonly #answers: LegAnswer<R>[] = []
  readonly #missing: { shards: readonly number[]; failure: LegFailure }[] = []
  readonly #open = new Set<ShardAsker<R>>()
  readonly #onAbort = () => this.#abort()

  constructor(read: ReadToAsk<R>, deps: AskDeps, resolve: (asked: Asked<R>) => void) {
    this.read = read
    this.deps = deps
    this.startedAt = deps.clock.monotonic()
    const { hedging } = deps.options
    this.hedgesLeft = hedging.enabled ? hedging.maxHedgesPerQuery : 0
    this.attemptsLeft = attemptsPerLegMax * read.legs.length
    this.#resolve = resolve
  }

  start(): void {
    const { legs, signal } = this.read
    if (signal.aborted) {
      for (const { shards } of legs) this.#missing.push({ shards, failure: this.abortion })
      this.#end()
      return
    }
    signal.addEventListener('abort', this.#onAbort, { once: true })
    const askers = legs.map((leg) => this.open(leg, new Set(), 1))
    for (const asker of askers) asker.start()
    if (askers.length === 0) this.#end()
  }

  get abortion(): LegFailure {
    return { kind: 'aborted', reason: String(this.read.signal.reason) }
  }

  /** An asker that is to be started when all its siblings are there. */
  open(leg: Leg<R>, asked: Set<NodeId>, round: number): ShardAsker<R> {
    const asker = new ShardAsker(this, leg, asked, round)
    this.#open.add(asker)
    return asker
  }

  close(asker: ShardAsker<R>, answers: readonly LegAnswer<R>[]): void {
    this.#answers.push(...answers)
    this.#open.delete(asker)
    if (this.#open.size === 0) this.#end()
  }

  miss(shards: readonly number[], failure: LegFailure): void {
    this.#missing.push({ shards, failure })
  }

  #abort(): void {
    for (const asker of [...this.#open]) asker.abort()
  }

  #end(): void {
    this.read.signal.removeEventListener('abort', this.#onAbort)
    this.#resolve({ answers: this.#answers, missing: this.#missing })
  }
}

/** Requests that together answer for an asker's shards. */
interface Side<R extends Replica> {
  readonly isHedge: boolean
  readonly attempts: ReadAttempt[]
  readonly answers: LegAnswer<R>[]
  /** Requests without an answer yet. */
  openCount: number
  failure: LegFailure | undefined
}

class ShardAsker<R extends Replica> {
  readonly #asking: Asking<R>
  readonly #leg: Leg<R>
  /** Nodes that need not be asked for these shards again. */
  readonly #asked: Set<NodeId>
  /** Rises each time that all replicas were asked. */
  readonly #round: number
  readonly #sides: Side<R>[] = []
  readonly #startedAt: number
  /** Shards without an answer: those of the leg, or what is left of them for another round. */
  #waiting: readonly number[]
  #cancelPause: (() => void) | undefined
  #isOver = false

  constructor(asking: Asking<R>, leg: Leg<R>, asked: Set<NodeId>, round: number) {
    this.#asking = asking
    this.#leg = leg
    this.#waiting = leg.shards
    this.#asked = asked
    this.#round = round
    this.#startedAt = asking.deps.clock.monotonic()
  }

  start(): void {
    if (this.#isOver) return
    this.#asking.deps.budget.earn()
    this.#sendSide([this.#leg], false)
  }

  abort(): void {
    if (this.#isOver) return
    this.#cancelPause?.()
    for (const side of this.#sides) abandon(side, 'the client is gone')
    this.#giveUp(this.#waiting, this.#asking.abortion)
  }

  #sendSide(legs: readonly Leg<R>[], isHedge: boolean): void {
    const { read, deps } = this.#asking
    const side: Side<R> = { isHedge, attempts: [], answers: [], openCount: legs.length, failure: undefined }
    this.#sides.push(side)
    for (const leg of legs) {
      const { node } = leg.replica
      this.#asked.add(node)
      this.#asking.attemptsLeft -= 1
      const options = {
        node,
        connection: read.connect(node),
        request: read.request(leg),
        operation: read.operation,
        answerBytesMax: read.answerBytesMax,
        timeoutMs: Math.max(1, Math.min(deps.options.scatter.nodeTimeoutMs, this.#leftMs)),
        slowAfterMs: isHedge ? undefined : this.#triggerMs(node),
        accepts: read.accepts ?? takesAll,
      }
      const onEnd = (end: AttemptEnd) => this.#ended(side, leg, end)
      side.attempts.push(new ReadAttempt(deps, options, () => this.#hedge(), onEnd))
    }
    // One of them may end at once, and the others with it.
    for (const attempt of side.attempts) attempt.send()
  }

  get #leftMs(): number {
    return this.#asking.read.deadlineAt - this.#asking.deps.clock.monotonic()
  }

  /** After how long another replica is asked as well; `undefined` = never. */
  #triggerMs(node: NodeId): number | undefined {
    const { deps, hedgesLeft } = this.#asking
    if (hedgesLeft === 0) return undefined
    const { p95TriggerMultiplier, minTriggerMs } = deps.options.hedging
    return Math.max(minTriggerMs, p95TriggerMultiplier * deps.scores.usualMs(node))
  }

  #hedge(): void {
    const { read, deps, hedgesLeft } = this.#asking
    if (this.#isOver) return
    const { legs, missing } = read.alternatives(this.#leg, this.#leg.shards, this.#asked, 'hedge')
    if (legs.length === 0 || missing.length > 0 || legs.length > hedgesLeft) return
    if (!deps.budget.take(legs.length)) {
      deps.onHedgeExhausted?.()
      return
    }
    this.#asking.hedgesLeft -= legs.length
    this.#sendSide(legs, true)
  }

  #ended(side: Side<R>, leg: Leg<R>, end: AttemptEnd): void {
    if (this.#isOver || side.failure !== undefined) return
    if (end.kind === 'answered') {
      side.answers.push({ leg, reply: end.reply, tookMs: end.tookMs, isHedge: side.isHedge })
      side.openCount -= 1
      if (side.openCount === 0) this.#win(side)
      return
    }
    side.failure = end
    abandon(side, 'another part of it failed')
    // The other side may still answer.
    if (this.#sides.some(({ failure }) => failure === undefined)) return
    this.#tellHedge(undefined)
    this.#retry(end)
  }

  #win(winner: Side<R>): void {
    for (const side of this.#sides) if (side !== winner) abandon(side, 'another replica was faster')
    this.#tellHedge(winner)
    this.#close(winner.answers)
  }

  #tellHedge(winner: Side<R> | undefined): void {
    const { deps } = this.#asking
    if (this.#sides.length < 2) return
    const tookMs = deps.clock.monotonic() - this.#startedAt
    if (winner?.isHedge) deps.onHedge?.('winner', Math.max(0, deps.scores.usualMs(this.#leg.replica.node) - tookMs))
    else deps.onHedge?.('loser', 0)
  }

  /** All who were asked have failed: others take the shards, each its part. */
  #retry(failure: LegFailure): void {
    const { shards } = this.#leg
    const isOutOfTime = this.#leftMs <= 0 || this.#asking.attemptsLeft <= 0
    if (isOutOfTime || !this.#mayRetry(failure)) this.#giveUp(shards, failure)
    else this.#divide(shards, this.#asked, failure, this.#round)
  }

  #mayRetry({ kind }: LegFailure): boolean {
    if (kind === 'timed-out') return this.#asking.deps.options.scatter.retryOnTimeout
    return kind !== 'aborted'
  }

  /** Hands shards over to other askers; what nobody else has waits for another round. */
  #divide(shards: readonly number[], asked: ReadonlySet<NodeId>, failure: LegFailure, round: number): void {
    const { read, deps } = this.#asking
    const { legs, missing } = read.alternatives(this.#leg, shards, asked, 'retry')
    const askers = legs.map((leg) => this.#asking.open(leg, new Set(asked), round))
    if (missing.length > 0) this.#pause(missing, failure, round)
    else this.#close([])
    for (const asker of askers) {
      deps.onRetry?.()
      asker.start()
    }
  }

  /** Then all replicas may be asked again: a node that starts anew, or was busy, answers now. */
  #pause(shards: readonly number[], failure: LegFailure, round: number): void {
    const pauseMs = this.#pauseMs(failure, round)
    if (pauseMs === undefined || pauseMs >= this.#leftMs) {
      this.#giveUp(shards, failure)
      return
    }
    this.#waiting = shards
    this.#cancelPause = this.#asking.deps.timers.after(pauseMs, () => {
      this.#divide(shards, new Set(), failure, round + 1)
    })
  }

  #pauseMs(failure: LegFailure, round: number): number | undefined {
    const { deps, startedAt } = this.#asking
    if (failure.kind === 'unreachable' || failure.kind === 'lost') {
      return pauseBefore(round, deps.clock.monotonic() - startedAt)
    }
    if (failure.kind !== 'refused' || failure.type !== 'busy' || this.#asking.busyRetriesLeft === 0) return undefined
    this.#asking.busyRetriesLeft -= 1
    return failure.reply.retryAfterMs ?? busyPauseMs
  }

  #giveUp(shards: readonly number[], failure: LegFailure): void {
    this.#asking.miss(shards, failure)
    this.#close([])
  }

  #close(answers: readonly LegAnswer<R>[]): void {
    assert(!this.#isOver, 'shards were answered twice')
    this.#isOver = true
    this.#asking.close(this, answers)
  }
}

function abandon<R extends Replica>(side: Side<R>, reason: string): void {
  for (const attempt of side.attempts) attempt.abandon(reason)
}
