/** Bodies of requests as the API sees them: bounded, decoded, of the right type, or refused with its own words (M-A1). */
import { ApiError } from '../api/errors.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { BodyRefused, bodyStream as decodedStream, sizeText } from '../lib/http-body.ts'
import type { HttpRequest } from '../lib/http-server.ts'
import type { Json } from '../lib/json.ts'
import { PlainRequest } from '../lib/plain-request.ts'
import type { RequestHeaders } from './request-headers.ts'

/** The client closed the connection before its request was complete. Nobody is left to be told. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
  constructor(cause: unknown) {
    super('the client closed the connection', { cause })
  }
}

/** Message 15. */
function tooLarge(bytesMax: number): ApiError {
  return new ApiError(
    'payload_too_large',
    `The provided payload reached the size limit. The maximum accepted payload size is ${sizeText(bytesMax)}.`,
  )
}

function told(refusal: BodyRefused, bytesMax: number): Error {
  switch (refusal.fault) {
    case 'too-large':
      return tooLarge(bytesMax)
    case 'client-gone':
      return new ClientGone(refusal)
    case 'unsupported-encoding':
      return new ApiError('unsupported_media_type', `The Content-Encoding \`${refusal.message}\` is not supported.`)
    case 'undecodable':
      return new ApiError('malformed_payload', 'The payload could not be decoded from its Content-Encoding.', {
        cause: refusal,
      })
  }
}

/** The body in pieces. @throws ApiError, or ClientGone. */
export async function* bodyStream(request: HttpRequest, bytesMax: number): AsyncGenerator<Uint8Array> {
  try {
    yield* decodedStream(request instanceof PlainRequest ? request.stream() : request, bytesMax)
  } catch (error) {
    throw error instanceof BodyRefused ? told(error, bytesMax) : error
  }
}

/** The whole body. @throws ApiError, or ClientGone. */
export async function readBody(request: HttpRequest, bytesMax: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of bodyStream(request, bytesMax)) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** The whole body by callback: the fast path of searches, without a promise for each piece. */
export function collectBody(
  request: HttpRequest,
  headers: RequestHeaders,
  bytesMax: number,
  done: (error: unknown, body: Buffer) => void,
): void {
  if (headers.contentEncoding !== undefined) {
    readBody(request, bytesMax).then(
      (body) => done(undefined, body),
      (error: unknown) => done(error, emptyBody),
    )
    return
  }
  if (headers.contentLength !== undefined && Number(headers.contentLength) > bytesMax) {
    done(tooLarge(bytesMax), emptyBody)
    return
  }
  if (request instanceof PlainRequest) {
    request.collect((body) => (body === undefined ? done(new ClientGone(undefined), emptyBody) : done(undefined, body)))
    return
  }
  let first: Buffer | undefined
  let rest: Buffer[] | undefined
  let byteCount = 0
  let isDone = false
  request.on('data', (chunk: Buffer) => {
    if (isDone) return
    byteCount += chunk.length
    if (byteCount > bytesMax) {
      isDone = true
      return done(tooLarge(bytesMax), emptyBody)
    }
    if (first === undefined) first = chunk
    else if (rest === undefined) rest = [first, chunk]
    else rest.push(chunk)
  })
  request.on('end', () => {
    if (isDone) return
    isDone = true
    done(undefined, rest === undefined ? (first ?? emptyBody) : Buffer.concat(rest, byteCount))
  })
  request.on('close', () => {
    if (isDone) return
    isDone = true
    done(new ClientGone(undefined), emptyBody)
  })
}

const emptyBody = Buffer.alloc(0)

const jsonType = /^\s*application\/(?:[A-Za-z0-9!#$&^_.-]+\+)?json\s*(?:;|$)/i

/** Messages 9 and 10, for routes that take JSON only. */
export function checkJsonType(headers: RequestHeaders): void {
  checkContentType(headers, jsonType.test(headers.contentType ?? ''), ['application/json'])
}

export function checkContentType(
  headers: Pick<RequestHeaders, 'contentType'>,
  isAccepted: boolean,
  accepted: readonly string[],
): void {
  if (isAccepted) return
  const list = accepted.map((type) => `\`${type}\``).join(', ')
  if (headers.contentType === undefined) {
    throw new ApiError(
      'missing_content_type',
      `A Content-Type header is missing. Accepted values for the Content-Type header are: ${list}`,
    )
  }
  throw new ApiError(
    'invalid_content_type',
    `The Content-Type \`${headers.contentType}\` is invalid. Accepted values for the Content-Type header are: ${list}`,
  )
}

/** A JSON body. @throws ApiError 400, 413 or 415. */
export async function readJson(request: HttpRequest, headers: RequestHeaders, bytesMax: number): Promise<Json> {
  checkJsonType(headers)
  return parseJsonBody(await readBody(request, bytesMax))
}
