/**
 * One request for one leg, with a time limit and the answer held in memory. Points hear how it ended; of health, pools tell
 * what they meet, and only our own time limit is told here.
 */
import type { Clock, Timers } from '../lib/clock.ts'
import type { NodeId } from '../store/catalogue.ts'
import type { AnswerReceiver, NodeRequest, PendingAnswer } from './connection-pool.ts'
import type { UpstreamFailure } from './failure.ts'
import type { FleetHealth } from './node-health.ts'
import type { ReplicaScores } from './replica-scores.ts'

export interface HeldReply {
  readonly status: number
  readonly body: string
  /** What `Retry-After` asks for; `undefined` without one that gives seconds. */
  readonly retryAfterMs: number | undefined
}

/** A way to a node, as narrow as reads need it. */
export interface NodeLink {
  send(request: NodeRequest, receiver: AnswerReceiver): Pick<PendingAnswer, 'abort'>
}

/** What a node was asked, for metrics: a closed set. */
export type ReadOperation = 'search' | 'facet_search' | 'similar' | 'documents' | 'stats'

/** Kinds of trouble, for metrics: a closed set. */
export type NodeErrorType = UpstreamFailure['kind'] | 'auth' | 'busy' | 'server' | 'refused'

export interface AttemptDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly timers: Timers
  readonly health: Pick<FleetHealth, 'asked' | 'suspected' | 'downAt'>
  readonly scores: Pick<ReplicaScores, 'begin' | 'answered' | 'failed' | 'abandoned'>
  readonly onNodeError?: (node: NodeId, type: NodeErrorType) => void
  readonly onNodeRequest?: (node: NodeId, operation: ReadOperation, tookMs: number) => void
}

export interface AttemptOptions {
  readonly node: NodeId
  /** `undefined`: the node is gone. */
  readonly connection: NodeLink | undefined
  readonly request: NodeRequest
  readonly operation: ReadOperation
  readonly answerBytesMax: number
  readonly timeoutMs: number
  /** `onSlow` is called once when there is no answer after this; `undefined` = never. */
  readonly slowAfterMs: number | undefined
  /** Whether an answer with a status below 500 may be used; else it is trouble like any other. */
  readonly accepts: (reply: HeldReply) => boolean
}

export type AttemptEnd =
  | { readonly kind: 'answered'; readonly reply: HeldReply; readonly tookMs: number }
  /** An answer that is of no use: `busy` ones may be asked again. */
  | { readonly kind: 'refused'; readonly type: 'auth' | 'busy' | 'server' | 'refused'; readonly reply: HeldReply }
  | UpstreamFailure

export class ReadAttempt implements AnswerReceiver {
  readonly #deps: AttemptDeps
  readonly #options: AttemptOptions
  readonly #onSlow: () => void
  readonly #onEnd: (end: AttemptEnd) => void
  readonly #sentAt: number
  #pending: ReturnType<NodeLink['send']> | undefined
  #cancelAlarm: (() => void) | undefined
  #pieces: Buffer[] = []
  #byteCount = 0
  /** Of a body that came whole. */
  #text: string | undefined
  #status = 0
  #retryAfterMs: number | undefined
  /** Why we ended it, if we did. */
  #own: UpstreamFailure | undefined
  #isSent = false
  #isOver = false

  constructor(deps: AttemptDeps, options: AttemptOptions, onSlow: () => void, onEnd: (end: AttemptEnd) => void) {
    this.#deps = deps
    this.#options = options
    this.#onSlow = onSlow
    this.#onEnd = onEnd
    this.#sentAt = deps.clock.monotonic()
  }

  /** May end it before it returns. */
  send(): void {
    if (this.#isOver) return
    this.#isSent = true
    const { connection, node, request, slowAfterMs, timeoutMs } = this.#options
    this.#deps.scores.begin(node)
    this.#deps.health.asked(node)
    if (connection === undefined) {
      this.onFailure({ kind: 'unreachable', reason: 'the node is gone' })
      return
    }
    if (slowAfterMs !== undefined && slowAfterMs < timeoutMs) {
      this.#setAlarm(slowAfterMs, () => {
        this.#setAlarm(timeoutMs - slowAfterMs, () => this.#timeOut())
        this.#onSlow()
      })
    } else {
      this.#setAlarm(timeoutMs, () => this.#timeOut())
    }
    this.#pending = connection.send(request, this)
  }

  /** Its answer is not wanted any more. Nobody is told. */
  abandon(reason: string): void {
    if (this.#isOver) return
    this.#close()
    if (this.#isSent) this.#deps.scores.abandoned(this.#options.node, this.#tookMs)
    this.#pending?.abort(reason)
  }

  onHead(status: number, headers: readonly string[]): void {
    this.#status = status
    if (status === 429 || status === 503) this.#retryAfterMs = retryAfterMs(headers)
  }

  onData(piece: Buffer): boolean {
    if (this.#isOver) return true
    if (!this.#fits(piece)) return false
    this.#pieces.push(piece)
    return true
  }

  onWhole(body: Buffer): void {
    if (!this.#isOver && this.#fits(body)) this.#text = body.toString('utf8')
  }

  #fits({ length }: Buffer): boolean {
    this.#byteCount += length
    const { answerBytesMax } = this.#options
    if (this.#byteCount <= answerBytesMax) return true
    this.#own = { kind: 'bad-answer', reason: `an answer of more than ${answerBytesMax} bytes` }
    this.#pending?.abort(this.#own.reason)
    return false
  }

  onEnd(): void {
    if (this.#isOver) return
    this.#close()
    const { node, operation } = this.#options
    const tookMs = this.#tookMs
    const body = this.#text ?? Buffer.concat(this.#pieces).toString('utf8')
    const reply: HeldReply = { status: this.#status, body, retryAfterMs: this.#retryAfterMs }
    this.#deps.onNodeRequest?.(node, operation, tookMs)
    const type = this.#troubleOf(reply)
    if (type === undefined) {
      this.#deps.scores.answered(node, tookMs)
      this.#onEnd({ kind: 'answered', reply, tookMs })
    } else {
      this.#deps.scores.failed(node, tookMs)
      this.#deps.onNodeError?.(node, type)
      this.#onEnd({ kind: 'refused', type, reply })
    }
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.#isOver) return
    this.#close()
    const { node } = this.#options
    const shown = this.#own ?? failure
    if (shown.kind === 'aborted') {
      this.#deps.scores.abandoned(node, this.#tookMs)
    } else {
      this.#deps.scores.failed(node, this.#tookMs)
      this.#deps.onNodeError?.(node, shown.kind)
      if (this.#own?.kind === 'timed-out') this.#deps.health.suspected(node)
    }
    this.#onEnd(shown)
  }

  get #tookMs(): number {
    return this.#deps.clock.monotonic() - this.#sentAt
  }

  #troubleOf(reply: HeldReply): 'auth' | 'busy' | 'server' | 'refused' | undefined {
    const { status } = reply
    // The key that a node refuses is ours, never the client's (C-08).
    if (status === 401 || status === 403) return 'auth'
    if (status === 429 || status === 503) return 'busy'
    if (status >= 500) return 'server'
    return this.#options.accepts(reply) ? undefined : 'refused'
  }

  #timeOut(): void {
    this.#own = { kind: 'timed-out', reason: `no answer in ${Math.round(this.#options.timeoutMs)} ms` }
    this.#pending?.abort(this.#own.reason)
  }

  #setAlarm(ms: number, run: () => void): void {
    this.#cancelAlarm = this.#deps.timers.after(ms, run)
  }

  #close(): void {
    this.#isOver = true
    this.#cancelAlarm?.()
  }
}

/** Seconds only: no node sends a date. */
function retryAfterMs(headers: readonly string[]): number | undefined {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] === 'retry-after' && /^\d{1,6}$/.test(headers[at + 1]!)) return Number(headers[at + 1]) * 1_000
  }
  return undefined
}
