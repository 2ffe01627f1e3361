/**
 * One read of a client over the replicas of spread indexes (C-09, C-27): it is planned, its legs are asked, and when a leg is
 * lost that several other replicas could answer, it is planned anew without the nodes that failed and run again. A leg that
 * is slow where no single replica can help makes a second run, without the slow node, race the first. A run never mixes the
 * replicas of two plans, so that each shard is answered once (I3).
 */
import type { NodeId } from '../store/catalogue.ts'
import type { NodeRequest } from './connection-pool.ts'
import {
  type AgreedCover,
  type CoveringSet,
  coverInAgreement,
  type GroupRule,
  type Leg,
  type NodeView,
  type Replica,
} from './covering-set.ts'
import { type AskDeps, LegAsk, type LegFailure, type ReadAllowance, readAllowance } from './hedged-ask.ts'
import { holdsAll, type OtherReplicas, otherReplicas, without } from './other-replicas.ts'
import type { HeldReply, NodeLink, ReadOperation } from './read-attempt.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import { pauseBefore } from './retry.ts'

export interface ReplicaReadDeps extends AskDeps {
  readonly choice: Pick<ReplicaChoice, 'next' | 'rotation'>
}

export interface ReplicaReadOptions {
  /** By session or affinity: the group to read from. */
  readonly preferredGroup?: number | undefined
  /** Nothing may come from another group than the preferred one. */
  readonly isPinned?: boolean
  /** `undefined`: the node is gone. */
  readonly connect: (node: NodeId) => NodeLink | undefined
  readonly operation: ReadOperation
  /** On the monotonic clock. */
  readonly deadlineAt: number
  readonly answerBytesMax: number
  /** The client is gone. */
  readonly signal: AbortSignal
  /** Whether an answer below 500 may be used; another replica is asked otherwise. Default: all but 404 `index_not_found`. */
  readonly accepts?: (reply: HeldReply) => boolean
  /** The run can do without shards that nobody answers for: it is told of them instead of being given up. */
  readonly allowsGaps?: boolean
}

/** What a run reads with. */
export interface ReadRun {
  /**
   * Who answers for shards of one index. `isWhole` legs need no filter on whichever replica answers them. Waits a moment when
   * the last replica of a shard went down just now, as another may be about to come back.
   * @param replicas  the same list, in the same order, in every run.
   */
  plan<R extends Replica>(replicas: readonly R[], targets: readonly number[]): Promise<ReadPlan<R>>
}

export interface ReadPlan<R extends Replica> extends AgreedCover<R> {
  /** Asks one of its legs. Rejects with `LegLost`. */
  ask(leg: Leg<R>, request: (replica: R) => NodeRequest): Promise<HeldReply>
}

/** No replica answered for a leg. It must leave the run as it is. */
export class LegLost extends Error {
  override readonly name = 'LegLost'
  readonly failure: LegFailure
  readonly shards: readonly number[]
  /** Nodes that failed. */
  readonly asked: ReadonlySet<NodeId>
  readonly isDivisible: boolean

  constructor(failure: LegFailure, shards: readonly number[], asked: ReadonlySet<NodeId>, isDivisible: boolean) {
    super(failure.kind === 'refused' ? `refused: ${failure.type}` : `${failure.kind}: ${failure.reason}`)
    this.failure = failure
    this.shards = shards
    this.asked = asked
    this.isDivisible = isDivisible
  }
}

/** Runs after the first at most. */
const rerunsMax = 32
/** A node that comes back is noticed within this time: by the probe after one that ran into its time limit. */
const hopeMs = 4_000
const hopePollMs = 25
const noIndex = '"index_not_found"'

/**
 * Runs a read until it has an answer. `run` may be called several times, also while an earlier call is not over.
 *
 * Rejects with what the last run rejected with.
 */
export async function readReplicas<T>(
  run: (tools: ReadRun) => Promise<T>,
  options: ReplicaReadOptions,
  deps: ReplicaReadDeps,
): Promise<T> {
  return new ReplicaRead(run, options, deps).read()
}

/** One call of `run`. */
interface Running<T> {
  readonly answer: Promise<T>
  /** Of each of its plans: what another one would be with other nodes. */
  readonly replans: ((view: NodeView) => CoveringSet)[]
  readonly abort: (reason: unknown) => void
}

interface LegAbort {
  abort(reason: string): void
}

/** Of a run: its legs under way, why nobody wants it any more, and whom it tells of slow nodes. */
interface Surroundings {
  readonly open: Set<LegAbort>
  unwanted: string | undefined
  readonly onSlow: (node: NodeId) => void
}

/** Groups besides the chosen one that may answer (C-09). */
const fallbackGroupsMax = 2

/** How reads without a session choose a group. */
export function groupRule({
  options,
  choice,
}: {
  readonly options: Pick<ReplicaReadDeps['options'], 'hedging'>
  readonly choice: Pick<ReplicaChoice, 'rotation'>
}): GroupRule {
  return { fallbackGroupsMax: options.hedging.crossGroupFallback ? fallbackGroupsMax : 0, rotation: choice.rotation }
}

class ReplicaRead<T> {
  readonly #run: (tools: ReadRun) => Promise<T>
  readonly #options: ReplicaReadOptions
  readonly #deps: ReplicaReadDeps
  readonly #view: NodeView
  readonly #rule: GroupRule
  readonly #allowance: ReadAllowance

  constructor(run: (tools: ReadRun) => Promise<T>, options: ReplicaReadOptions, deps: ReplicaReadDeps) {
    this.#run = run
    this.#options = options
    this.#deps = deps
    this.#view = deps.choice.next()
    this.#rule = {
      ...groupRule(deps),
      preferred: options.preferredGroup,
      isPinned: options.isPinned ?? false,
    }
    this.#allowance = readAllowance(options.deadlineAt, deps)
  }

  async read(): Promise<T> {
    /** Nodes that failed: others are preferred. Of those in `gone`, nothing is hoped for any more. */
    const failed = new Set<NodeId>()
    const gone = new Set<NodeId>()
    let failedAt: number | undefined
    for (let rerun = 0; ; rerun += 1) {
      try {
        return await this.#race(without(asLastResort(this.#view, failed), gone, false))
      } catch (error) {
        if (!(error instanceof LegLost) || !this.#mayRunAgain(error, rerun)) throw error
        const known = error.isDivisible ? failed : gone
        const isNews = [...error.asked].some((node) => !known.has(node))
        failedAt ??= this.#deps.clock.monotonic()
        // A run without news would end the same way, unless it waits for a node to start anew.
        if (!isNews && !(await this.#pause(error, rerun, failedAt))) throw error
        for (const node of error.asked) known.add(node)
        this.#deps.onRetry?.()
      }
    }
  }

  #mayRunAgain({ isDivisible }: LegLost, rerun: number): boolean {
    const { signal, allowsGaps, deadlineAt } = this.#options
    if (signal.aborted || rerun >= rerunsMax || this.#deps.clock.monotonic() >= deadlineAt) return false
    return isDivisible || allowsGaps === true
  }

  /** @returns whether there was time for it, and reason to. */
  async #pause({ failure, isDivisible }: LegLost, rerun: number, failedAt: number): Promise<boolean> {
    const { clock, timers } = this.#deps
    if (!isDivisible || (failure.kind !== 'unreachable' && failure.kind !== 'lost')) return false
    const pauseMs = pauseBefore(rerun, clock.monotonic() - failedAt)
    if (pauseMs === undefined) return false
    await new Promise<void>((resolve) => void timers.after(pauseMs, resolve))
    return !this.#options.signal.aborted
  }

  /** One run, and at most one beside it. */
  #race(view: NodeView): Promise<T> {
    return new Promise((resolve, reject) => {
      const { clock, scores, onHedge } = this.#deps
      const open = new Set<Running<T>>()
      let failure: unknown
      let slow: NodeId | undefined
      const begin = (isMain: boolean, seen: NodeView, onSlow: (node: NodeId) => void): Running<T> => {
        const running = this.#begin(seen, onSlow)
        open.add(running)
        running.answer.then(
          (value) => {
            open.delete(running)
            for (const slower of open) slower.abort('another run was faster')
            if (slow !== undefined) {
              const tookMs = clock.monotonic() - this.#allowance.startedAt
              if (isMain) onHedge?.('loser', 0)
              else onHedge?.('winner', Math.max(0, scores.usualMs(slow) - tookMs))
            }
            resolve(value)
          },
          (error: unknown) => {
            open.delete(running)
            if (isMain) failure = error
            if (open.size === 0) reject(failure)
          },
        )
        return running
      }
      const main = begin(true, view, (node) => {
        const around = without(view, new Set([node]), true)
        // One beside it is enough, and none is needed when it has ended.
        if (slow !== undefined || !open.has(main) || !this.#mayRace(main, around)) return
        slow = node
        begin(false, around, () => undefined)
      })
    })
  }

  /** Whether there is a plan around the slow node, and enough is left of the allowance for all its legs. */
  #mayRace({ replans }: Running<T>, around: NodeView): boolean {
    const { budget, onHedgeExhausted } = this.#deps
    const plans = replans.map((replan) => replan(around))
    const legCount = plans.reduce((sum, { legs }) => sum + legs.length, 0)
    if (legCount > this.#allowance.hedgesLeft || plans.some(({ missing }) => missing.length > 0)) return false
    if (!budget.take(legCount)) {
      onHedgeExhausted?.()
      return false
    }
    this.#allowance.hedgesLeft = 0
    return true
  }

  #begin(view: NodeView, onSlow: (node: NodeId) => void): Running<T> {
    const { signal: client } = this.#options
    const around: Surroundings = { open: new Set(), unwanted: undefined, onSlow }
    const abort = (reason: unknown) => {
      around.unwanted = String(reason)
      for (const leg of [...around.open]) leg.abort(around.unwanted)
    }
    // One for all legs: each listener costs as much as half a leg.
    const onClientGone = () => abort(client.reason)
    if (client.aborted) onClientGone()
    else client.addEventListener('abort', onClientGone, { once: true })
    const replans: Running<T>['replans'] = []
    const answer = this.#run({
      plan: async (replicas, targets) => {
        const cover = (other: NodeView) => coverInAgreement(replicas, targets, other, this.#rule)
        replans.push(cover)
        const first = cover(view)
        const isWhole = first.missing.length === 0
        const chosen = isWhole ? first : await this.#waitFor(replicas, first, () => cover(view), around)
        const { group, legs, missing, isMixed, replicas: able } = chosen
        const all = otherReplicas(replicas, view, this.#rule)
        // A plan made anew may fall back on replicas that do not agree; one that goes on does not.
        const others = able === replicas ? all : { ...otherReplicas(able, view, this.#rule), several: all.several }
        return {
          group,
          missing,
          isMixed,
          replicas: able,
          legs: legs.map((leg) => (leg.isWhole && !isWholeAnywhere(leg, able) ? { ...leg, isWhole: false } : leg)),
          ask: (leg, request) => this.#ask(leg, others, request, around),
        }
      },
    }).finally(() => {
      client.removeEventListener('abort', onClientGone)
      // What it gave up waiting for is not wanted any more.
      for (const leg of [...around.open]) leg.abort('the run is over')
    })
    return { answer, replans, abort }
  }

  /** Covers again and again for a short time after the last replica of a shard went down. */
  async #waitFor<R extends Replica>(
    replicas: readonly R[],
    first: AgreedCover<R>,
    cover: () => AgreedCover<R>,
    around: Surroundings,
  ): Promise<AgreedCover<R>> {
    const { clock, timers, health } = this.#deps
    let found = first
    while (found.missing.length > 0 && around.unwanted === undefined) {
      const { missing } = found
      const lost = replicas.filter(({ shards }) => missing.some((shard) => shards.includes(shard)))
      const lostAt = Math.max(...lost.map(({ node }) => health.downAt(node) ?? Number.NEGATIVE_INFINITY))
      if (clock.monotonic() >= Math.min(lostAt + hopeMs, this.#options.deadlineAt)) break
      await new Promise<void>((resolve) => void timers.after(hopePollMs, resolve))
      found = cover()
    }
    return found
  }

  #ask<R extends Replica>(
    leg: Leg<R>,
    others: OtherReplicas<R>,
    request: (replica: R) => NodeRequest,
    around: Surroundings,
  ): Promise<HeldReply> {
    const { connect, operation, answerBytesMax, accepts = knowsIndex } = this.#options
    return new Promise((resolve, reject) => {
      const asking = new LegAsk(
        {
          leg,
          others,
          request,
          connect,
          operation,
          answerBytesMax,
          accepts,
          allowance: this.#allowance,
          onSlow: () => around.onSlow(leg.replica.node),
        },
        this.#deps,
        (end) => {
          around.open.delete(asking)
          if (end.kind === 'answered') resolve(end.reply)
          else reject(new LegLost(end.failure, leg.shards, end.asked, end.isDivisible))
        },
      )
      if (around.unwanted !== undefined) {
        asking.abort(around.unwanted)
        return
      }
      around.open.add(asking)
      asking.start()
    })
  }
}

const failedFactor = 1_000

/** The view of a read in which some nodes have failed. */
function asLastResort(view: NodeView, failed: ReadonlySet<NodeId>): NodeView {
  if (failed.size === 0) return view
  return {
    turn: view.turn,
    // After those that are down as well: they may have come back.
    cost: (node) => view.cost(node) * (failed.has(node) ? failedFactor : 1),
    standing(node) {
      const standing = view.standing(node)
      return standing !== undefined && failed.has(node) ? 'trial' : standing
    },
  }
}

/** Whoever may take the leg over holds nothing else either. */
export function isWholeAnywhere<R extends Replica>({ shards }: Leg<R>, replicas: readonly R[]): boolean {
  const isWhole = (replica: R) => replica.shards.length === shards.length && !replica.holdsMore
  return replicas.every((replica) => isWhole(replica) || !holdsAll(replica, shards))
}

/** The route table shows the index: a node without it is behind or wiped (P-21). */
function knowsIndex({ status, body }: HeldReply): boolean {
  return status !== 404 || !body.includes(noIndex)
}
