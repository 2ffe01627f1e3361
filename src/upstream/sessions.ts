/**
 * What clients wrote under an `X-Miroir-Session`, so that they read it (C-30): the journal position of the newest write to
 * each index. A read of such an index waits until it is applied. Kept by each gateway for itself; a session that another
 * gateway wrote for has no effect here. About 300 bytes for a session with one index.
 */
import type { Config } from '../config/config.ts'
import type { Clock } from '../lib/clock.ts'
import type { IndexId, ProjectId } from '../store/catalogue.ts'

export type SessionOptions = Config['cluster']['sessionPinning']

/** A project's session. */
export type SessionId = string

/** How a read went on: nothing was to be waited for, it was, the time was over, or the read is not to wait (`route_pin`). */
export type SessionWait = 'clear' | 'waited' | 'timed-out' | 'pinned'

const headerLengthMax = 255
/** Indexes of one session; the one that was written first is forgotten. */
const indexesMax = 64
const firstPollMs = 5
const pollMsMax = 100

/** `undefined`: no session. What nobody would choose as one is ignored. */
export function sessionId(project: ProjectId, header: string | undefined): SessionId | undefined {
  if (header === undefined || header === '' || header.length > headerLengthMax) return undefined
  return `${project}/${header}`
}

interface Session {
  usedAt: number
  /** Positions of writes that are not known to be applied; the latest written last. */
  readonly pending: Map<IndexId, number>
}

export interface SessionsDeps {
  readonly options: SessionOptions
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>
  /** A read met a write that is not applied. */
  readonly onPinned?: (strategy: SessionOptions['waitStrategy']) => void
  readonly onWait?: (tookMs: number, isInTime: boolean) => void
}

export class Sessions {
  readonly #deps: SessionsDeps
  /** The latest used last. */
  readonly #sessions = new Map<SessionId, Session>()

  constructor(deps: SessionsDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#sessions.size
  }

  /** A write of the session is at this position of the index's journal. */
  wrote(id: SessionId, index: IndexId, position: number): void {
    const { enabled, maxSessions } = this.#deps.options
    if (!enabled) return
    const session = this.#use(id) ?? { usedAt: 0, pending: new Map() }
    session.usedAt = this.#deps.clock.monotonic()
    const known = session.pending.get(index) ?? 0
    session.pending.delete(index)
    session.pending.set(index, Math.max(known, position))
    if (session.pending.size > indexesMax) forgetFirst(session.pending)
    this.#sessions.set(id, session)
    if (this.#sessions.size > maxSessions) forgetFirst(this.#sessions)
  }

  /**
   * Waits until what the session wrote to an index is applied.
   *
   * @param completed  position up to which the index is applied by all who are read; `undefined` = there is no such index.
   *                   Asked again and again.
   */
  async settle(
    id: SessionId,
    index: IndexId,
    completed: () => number | undefined,
    signal: AbortSignal,
  ): Promise<SessionWait> {
    const { options, clock, onPinned, onWait } = this.#deps
    const session = this.#use(id)
    const position = session?.pending.get(index)
    if (session === undefined || position === undefined) return 'clear'
    const isApplied = () => (completed() ?? Number.POSITIVE_INFINITY) >= position
    const settled = () => {
      // It may have written again meanwhile.
      if (session.pending.get(index) === position) session.pending.delete(index)
    }
    if (isApplied()) {
      settled()
      return 'clear'
    }
    onPinned?.(options.waitStrategy)
    if (options.waitStrategy === 'route_pin') return 'pinned'
    const startedAt = clock.monotonic()
    for (let pauseMs = firstPollMs; !isApplied(); pauseMs = Math.min(2 * pauseMs, pollMsMax)) {
      const leftMs = options.maxWaitMs - (clock.monotonic() - startedAt)
      if (leftMs <= 0) {
        onWait?.(clock.monotonic() - startedAt, false)
        return 'timed-out'
      }
      await clock.sleep(Math.min(pauseMs, leftMs), signal)
    }
    settled()
    onWait?.(clock.monotonic() - startedAt, true)
    return 'waited'
  }

  /** Moves a session to the end, and forgets those whose time is over, which are the first ones. */
  #use(id: SessionId): Session | undefined {
    const now = this.#deps.clock.monotonic()
    const session = this.#sessions.get(id)
    const oldestAt = now - this.#deps.options.ttlSeconds * 1_000
    for (const [other, { usedAt }] of this.#sessions) {
      if (usedAt >= oldestAt) break
      this.#sessions.delete(other)
    }
    if (session === undefined || session.usedAt < oldestAt) return undefined
    session.usedAt = now
    this.#sessions.delete(id)
    this.#sessions.set(id, session)
    return session
  }
}

function forgetFirst(map: Map<string, unknown>): void {
  const [first] = map.keys()
  if (first !== undefined) map.delete(first)
}
