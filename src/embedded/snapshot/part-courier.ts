/**
 * Takes parts of snapshots to addresses, and from there: presigned ones of an object store, say. One request each, without
 * following redirections; whoever asked asks again.
 *
 * Memory: one part.
 */
import { type Dispatcher, request } from 'undici'
import { ApiError } from '../../api/errors.ts'

/** Until an answer begins, and between two of its pieces. */
const silentMsMax = 60_000
const statusOfElsewhere = 502

export async function putAt(address: string, bytes: Uint8Array): Promise<void> {
  const { statusCode, body } = await ask(address, {
    method: 'PUT',
    headers: { 'content-length': String(bytes.length) },
    body: bytes,
  })
  await body.dump()
  if (statusCode >= 300) throw failed(address, `it answered with ${statusCode}`)
}

/** @param byteCount  what must be there, and not more. */
export async function getFrom(address: string, byteCount: number): Promise<Uint8Array> {
  const { statusCode, body } = await ask(address, { method: 'GET' })
  if (statusCode !== 200) {
    await body.dump()
    throw failed(address, `it answered with ${statusCode}`)
  }
  const bytes = Buffer.allocUnsafe(byteCount)
  let count = 0
  try {
    for await (const piece of body) {
      const read: Uint8Array = piece
      if (count + read.length <= byteCount) bytes.set(read, count)
      count += read.length
      if (count > byteCount) break
    }
  } catch (cause) {
    throw failed(address, 'it broke off', cause)
  }
  if (count !== byteCount)
    throw failed(address, `it has ${count > byteCount ? 'more' : 'fewer'} than ${byteCount} bytes`)
  return bytes
}

async function ask(
  address: string,
  options: Omit<Dispatcher.RequestOptions, 'path' | 'origin'>,
): Promise<Dispatcher.ResponseData> {
  try {
    return await request(address, { ...options, headersTimeout: silentMsMax, bodyTimeout: silentMsMax })
  } catch (cause) {
    throw failed(address, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** Without the query, which is a secret where an address is presigned. */
function failed(address: string, reason: string, cause?: unknown): ApiError {
  const { origin, pathname } = new URL(address)
  return new ApiError('bad_request', `${origin}${pathname}: ${reason}`, { cause, status: statusOfElsewhere })
}
