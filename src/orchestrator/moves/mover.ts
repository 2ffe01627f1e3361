/** Carries out moves: takes the leases of open ones, and drives each through its steps until it ends. */

import { isWithin } from '../../lib/daily-window.ts'
import { manyWaiting } from '../../replication/deadline.ts'
import type { Move, MoveProgress, Moves } from '../../store/moves.ts'
import { isEnded, type MoveEvent, stepAfter } from '../../topology/move-steps.ts'
import { type MoveLimits, moveLimitsDefault } from '../../topology/move-turns.ts'
import { reshardActs } from '../reshard/reshard-acts.ts'
import { changedProgress, type MoveDeps, MoveFailure, type StepContext } from './move-context.ts'
import { acts, pauseOf } from './step-acts.ts'

export interface MoverDeps extends MoveDeps {
  readonly worker: string
  readonly moves: Moves
  /** How long a move is left to a worker that shows no sign of life. Default 5 s. */
  readonly leaseMs?: number
  /** Default `moveLimitsDefault`. */
  readonly limits?: MoveLimits
  /** Times of day in which moves begin to copy that do not say it themselves; none = always. Default none. */
  readonly windows?: readonly string[]
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
}

export interface Mover {
  /** Moves stay where they are; another worker continues them at once. */
  stop(): Promise<void>
}

const leaseMsDefault = 5_000
const lookMs = 500
/** While it drives moves: what operators want of them is done within a second. */
const wishLookMs = 200
/** Moves that one worker drives at once. Most of them wait, for their turn or for the end of the time in which they can be undone. */
const openMax = 256
const retryMs = 1_000
const retryMsMax = 15_000
/** Progress is written this often at most; a step's end always is. */
const saveMs = 500

interface Driven {
  move: Move
  readonly over: AbortController
  readonly ended: Promise<void>
}

export function startMover(deps: MoverDeps): Mover {
  const { moves, worker, clock, log, leaseMs = leaseMsDefault } = deps
  const stopping = new AbortController()
  const driven = new Map<string, Driven>()
  let heldUntil = Number.POSITIVE_INFINITY
  const look = async () => {
    const held = new Map((await moves.claim(worker, leaseMs, openMax)).map((move) => [move.id, move]))
    heldUntil = clock.monotonic() + leaseMs
    for (const [id, running] of driven) {
      const move = held.get(id)
      if (move === undefined) running.over.abort(new Error('another worker has the move'))
      else running.move = { ...running.move, wish: move.wish, isPaused: move.isPaused }
    }
    for (const [id, move] of held) {
      if (driven.has(id) || stopping.signal.aborted) continue
      const over = manyWaiting()
      const drive = new Drive(deps, move, () => driven.get(id)?.move ?? move, over.signal)
      driven.set(id, { move, over, ended: drive.run().finally(() => driven.delete(id)) })
    }
  }
  const giveUpAll = (reason: string) => {
    for (const { over } of driven.values()) over.abort(new Error(reason))
  }
  const run = async () => {
    while (!stopping.signal.aborted) {
      await look().catch((error) => {
        log.warn({ err: error }, 'open moves were not looked for')
        // Another worker may have them by now.
        if (clock.monotonic() >= heldUntil) giveUpAll('the leases of moves expired')
      })
      const pauseMs = Math.min(driven.size > 0 ? wishLookMs : lookMs, leaseMs / 3)
      await clock.sleep(pauseMs, stopping.signal).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async stop() {
      stopping.abort(new Error('the mover stops'))
      giveUpAll('the mover stops')
      await running
      await Promise.all([...driven.values()].map(({ ended }) => ended))
      await moves.release(worker).catch((error) => log.warn({ err: error }, 'the leases of moves expire'))
    },
  }
}

/** One move, as long as its lease is ours. */
class Drive {
  readonly #deps: MoverDeps
  readonly #latest: () => Pick<Move, 'wish' | 'isPaused'>
  readonly #signal: AbortSignal
  #move: Move
  #savedAt = Number.NEGATIVE_INFINITY

  constructor(deps: MoverDeps, move: Move, latest: () => Pick<Move, 'wish' | 'isPaused'>, signal: AbortSignal) {
    this.#deps = deps
    this.#move = move
    this.#latest = latest
    this.#signal = signal
  }

  async run(): Promise<void> {
    const { clock, log } = this.#deps
    let waitedSince = clock.monotonic()
    for (let failures = 0; !this.#signal.aborted && !isEnded(this.#move.step); ) {
      const { wish, isPaused } = this.#latest()
      this.#move = { ...this.#move, wish, isPaused }
      try {
        if (isPaused && this.#move.wish === null) {
          await clock.sleep(lookMs, this.#signal)
          continue
        }
        const event = await this.#act()
        failures = 0
        if (event === undefined) {
          await clock.sleep(pauseOf(this.#move.step, clock.monotonic() - waitedSince), this.#signal)
          continue
        }
        if (!(await this.#follow(event))) return
        waitedSince = clock.monotonic()
      } catch (error) {
        if (this.#signal.aborted) return
        if (error instanceof LeaseGone) return
        if (error instanceof Paused) continue
        failures += 1
        const failure = error instanceof Error ? error.message : String(error)
        log.warn({ move: this.#move.id, step: this.#move.step, err: error }, 'a step of a move is tried again')
        await this.#save({ ...this.#move, failure }).catch(() => undefined)
        await clock.sleep(Math.min(retryMsMax, retryMs * 2 ** (failures - 1)), this.#signal).catch(() => undefined)
      }
    }
  }

  async #act(): Promise<MoveEvent | undefined> {
    const { wish, step, index } = this.#move
    if (wish !== null && stepAfter(step, wish) !== undefined) return wish
    if (step === 'keeping_back' && this.#deps.clock.now() < (this.#move.progress.keepUntil ?? 0)) return undefined
    const standing = await this.#deps.replicas.standing(index)
    // With its index the move is over: whatever lay on nodes goes with it.
    if (standing === undefined) return this.#end('the index was deleted')
    const act = (this.#move.kind === 'reshard' ? reshardActs : acts)[step]
    if (act === undefined) return undefined
    const context = this.#context()
    try {
      return await act(context, standing)
    } catch (error) {
      if (!(error instanceof MoveFailure) || stepAfter(step, 'failed') === undefined) throw error
      this.#move = { ...this.#move, failure: error.message }
      return 'failed'
    }
  }

  async #end(failure: string): Promise<undefined> {
    if (!(await this.#save({ ...this.#move, step: 'failed', failure }))) throw new LeaseGone()
    this.#move = { ...this.#move, step: 'failed', failure }
    return undefined
  }

  /** `false` = the lease is another's. */
  async #follow(event: MoveEvent): Promise<boolean> {
    const { log } = this.#deps
    const step = stepAfter(this.#move.step, event)
    if (step === undefined) throw new Error(`${event} has no place in ${this.#move.step}`)
    const { attempts = 0 } = this.#move.progress
    const failure = step === 'failing' || step === 'failed' ? this.#move.failure : null
    const next = {
      ...this.#move,
      step,
      failure,
      progress: changedProgress(this.#move.progress, {
        ...{ version: undefined, waitsFor: undefined },
        // Counted with the step: a clearing that is done twice is one attempt.
        ...(this.#move.step === 'clearing' && event === 'done' ? { attempts: attempts + 1 } : {}),
      }),
    }
    if (step === 'copying') {
      const waitsFor = await this.#enter(next)
      if (waitsFor !== undefined) return this.#wait(waitsFor)
    } else if (!(await this.#save(next))) return false
    this.#move = next
    const { id, index, source, target } = next
    log.info({ move: id, index, source, target, step, ...(failure === null ? {} : { failure }) }, 'a move goes on')
    return true
  }

  /** `undefined` = it copies from now on. */
  async #enter(next: Move): Promise<MoveProgress['waitsFor']> {
    const { moves, worker, clock, limits = moveLimitsDefault, windows = [] } = this.#deps
    const { priority, windows: own = windows } = next.options
    if (priority !== 'urgent' && !isWithin(own, clock.now())) return 'window'
    return (await moves.enter(worker, next.id, changeOf(next), limits)) ? undefined : 'turn'
  }

  /** `false` = the lease is another's. */
  async #wait(waitsFor: NonNullable<MoveProgress['waitsFor']>): Promise<boolean> {
    if (this.#move.progress.waitsFor !== waitsFor) {
      this.#move = { ...this.#move, progress: changedProgress(this.#move.progress, { waitsFor }) }
      if (!(await this.#save(this.#move))) return false
    }
    await this.#deps.clock.sleep(lookMs, this.#signal)
    return true
  }

  #save(move: Move): Promise<boolean> {
    this.#savedAt = this.#deps.clock.monotonic()
    return this.#deps.moves.save(this.#deps.worker, move.id, changeOf(move))
  }

  #context(): StepContext {
    const drive = this
    return {
      ...this.#deps,
      get move() {
        return drive.#move
      },
      signal: this.#signal,
      async keep(progress) {
        const isFirst = Object.keys(progress).some((name) => !(name in drive.#move.progress))
        drive.#move = { ...drive.#move, progress: changedProgress(drive.#move.progress, progress) }
        if (!isFirst && drive.#deps.clock.monotonic() - drive.#savedAt < saveMs) return
        if (!(await drive.#save(drive.#move))) throw new LeaseGone()
        if (drive.#latest().isPaused) throw new Paused()
      },
    }
  }
}

/** Another worker drives the move, or somebody wants something else of it: the next look finds out. */
class LeaseGone extends Error {}

/** The step is taken up again where it is. */
class Paused extends Error {}

function changeOf({ step, progress, failure, wish }: Move) {
  return { step, progress, failure, under: wish }
}
