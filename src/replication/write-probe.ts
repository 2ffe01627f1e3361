/**
 * Does the disk of a node still take writes (NF-31, NF-32)? Reads, deletions and health say nothing about it: only a write
 * with a document does. Where lanes have written lately they know; elsewhere one tiny document is written to an index of
 * the node's own, ten seconds after the last write, then twice as long after each, up to five minutes: an idle machine is
 * to be left alone. When something of a lane went wrong, at once.
 *
 * While the disk refuses, lanes send nothing; the probe is repeated until it passes.
 */
import type { EngineReply, EngineTask } from '../engine/engine.ts'
import type { Clock } from '../lib/clock.ts'
import { notNeeded } from './deadline.ts'
import { type NodeSession, sendAndWait } from './node-session.ts'
import { isNodeTrouble } from './node-trouble.ts'
import { Wake } from './wake.ts'

/** No project's index is called so on a node: their names hold an underscore. */
export const probeUid = 'fjprobe'
const probeMark = 'fj1-probe'
const quietMsMin = 10_000
const quietMsMax = 300_000
const refusedMsMin = 1_000
const refusedMsMax = 10_000
/** A tiny write into a node that has nothing else to do ends long before. */
const endMsMax = 30_000

export class WriteProbe {
  readonly #clock: Clock
  readonly #report: (trouble: string | null) => void
  readonly #wellWake = new Set<Wake>()
  #trouble: string | null = null
  #isSuspected = false
  #pauseMs = quietMsMin
  #wroteAt: number
  #pause = new AbortController()

  /** @param report  called when the disk begins to refuse (why) and when it takes writes again (null). */
  constructor(clock: Clock, report: (trouble: string | null) => void) {
    this.#clock = clock
    this.#report = report
    this.#wroteAt = clock.monotonic()
  }

  /** A write of a lane ended well. */
  noteWrite(): void {
    this.#wroteAt = this.#clock.monotonic()
    if (this.#trouble !== null || this.#pauseMs === quietMsMin) return
    this.#pauseMs = quietMsMin
    this.#pause.abort(notNeeded)
  }

  /** A write of a lane went wrong in a way that may be the disk's. */
  suspect(): void {
    if (this.#trouble !== null || this.#isSuspected) return
    this.#isSuspected = true
    this.#pause.abort(notNeeded)
  }

  /** Resolves when the disk takes writes as far as we know, or when the signal aborts. */
  async well(signal: AbortSignal): Promise<void> {
    if (this.#trouble === null) return
    const wake = new Wake()
    this.#wellWake.add(wake)
    try {
      while (this.#trouble !== null && !signal.aborted) await wake.wait(signal)
    } finally {
      this.#wellWake.delete(wake)
    }
  }

  /** Probes until the session ends. */
  async run(session: NodeSession): Promise<void> {
    const { signal, watch } = session
    while (!signal.aborted) {
      const isUrgent = this.#isSuspected || this.#trouble !== null
      const sinceMs = this.#clock.monotonic() - this.#wroteAt
      const isDue = isUrgent || (sinceMs >= quietMsMin && watch.lowest === Number.POSITIVE_INFINITY)
      if (isDue) await this.#probe(session)
      if (signal.aborted) return
      const pauseMs = isDue ? this.#pauseMs : Math.max(1_000, quietMsMin - sinceMs)
      // Unless something is written meanwhile.
      if (isDue) this.#pauseMs = Math.min(this.#trouble === null ? quietMsMax : refusedMsMax, 2 * pauseMs)
      if (!this.#isSuspected) await this.#sleep(pauseMs, signal)
    }
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.#pause = new AbortController()
    const end = () => this.#pause.abort(notNeeded)
    signal.addEventListener('abort', end, { once: true })
    await this.#clock.sleep(ms, this.#pause.signal).catch(() => {})
    signal.removeEventListener('abort', end)
  }

  async #probe(session: NodeSession): Promise<void> {
    const { engine, watch } = session
    this.#isSuspected = false
    const isAlone = watch.lowest === Number.POSITIVE_INFINITY
    const ended = new AbortController()
    const reply = sendAndWait(session, (limit) =>
      engine.putDocuments(probeUid, { merge: false, primaryKey: 'id', mark: probeMark }, probeDocument(), limit),
    )
    if (isAlone)
      this.#clock.sleep(endMsMax, ended.signal).then(
        () => this.#set(`a write of a few bytes has not ended for ${endMsMax / 1000} s`),
        () => {},
      )
    const trouble = troubleOf(await reply.finally(() => ended.abort(notNeeded)))
    if (trouble !== undefined) this.#set(trouble)
  }

  #set(trouble: string | null): void {
    if (trouble === this.#trouble) return
    const isChanged = (trouble === null) !== (this.#trouble === null)
    this.#trouble = trouble
    if (isChanged) this.#pauseMs = trouble === null ? quietMsMin : refusedMsMin
    this.#report(trouble)
    if (trouble === null) for (const wake of this.#wellWake) wake.ring()
  }
}

async function* probeDocument(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('{"id":1}\n')
}

/** Why the disk refuses writes; null = it takes them; `undefined` = the node said neither, or nothing. */
function troubleOf(reply: EngineReply<EngineTask>): string | null | undefined {
  if (reply.kind === 'failed') return /^5\d\d\b/.test(reply.reason) ? reply.reason : undefined
  if (reply.kind !== 'answered') return undefined
  const { status, error } = reply.value
  if (status === 'succeeded') return null
  return error !== null && isNodeTrouble(error) ? `${error.code}: ${error.message}` : undefined
}
