/**
 * One HTTP request to an engine, and what its outcome means (NF-22, NF-43).
 *
 * - *answered*: 2xx. *refused*: a 4xx with Meilisearch's error object: the engine understood and said no.
 * - *failed*: 5xx, an answer that is not an engine's, our key refused, or an error before a write could be complete.
 * - *unknown*: a write went out whole and no answer came; it may have been executed.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import type { Pool } from 'undici'
import type { ErrorBody } from '../api/errors.ts'
import { isObject, type Json } from '../lib/json.ts'
import type { EngineReply } from './engine.ts'

/** Longest answer that is read whole: a page of documents, or the ids of an index. */
export const answerBytesMax = 512 * 1024 * 1024

export type CallBody =
  | { readonly kind: 'json'; readonly value: Json }
  /** JSON that is written already. */
  | { readonly kind: 'text'; readonly text: string }
  /** A JSON array of what NDJSON holds. */
  | { readonly kind: 'list'; readonly lines: AsyncIterable<Uint8Array> }
  | { readonly kind: 'ndjson'; readonly chunks: AsyncIterable<Uint8Array>; readonly gzip: boolean }

export interface Call {
  /** That our key may not do this is an answer (`refused`), and no failure. */
  readonly mayRefuseKey?: boolean
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With query string. */
  readonly path: string
  readonly body?: CallBody
  /** Whole numbers that a double cannot hold come as strings: for answers of which only document ids are used (M-E3). */
  readonly hasExactIds?: boolean
  /** The answer is its text, as a JSON string. */
  readonly isText?: boolean
  /** The request changes nothing: an error without an answer is then `failed`, not `unknown`. */
  readonly isRead: boolean
  /** `Prefer: wait` in seconds (RFC 7240); an engine that does not know it answers at once. */
  readonly waitSeconds?: number
  readonly onHeaders?: (headers: IncomingHttpHeaders) => void
  readonly signal: AbortSignal
}

/** Codes that come as 4xx but say that we or the node are set up wrongly, never that the change is bad. */
const setUpCodes = new Set(['invalid_api_key', 'missing_authorization_header', 'too_many_search_requests'])
/** Errors of undici and the system that happen before a request leaves. */
const unsentCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])

export async function callEngine(
  pool: Pool,
  headers: Readonly<Record<string, string>>,
  call: Call,
): Promise<EngineReply<Json>> {
  let sending: Outgoing
  try {
    sending = await outgoing(call.body)
  } catch (error) {
    return { kind: 'failed', reason: describeFailure(error) }
  }
  try {
    const answer = await pool.request({
      method: call.method,
      path: call.path,
      headers: {
        ...headers,
        ...sending.headers,
        ...(call.waitSeconds === undefined ? {} : { prefer: `wait=${call.waitSeconds}` }),
      },
      body: sending.body,
      signal: call.signal,
    })
    call.onHeaders?.(answer.headers)
    const text = await answer.body.text()
    if (call.isText && answer.statusCode === 200) return answered(text)
    return replyOf(answer.statusCode, call.hasExactIds ? quoteLongIntegers(text) : text, call.mayRefuseKey)
  } catch (error) {
    const reason = describeFailure(error)
    const isUnsent = unsentCodes.has(codeOf(error)) || !sending.isComplete()
    return call.isRead || isUnsent ? { kind: 'failed', reason } : { kind: 'unknown', reason }
  }
}

/** What a status with a body means. */
export function replyOf(status: number, text: string, mayRefuseKey = false): EngineReply<Json> {
  const value = parse(text)
  if (status >= 200 && status < 300) {
    return value === undefined && text !== ''
      ? failed(`${status} with a body that is not JSON`)
      : answered(value ?? null)
  }
  const error = errorOf(value)
  if (status >= 500 || error === undefined)
    return failed(error ? `${status} ${error.code}: ${error.message}` : `${status}`)
  const isSetUp = setUpCodes.has(error.code) && !(mayRefuseKey && error.code === 'invalid_api_key')
  if (status === 408 || status === 429 || isSetUp) return failed(`${status} ${error.code}`)
  return { kind: 'refused', status, error }
}

const answered = (value: Json): EngineReply<Json> => ({ kind: 'answered', value })
const failed = (reason: string): EngineReply<Json> => ({ kind: 'failed', reason })

/** The error object of M-B1, from an answer or a task; `undefined` when it is none. */
export function errorOf(value: Json | undefined): ErrorBody | undefined {
  if (!isObject(value) || typeof value.code !== 'string' || typeof value.message !== 'string') return undefined
  const type = value.type
  return {
    message: value.message,
    code: value.code,
    type: type === 'auth' || type === 'internal' || type === 'system' ? type : 'invalid_request',
    link: typeof value.link === 'string' ? value.link : '',
  }
}

/** Strings are matched first, so that digits within them are left alone. */
const longInteger = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+])-?\d{16,}(?![\d.eE])/g

/** JSON with every whole number of 16 digits or more made a string. */
export function quoteLongIntegers(text: string): string {
  return text.replace(longInteger, (match) => (match.startsWith('"') ? match : `"${match}"`))
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

interface Outgoing {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer | Readable | null
  /** Everything was handed to the connection, so the engine may have the whole request. */
  readonly isComplete: () => boolean
}

async function outgoing(body: CallBody | undefined): Promise<Outgoing> {
  if (body === undefined) return { headers: {}, body: null, isComplete: () => true }
  if (body.kind === 'json' || body.kind === 'text') {
    return {
      headers: { 'content-type': 'application/json' },
      body: body.kind === 'text' ? body.text : JSON.stringify(body.value),
      isComplete: () => true,
    }
  }
  const isList = body.kind === 'list'
  const type = { 'content-type': isList ? 'application/json' : 'application/x-ndjson' }
  const chunks = (isList ? listOf(body.lines) : body.chunks)[Symbol.asyncIterator]()
  const isZipped = !isList && body.gzip
  const head = await readHead(chunks)
  if (head.isAll && !isZipped) return { headers: type, body: Buffer.concat(head.chunks), isComplete: () => true }
  // Half a body is never executed (NF-43), so only a source that was read to its end leaves the outcome open.
  let isAtEnd = false
  const source = Readable.from(
    (async function* () {
      try {
        yield* head.chunks
        for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
        isAtEnd = true
      } finally {
        await chunks.return?.()
      }
    })(),
    { objectMode: false },
  )
  if (!isZipped) return { headers: type, body: source, isComplete: () => isAtEnd }
  // An error of the source destroys the compressor with it, which is how the request learns of it.
  const zipped = pipeline(source, createGzip({ level: 1 }), () => {})
  return { headers: { ...type, 'content-encoding': 'gzip' }, body: zipped, isComplete: () => isAtEnd }
}

/** Line feeds become commas, which is all that differs: within a line there is none. */
async function* listOf(lines: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield Buffer.from('[')
  let isBetween = false
  for await (const chunk of lines) {
    const text = Buffer.from(chunk)
    if (text.length === 0) continue
    if (isBetween) yield Buffer.from(',')
    isBetween = text.at(-1) === 0x0a
    for (let at = text.indexOf(0x0a); at >= 0; at = text.indexOf(0x0a, at + 1)) text[at] = 0x2c
    yield isBetween ? text.subarray(0, -1) : text
  }
  yield Buffer.from(']')
}

/** Bodies up to this size are sent whole: with their length, and without a stream between. */
const wholeBytesMax = 512 * 1024

async function readHead(
  source: AsyncIterator<Uint8Array>,
): Promise<{ readonly chunks: readonly Uint8Array[]; readonly isAll: boolean }> {
  const chunks: Uint8Array[] = []
  for (let byteCount = 0; byteCount <= wholeBytesMax; ) {
    const next = await source.next()
    if (next.done === true) return { chunks, isAll: true }
    chunks.push(next.value)
    byteCount += next.value.byteLength
  }
  return { chunks, isAll: false }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
}

/** With the code of the system or of the client that sends. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = codeOf(error)
  return code === '' || error.message.includes(code) ? error.message : `${code}: ${error.message}`
}
