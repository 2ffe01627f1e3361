/** Reading request bodies: bounded, decoded (gzip, deflate, br), as a whole or as a stream (P-08, M-A1). */
import type { IncomingMessage } from 'node:http'
import type { Readable, Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { ApiError } from '../api/errors.ts'
import { parseJsonBody } from '../api/json-text.ts'
import type { Json } from '../lib/json.ts'
import type { RequestHeaders } from './request-headers.ts'

/** Message 15. */
export function tooLarge(bytesMax: number): ApiError {
  return new ApiError(
    'payload_too_large',
    `The provided payload reached the size limit. The maximum accepted payload size is ${sizeText(bytesMax)}.`,
  )
}

/** In a binary unit when divisible by 1024, else decimal. */
export function sizeText(byteCount: number): string {
  const [base, units] =
    byteCount % 1024 === 0 ? [1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']] : [1000, ['B', 'kB', 'MB', 'GB', 'TB']]
  let size = byteCount
  let unit = 0
  while (size >= base && unit < units.length - 1) {
    size /= base
    unit += 1
  }
  return `${Number.isInteger(size) ? size : size.toFixed(2)} ${units[unit]}`
}

function decoderOf(encoding: string): Transform | undefined {
  switch (encoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return undefined
    case 'gzip':
    case 'x-gzip':
      return createGunzip()
    case 'deflate':
      return createInflate()
    case 'br':
      return createBrotliDecompress()
    default:
      throw new ApiError('unsupported_media_type', `The Content-Encoding \`${encoding}\` is not supported.`)
  }
}

/** Refused before a byte is read, when the length is announced. */
function checkLength(headers: RequestHeaders, bytesMax: number): void {
  if (headers.contentLength !== undefined && Number(headers.contentLength) > bytesMax) throw tooLarge(bytesMax)
}

/** The body as pieces. Throws `payload_too_large` on the way, `malformed_payload` for what does not decode. */
export async function* bodyStream(
  request: IncomingMessage,
  headers: RequestHeaders,
  bytesMax: number,
): AsyncGenerator<Uint8Array> {
  checkLength(headers, bytesMax)
  const decoder = decoderOf(headers.contentEncoding ?? '')
  let source: Readable = request
  if (decoder !== undefined) {
    request.on('error', (error) => decoder.destroy(error))
    request.on('close', () => {
      if (!request.complete) decoder.destroy(new Error('aborted'))
    })
    source = request.pipe(decoder)
  }
  let byteCount = 0
  try {
    for await (const chunk of source.iterator({ destroyOnReturn: false })) {
      const bytes: Uint8Array = chunk
      byteCount += bytes.length
      if (byteCount > bytesMax) throw tooLarge(bytesMax)
      yield bytes
    }
  } catch (error) {
    if (error instanceof ApiError) throw error
    if (request.errored !== null || (request.destroyed && !request.complete)) throw new ClientGone(error)
    throw new ApiError('malformed_payload', 'The payload could not be decoded from its Content-Encoding.', {
      cause: error,
    })
  } finally {
    // What is left is read and dropped, so that the next request of the connection is not disturbed.
    if (decoder !== undefined) {
      request.unpipe(decoder)
      decoder.destroy()
    }
    if (!request.readableEnded) request.resume()
  }
}

/** The client closed the connection before its request was complete. Nobody is left to be told. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
  constructor(cause: unknown) {
    super('the client closed the connection', { cause })
  }
}

/** The whole body. */
export async function readBody(request: IncomingMessage, headers: RequestHeaders, bytesMax: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bodyStream(request, headers, bytesMax)) chunks.push(chunk)
  return chunks.length === 1
    ? Buffer.from(chunks[0]!.buffer, chunks[0]!.byteOffset, chunks[0]!.length)
    : Buffer.concat(chunks)
}

/** The whole body by callback: the fast path of searches, without a promise for each piece. */
export function collectBody(
  request: IncomingMessage,
  headers: RequestHeaders,
  bytesMax: number,
  done: (error: unknown, body: Buffer) => void,
): void {
  if (headers.contentEncoding !== undefined) {
    readBody(request, headers, bytesMax).then(
      (body) => done(undefined, body),
      (error: unknown) => done(error, emptyBody),
    )
    return
  }
  if (headers.contentLength !== undefined && Number(headers.contentLength) > bytesMax) {
    done(tooLarge(bytesMax), emptyBody)
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

export function checkContentType(headers: RequestHeaders, isAccepted: boolean, accepted: readonly string[]): void {
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
export async function readJson(request: IncomingMessage, headers: RequestHeaders, bytesMax: number): Promise<Json> {
  checkJsonType(headers)
  return parseJsonBody(await readBody(request, headers, bytesMax))
}
