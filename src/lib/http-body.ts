/** Request bodies: bounded and decoded (gzip, deflate, br), as a stream or as a whole. What goes wrong has a kind. */
import type { Readable, Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'

/** A request with its body. An `IncomingMessage` is one. */
export interface BodySource extends Readable {
  readonly headers: { readonly 'content-encoding'?: string | undefined; readonly 'content-length'?: string | undefined }
  /** The body was read to its end. */
  readonly complete: boolean
}

export type BodyFault = 'too-large' | 'undecodable' | 'unsupported-encoding' | 'client-gone'

export class BodyRefused extends Error {
  override readonly name = 'BodyRefused'
  readonly fault: BodyFault

  constructor(fault: BodyFault, detail: string, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause })
    this.fault = fault
  }
}

/**
 * The body in pieces, decoded. `bytesMax` bounds what comes out; a length that is announced above it is refused before a
 * byte is read.
 *
 * Leaving early does not close the connection: what is left of the body is read and dropped, so that the next request
 * on it is undisturbed.
 * @throws BodyRefused.
 */
export async function* bodyStream(request: BodySource, bytesMax: number): AsyncGenerator<Uint8Array> {
  const decoder = decoderOf(request.headers['content-encoding'] ?? '')
  const announced = Number(request.headers['content-length'] ?? 0)
  if (decoder === undefined && announced > bytesMax) throw tooLarge(request)
  let source: Readable = request
  if (decoder !== undefined) {
    const abandon = (error?: Error) => decoder.destroy(error)
    request.once('error', abandon)
    request.once('close', () => {
      if (!request.complete) abandon(new Error('the connection was closed'))
    })
    source = request.pipe(decoder)
  }
  let byteCount = 0
  try {
    for await (const piece of source.iterator({ destroyOnReturn: false })) {
      const bytes: Uint8Array = piece
      byteCount += bytes.length
      if (byteCount > bytesMax) throw tooLarge(request)
      yield bytes
    }
  } catch (error) {
    if (error instanceof BodyRefused) throw error
    if (request.destroyed && !request.complete)
      throw new BodyRefused('client-gone', 'the client closed the connection', error)
    throw new BodyRefused('undecodable', 'the body could not be decoded from its Content-Encoding', error)
  } finally {
    if (decoder !== undefined) {
      request.unpipe(decoder)
      decoder.destroy()
    }
    dropRest(request)
  }
}

/** Reads and drops what is left. Only after a turn: until then the stream believes that its last reader still waits. */
export function dropRest(request: BodySource): void {
  if (!request.readableEnded) setImmediate(() => request.resume())
}

/** The whole body. @throws BodyRefused. */
export async function readBody(request: BodySource, bytesMax: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of bodyStream(request, bytesMax)) pieces.push(piece)
  return Buffer.concat(pieces)
}

function tooLarge(request: BodySource): BodyRefused {
  request.resume()
  return new BodyRefused('too-large', 'the body is larger than allowed')
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
      throw new BodyRefused('unsupported-encoding', encoding)
  }
}

/** "100 MB": in a binary unit when divisible by 1024, else decimal (M-A1). */
export function sizeText(byteCount: number): string {
  const binary = byteCount % 1024 === 0
  const base = binary ? 1024 : 1000
  const units = binary ? ['B', 'KiB', 'MiB', 'GiB', 'TiB'] : ['B', 'kB', 'MB', 'GB', 'TB']
  let size = byteCount
  let unit = 0
  while (size >= base && unit < units.length - 1) {
    size /= base
    unit += 1
  }
  return `${Number.isInteger(size) ? size : size.toFixed(2)} ${units[unit]}`
}
