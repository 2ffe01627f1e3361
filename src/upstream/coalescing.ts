/**
 * Identical reads that come while one of them is under way share it (C-35). Nothing is kept once it has ended. A read goes on
 * as long as anybody waits for it, also when whoever began it has gone away.
 */
import type { Config } from '../config/config.ts'
import type { Clock } from '../lib/clock.ts'
import { canonicalJson, type Json } from '../lib/json.ts'

export type CoalescingOptions = Config['cluster']['queryCoalescing']

/** All that an answer depends on. Reads that differ in any of it never share one, whatever else they have in common. */
export interface ReadIdentity {
  readonly project: string
  /** Key or token that asks, with its forced filter: what one may see another may not (D-19). */
  readonly credential: string
  readonly forcedFilter: Json
  /** Method and path as a pattern: a closed set. */
  readonly operation: string
  /** Ids and generations of the indexes, and the positions of their settings. */
  readonly indexes: readonly { readonly id: string; readonly generation: number; readonly settings: number }[]
  /** Counts what the project was told of finished tasks: who knows of one does not join a read that began before it. */
  readonly news: number
  /** Version of the route table. */
  readonly routes: number
  /** Query or body, decoded; headers that change the answer stand in it as well. */
  readonly query: Json
}

/** A text that is the same for identical reads only. */
export function readFingerprint(read: ReadIdentity): string {
  const { project, credential, forcedFilter, operation, indexes, news, routes, query } = read
  const places = indexes.map(({ id, generation, settings }) => [id, generation, settings])
  return canonicalJson([project, credential, forcedFilter, operation, places, news, routes, query])
}

interface Shared<T> {
  readonly answer: Promise<T>
  readonly startedAt: number
  readonly abort: AbortController
  /** Who waits, the first one included. */
  waiting: number
  /** Who ever joined. */
  joined: number
}

export class Coalescing<T> {
  readonly #options: CoalescingOptions
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #onJoin: () => void
  readonly #onShared: () => void
  /** The newest of each fingerprint. */
  readonly #shared = new Map<string, Shared<T>>()

  /**
   * @param events  `onJoin`: a read joins another one. `onShared`: it got that one's answer.
   */
  constructor(
    options: CoalescingOptions,
    clock: Pick<Clock, 'monotonic'>,
    events: { readonly onJoin?: () => void; readonly onShared?: () => void } = {},
  ) {
    this.#options = options
    this.#clock = clock
    this.#onJoin = events.onJoin ?? (() => undefined)
    this.#onShared = events.onShared ?? (() => undefined)
  }

  /** Reads under way that may be joined. */
  get size(): number {
    return this.#shared.size
  }

  /**
   * Runs a read, or joins an identical one. When the joined one fails, `run` is called for this one alone.
   *
   * @param signal  of this client. `run` gets another one, which aborts when all who wait are gone.
   */
  async share(fingerprint: string, signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { enabled, windowMs, maxSubscribers, maxPendingQueries } = this.#options
    if (!enabled) return run(signal)
    const known = this.#shared.get(fingerprint)
    if (known !== undefined && this.#clock.monotonic() - known.startedAt <= windowMs) {
      if (known.joined >= maxSubscribers || known.abort.signal.aborted) return run(signal)
      known.joined += 1
      this.#onJoin()
      try {
        const answer = await waitFor(known, signal)
        this.#onShared()
        return answer
      } catch {
        // Its failure may be its own: a deadline, a node that died. Ours decides for us.
        signal.throwIfAborted()
        return run(signal)
      }
    }
    if (known === undefined && this.#shared.size >= maxPendingQueries) return run(signal)
    return waitFor(this.#begin(fingerprint, run), signal)
  }

  #begin(fingerprint: string, run: (signal: AbortSignal) => Promise<T>): Shared<T> {
    const abort = new AbortController()
    const shared: Shared<T> = {
      answer: run(abort.signal),
      startedAt: this.#clock.monotonic(),
      abort,
      waiting: 0,
      joined: 0,
    }
    this.#shared.set(fingerprint, shared)
    const forget = () => {
      if (this.#shared.get(fingerprint) === shared) this.#shared.delete(fingerprint)
    }
    shared.answer.then(forget, forget)
    return shared
  }
}

function waitFor<T>(shared: Shared<T>, signal: AbortSignal): Promise<T> {
  shared.waiting += 1
  return new Promise((resolve, reject) => {
    const leave = () => {
      signal.removeEventListener('abort', onAbort)
      shared.waiting -= 1
      if (shared.waiting === 0) shared.abort.abort('nobody waits for it any more')
    }
    const onAbort = () => {
      leave()
      reject(signal.reason)
    }
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    shared.answer.then(
      (answer) => {
        signal.removeEventListener('abort', onAbort)
        resolve(answer)
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort)
        reject(error)
      },
    )
  })
}
