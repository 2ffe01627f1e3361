/**
 * Sends one read to a node and streams its answer to the client: the fast path. Nothing is parsed; an error answer, and an
 * answer in which names stand, is held (bounded) and translated.
 */
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { ApiError, type ErrorBody } from '../api/errors.ts'
import { isObject } from '../lib/json.ts'
import type { AnswerReceiver, NodeRequest, PendingAnswer } from '../upstream/connection-pool.ts'
import { mayRepeatRead, type UpstreamFailure } from '../upstream/failure.ts'
import type { NodeConnection } from '../upstream/node-pools.ts'
import { pauseBefore } from '../upstream/retry.ts'
import { commonHeaders } from './common-headers.ts'
import type { Exchange } from './exchange.ts'
import { type PlaceTree, spliceNames, UnreadableJson } from './json-splice.ts'
import type { NameMap } from './name-map.ts'
import { ClientGone } from './request-body.ts'

/** An error answer, or one with names in it, is held up to this size. */
export const heldBytesMax = 64 * 1024 * 1024

export interface RelayPlan {
  readonly method: NodeRequest['method']
  readonly path: string
  readonly body: Uint8Array | null
  /** Content type of `body`. */
  readonly contentType: string | undefined
  readonly acceptEncoding: string | undefined
  /** Further ones, as pairs of name and value. */
  readonly moreHeaders?: readonly string[]
  readonly includeMetadata: boolean
  /** Asked before each attempt; throws when there is no node. */
  readonly connect: () => NodeConnection
  readonly names: NameMap
  /** Names in the answer; `undefined` = it streams through untouched. */
  readonly places: PlaceTree | undefined
  /** What else is done to an answer that succeeded; it is held then. */
  readonly finish?: (body: Buffer) => Promise<Buffer>
  /** The engine does not know the index that the table shows: look again. */
  readonly onMissingIndex: () => void
  /** The answer was sent. */
  readonly onEnd: () => void
  readonly onError: (error: unknown) => void
}

/** Answer headers that are sent on (P-11). */
const passedHeaders: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'content-length',
  'etag',
  'retry-after',
])

export function relay(exchange: Exchange, plan: RelayPlan): void {
  new Relay(exchange, plan).send()
}

class Relay implements AnswerReceiver {
  readonly #exchange: Exchange
  readonly #plan: RelayPlan
  readonly #startedAt: number
  #attempt = 1
  #pending: PendingAnswer | undefined
  #status = 0
  #isHeld = false
  #held: Buffer[] = []
  #heldBytes = 0
  #isTooLarge = false
  #encoding: string | undefined
  #retryAfter: string | undefined
  /** Bytes that are still to come; -1 = unknown. */
  #missingBytes = -1
  #isClosed = false
  #timer: NodeJS.Timeout | undefined

  constructor(exchange: Exchange, plan: RelayPlan) {
    this.#exchange = exchange
    this.#plan = plan
    this.#startedAt = exchange.startedAt
    exchange.response.once('close', () => {
      this.#isClosed = true
      if (this.#timer !== undefined) {
        // Nobody waits for the next attempt any more.
        clearTimeout(this.#timer)
        plan.onError(new ClientGone(undefined))
        return
      }
      if (!exchange.response.writableFinished) this.#pending?.abort('the client closed the connection')
    })
  }

  send(): void {
    const { method, path, body, contentType, acceptEncoding, includeMetadata, moreHeaders, connect, onError } =
      this.#plan
    let connection: NodeConnection
    try {
      connection = connect()
    } catch (error) {
      onError(error)
      return
    }
    const headers: string[] = []
    if (contentType !== undefined) headers.push('content-type', contentType)
    if (acceptEncoding !== undefined && !this.#mustHold) headers.push('accept-encoding', acceptEncoding)
    if (includeMetadata) headers.push('meili-include-metadata', 'true')
    if (moreHeaders !== undefined) headers.push(...moreHeaders)
    this.#pending = connection.send({ method, path, headers, body }, this)
  }

  get #mustHold(): boolean {
    return this.#plan.places !== undefined || this.#plan.finish !== undefined
  }

  onHead(status: number, headers: readonly string[]): void {
    this.#status = status
    if (status >= 400 || this.#mustHold) {
      this.#isHeld = true
      this.#encoding = headerValue(headers, 'content-encoding')
      this.#retryAfter = headerValue(headers, 'retry-after')
      return
    }
    const sent = commonHeaders(this.#exchange)
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at]!
      // The first of equal names counts.
      if (!passedHeaders.has(name) || sent.includes(name)) continue
      sent.push(name, headers[at + 1]!)
      if (name === 'content-length') this.#missingBytes = Number(headers[at + 1])
    }
    this.#exchange.response.writeHead(status, sent)
  }

  /** @returns whether to go on reading; otherwise `resume` is called when the client has read. */
  onData(chunk: Buffer): boolean {
    if (this.#isHeld) {
      this.#held.push(chunk)
      this.#heldBytes += chunk.length
      if (this.#heldBytes <= heldBytesMax) return true
      this.#isTooLarge = true
      this.#pending?.abort('the answer is too large to be translated')
      return false
    }
    const { response } = this.#exchange
    if (this.#missingBytes >= 0) {
      this.#missingBytes -= chunk.length
      // The last piece goes out with the end of the message, in one packet.
      if (this.#missingBytes === 0) {
        response.end(chunk)
        return true
      }
    }
    if (response.write(chunk)) return true
    response.once('drain', () => this.#pending?.resume())
    return false
  }

  onEnd(): void {
    if (!this.#isHeld) {
      this.#exchange.response.end()
      this.#plan.onEnd()
      return
    }
    try {
      this.#finishHeld()
    } catch (error) {
      this.#plan.onError(error)
    }
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.#isClosed) {
      this.#plan.onError(new ClientGone(new Error(failure.reason)))
      return
    }
    if (this.#isTooLarge) {
      this.#plan.onError(badAnswer(failure.reason))
      return
    }
    if (this.#status !== 0 && !this.#isHeld) {
      // Part of the answer is with the client: only a broken connection tells it so.
      this.#exchange.response.destroy()
      this.#plan.onError(failureError(failure))
      return
    }
    this.#isHeld = false
    this.#held = []
    this.#heldBytes = 0
    this.#status = 0
    this.#missingBytes = -1
    const pauseMs = mayRepeatRead(failure)
      ? pauseBefore(this.#attempt, this.#exchange.parts.clock.monotonic() - this.#startedAt)
      : undefined
    if (pauseMs === undefined) {
      this.#plan.onError(failureError(failure))
      return
    }
    this.#attempt += 1
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.send()
    }, pauseMs)
  }

  #finishHeld(): void {
    const { names, places, finish, onError } = this.#plan
    const body = decodeContent(Buffer.concat(this.#held, this.#heldBytes), this.#encoding)
    if (this.#status >= 400) {
      this.#finishError(body)
      return
    }
    const answer = places === undefined ? body : translate(body, places, names)
    if (finish === undefined) this.#sendHeld(answer)
    else
      finish(answer)
        .then((finished) => this.#sendHeld(finished))
        .catch(onError)
  }

  #sendHeld(answer: Buffer): void {
    const { response } = this.#exchange
    const headers = commonHeaders(this.#exchange)
    headers.push('content-type', 'application/json', 'content-length', String(answer.length))
    response.writeHead(this.#status, headers)
    response.end(answer)
    this.#plan.onEnd()
  }

  #finishError(body: Buffer): void {
    const sent = readErrorBody(body)
    if (sent?.code === 'index_not_found' && this.#status === 404) {
      this.#plan.onMissingIndex()
      return
    }
    throw engineError(this.#status, sent, this.#plan.names, this.#exchange, this.#retryAfter)
  }
}

/** @param headers  names in lower case and values in turn. The first of equal names counts. */
function headerValue(headers: readonly string[], wanted: string): string | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === wanted) return headers[at + 1]
  return undefined
}

function decodeContent(body: Buffer, encoding: string | undefined): Buffer {
  try {
    if (encoding === undefined || encoding === 'identity') return body
    const options = { maxOutputLength: heldBytesMax }
    if (encoding === 'gzip') return gunzipSync(body, options)
    if (encoding === 'deflate') return inflateSync(body, options)
    if (encoding === 'br') return brotliDecompressSync(body, options)
  } catch (error) {
    throw badAnswer(error)
  }
  throw badAnswer(`content encoding ${encoding}`)
}

/** Names in an answer, physical to logical. */
export function translate(body: Buffer, places: PlaceTree, names: NameMap): Buffer {
  try {
    return spliceNames(body, places, (name) => names.toLogical(name))
  } catch (error) {
    if (error instanceof UnreadableJson || error instanceof SyntaxError) throw badAnswer(error)
    throw error
  }
}

/** The error object of an engine, if it is one. */
export function readErrorBody(body: Buffer | string): ErrorBody | undefined {
  let value: unknown
  try {
    value = JSON.parse(String(body))
  } catch {
    return undefined
  }
  if (!isObject(value) || typeof value.message !== 'string' || typeof value.code !== 'string') return undefined
  return {
    message: value.message,
    code: value.code,
    type:
      value.type === 'auth' || value.type === 'internal' || value.type === 'system' ? value.type : 'invalid_request',
    link: typeof value.link === 'string' ? value.link : `https://docs.meilisearch.com/errors#${value.code}`,
  }
}

/** An error that an engine made, as the client may see it. Rendered with the engine's own status and body. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly status: number
  readonly body: ErrorBody
  readonly retryAfter: string | undefined

  constructor(status: number, body: ErrorBody, retryAfter: string | undefined) {
    super(body.message)
    this.status = status
    this.body = body
    this.retryAfter = retryAfter
  }
}

export function engineError(
  status: number,
  sent: ErrorBody | undefined,
  names: NameMap,
  exchange: Exchange,
  retryAfter?: string,
): Error {
  // The credential that an engine refuses is ours, not the client's (P-22).
  if (status === 401 || status === 403) return badAnswer(`the engine refused our key: ${sent?.code ?? status}`)
  const isOwnFault = status >= 500 && sent?.code !== 'too_many_search_requests'
  if (sent === undefined || isOwnFault) return badAnswer(`status ${status}: ${sent?.code ?? 'no error object'}`)
  const { error, leaked } = names.toLogicalError(sent)
  if (leaked) exchange.parts.log.error({ requestId: exchange.requestId, code: sent.code }, 'leak guard: text withheld')
  return new EngineError(status, error, retryAfter)
}

export function badAnswer(cause: unknown): ApiError {
  return new ApiError('engine_bad_response', 'The engine gave an answer that cannot be used.', { cause })
}

export function failureError(failure: UpstreamFailure): Error {
  const cause = new Error(`${failure.kind}: ${failure.reason}`)
  switch (failure.kind) {
    case 'unreachable':
    case 'lost':
      return new ApiError('engine_unavailable', 'The index cannot be reached at the moment. Try again.', { cause })
    case 'timed-out':
      return new ApiError('engine_timeout', 'The engine did not answer in time.', { cause })
    case 'bad-answer':
      return badAnswer(cause)
    case 'aborted':
      return new ClientGone(cause)
  }
}
