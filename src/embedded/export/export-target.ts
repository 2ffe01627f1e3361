/** The other server of an export: requests to it, repeated while it may still answer. */
import type { LookupFunction } from 'node:net'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { Agent, request } from 'undici'
import { ApiError } from '../../api/errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'

export interface ExportTargetOptions {
  readonly url: string
  readonly apiKey: string | null
  readonly egress: {
    /** Why an address may not be called; undefined = it may, as far as can be told without resolving its host. */
    fault(url: URL): string | undefined
    readonly lookup: LookupFunction
  }
  readonly clock: Clock
  /** Aborted: the export is given up. */
  readonly signal: AbortSignal
}

export interface ExportTarget {
  hasIndex(uid: string): Promise<boolean>
  /** Resolves when the other server took the request; its task may still wait there. */
  send(method: 'POST' | 'PATCH', path: string, body: JsonObject): Promise<void>
  /** `lines`: NDJSON. */
  sendDocuments(uid: string, lines: Uint8Array): Promise<void>
  close(): Promise<void>
}

const compress = promisify(gzip)
const requestTimeoutMs = 30_000
/** After so long a server that does not answer is given up (the reference's own bound). */
const giveUpMs = 15 * 60_000
const firstPauseMs = 500
const pauseMsMax = 60_000
const passing: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504])
const answerBytesMax = 1024 * 1024

interface Sent {
  readonly method: 'GET' | 'POST' | 'PATCH'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | string | null
}

interface Answered {
  readonly status: number
  readonly body: Json
}

/** Requests fail with ApiError `internal` when the other server refuses, and when it stays away. */
export function openExportTarget({ url, apiKey, egress, clock, signal }: ExportTargetOptions): ExportTarget {
  const base = url.replace(/\/+$/, '')
  const agent = new Agent({ connect: { lookup: egress.lookup } })
  const authorization: Record<string, string> = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }

  async function once({ method, path, headers, body }: Sent): Promise<Answered> {
    const answer = await request(`${base}${path}`, {
      dispatcher: agent,
      method,
      headers: { ...authorization, ...headers },
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
    })
    const pieces: Buffer[] = []
    let byteCount = 0
    for await (const piece of answer.body as AsyncIterable<Buffer>) {
      byteCount += piece.length
      if (byteCount > answerBytesMax) throw new Error('the answer is too large')
      pieces.push(piece)
    }
    const text = Buffer.concat(pieces).toString('utf8')
    return { status: answer.statusCode, body: parseOrNull(text) }
  }

  async function ask(sent: Sent): Promise<Answered> {
    if (!URL.canParse(`${base}${sent.path}`)) throw failure(`\`${url}\` is not an address`)
    const fault = egress.fault(new URL(base))
    if (fault !== undefined) throw failure(fault)
    const startedAt = clock.monotonic()
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 1.5, pauseMsMax)) {
      const outcome = await once(sent).catch((error: unknown) => {
        signal.throwIfAborted()
        return error
      })
      const isAnswer = outcome !== null && typeof outcome === 'object' && 'status' in outcome && 'body' in outcome
      const answer = isAnswer ? (outcome as Answered) : undefined
      if (answer !== undefined && !passing.has(answer.status)) return answer
      if (clock.monotonic() - startedAt + pauseMs > giveUpMs) {
        if (answer !== undefined) return answer
        throw failure(describe(outcome))
      }
      await clock.sleep(pauseMs, signal)
    }
  }

  async function accept(sent: Sent): Promise<void> {
    const { status, body } = await ask(sent)
    if (status >= 300) throw refusal(status, body)
  }

  const jsonType = { 'content-type': 'application/json' }
  return {
    async hasIndex(uid) {
      const { status, body } = await ask({ method: 'GET', path: `/indexes/${uid}`, headers: {}, body: null })
      if (status === 200) return true
      if (isObject(body ?? null) && (body as JsonObject).code === 'index_not_found') return false
      throw refusal(status, body)
    },
    send: (method, path, body) => accept({ method, path, headers: jsonType, body: JSON.stringify(body) }),
    async sendDocuments(uid, lines) {
      const headers = { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' }
      await accept({ method: 'POST', path: `/indexes/${uid}/documents`, headers, body: await compress(lines) })
    },
    close: () => agent.destroy(),
  }
}

function parseOrNull(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    return null
  }
}

/** Message of the reference, with the other server's own error inside. */
function refusal(status: number, body: Json): ApiError {
  if (body === null || !isObject(body)) return failure(`status ${status}`)
  const { code, type, message, link } = body
  return new ApiError(
    'internal',
    `Failed to export documents to remote server ${String(code)} (${String(type)}): ${String(message)} <${String(link)}>`,
  )
}

const failure = (reason: string): ApiError =>
  new ApiError('internal', `Failed to export documents to remote server: ${reason}`)

const describe = (error: unknown): string =>
  error instanceof Error ? (error.message === '' ? error.name : error.message) : String(error)
