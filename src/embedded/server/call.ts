/** One request as its handler sees it, and what a handler answers. */
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type { Action } from '../../api/actions.ts'
import { ApiError } from '../../api/errors.ts'
import type { Features } from '../../api/features.ts'
import { checkIndexUid } from '../../api/index-uid.ts'
import { parseJsonBody } from '../../api/json-text.ts'
import type { Clock } from '../../lib/clock.ts'
import type { EgressPolicy } from '../../lib/egress-policy.ts'
import { exactText } from '../../lib/exact-numbers.ts'
import { BodyRefused, bodyStream, readBody, sizeText } from '../../lib/http-body.ts'
import type { Json } from '../../lib/json.ts'
import type { Random } from '../../lib/random.ts'
import type { EngineCore, ReadOptions } from '../core.ts'
import type { Access, KeyRing } from './key-ring.ts'

export interface ServerParts {
  readonly core: EngineCore
  readonly keys: KeyRing
  readonly clock: Clock
  readonly random: Random
  /** `pkgVersion` of `GET /version`. */
  readonly version: string
  readonly payloadBytesMax: number
  readonly metrics: {
    observe(method: string, path: string, status: number, tookMs: number): void
    text(core: EngineCore, clock: Clock): Promise<string>
  }
  /** Why an address that a client names may not be called; undefined = it may. */
  readonly egressFault: (url: URL) => string | undefined
  /** Where requests to chat providers may go. */
  readonly egress: EgressPolicy
  /** Aborts when the server begins to close: answers that are held go out. */
  readonly closing: AbortSignal
  features(): Features
  setFeatures(change: Partial<Features>): Promise<Features>
}

export interface Answer {
  readonly status: number
  /** JSON text; null = no body; a stream is sent as it comes. */
  readonly body: string | Uint8Array | Readable | null
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Call {
  readonly parts: ServerParts
  readonly request: IncomingMessage
  readonly access: Access
  /** Of the path, decoded. */
  readonly params: readonly string[]
  /** Query string without `?`. */
  readonly search: string
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  /** null = open to everybody. */
  readonly action: Action | null
  readonly handle: (call: Call) => Answer | Promise<Answer>
}

export function json(value: unknown, status = 200): Answer {
  return { status, body: exactText(JSON.stringify(value)) }
}

export const accepted = (value: unknown): Answer => json(value, 202)
export const noContent: Answer = { status: 204, body: null }

/** The index of a path. @throws ApiError `invalid_index_uid`. */
export function pathUid(call: Call): string {
  return checkIndexUid(call.params[0] ?? '')
}

export function readOptions({ parts, request }: Call): ReadOptions {
  const wanted = request.headers['meili-include-metadata']
  return { features: parts.features(), withMetadata: wanted === 'true' || wanted === '1' }
}

/** A JSON body. @throws ApiError 400, 413 or 415. */
export async function readJson(call: Call): Promise<Json> {
  return parseJsonBody(await readRaw(call))
}

/** The bytes of a JSON body. */
export async function readRaw(call: Call): Promise<Uint8Array> {
  checkContentType(call.request, ['application/json'])
  try {
    return await readBody(call.request, call.parts.payloadBytesMax)
  } catch (error) {
    throw toApiError(error, call.parts.payloadBytesMax)
  }
}

/** A body in pieces. */
export async function* readPieces(call: Call): AsyncGenerator<Uint8Array> {
  try {
    yield* bodyStream(call.request, call.parts.payloadBytesMax)
  } catch (error) {
    throw toApiError(error, call.parts.payloadBytesMax)
  }
}

function toApiError(error: unknown, bytesMax: number): unknown {
  if (!(error instanceof BodyRefused)) return error
  switch (error.fault) {
    case 'too-large':
      return new ApiError(
        'payload_too_large',
        `The provided payload reached the size limit. The maximum accepted payload size is ${sizeText(bytesMax)}.`,
      )
    case 'unsupported-encoding':
      return new ApiError('unsupported_media_type', `The Content-Encoding \`${error.message}\` is not supported.`)
    case 'undecodable':
    case 'client-gone':
      return new ApiError('bad_request', 'The provided payload is incomplete and cannot be parsed', { cause: error })
  }
}

/** The media type that was sent, one of `known`. @throws ApiError messages 9 and 10. */
export function checkContentType<const T extends string>(request: IncomingMessage, known: readonly T[]): T {
  const sent = request.headers['content-type']
  const list = known.map((type) => `\`${type}\``).join(', ')
  if (sent === undefined)
    throw new ApiError(
      'missing_content_type',
      `A Content-Type header is missing. Accepted values for the Content-Type header are: ${list}`,
    )
  const type = sent.split(';')[0]!.trim().toLowerCase()
  const plain = /^application\/(?:[^/]+\+)?json$/.test(type) ? 'application/json' : type
  const found = known.find((candidate) => candidate === plain)
  if (found === undefined)
    throw new ApiError(
      'invalid_content_type',
      `The Content-Type \`${sent}\` is invalid. Accepted values for the Content-Type header are: ${list}`,
    )
  return found
}
