/** The body of `delete-batch` (M-A4): a JSON array of ids of any length, read without holding up the event loop. */
import { decodeDeleteBatch, idText } from './documents-query.ts'

/** Parsed at once. */
const pieceBytes = 64 * 1024
/** Longest turn of the event loop. */
const turnMsMax = 8

/**
 * Yields the ids in groups.
 *
 * @throws ApiError, as `decodeDeleteBatch`.
 */
export async function* readIdList(bytes: Uint8Array): AsyncGenerator<readonly string[]> {
  const read: (readonly string[])[] = []
  let turn = performance.now()
  try {
    for (const piece of piecesOf(bytes)) {
      const ids = decodeDeleteBatch(piece)
      // Of a whole that is no array, or has a comma too many.
      if (ids.length === 0 && piece !== bytes) throw new Error('an empty piece')
      read.push(ids.map(idText))
      if (performance.now() - turn <= turnMsMax) continue
      await new Promise((resolve) => setImmediate(resolve))
      turn = performance.now()
    }
  } catch {
    // The whole tells what is wrong and where.
    read.splice(0, read.length, decodeDeleteBatch(bytes).map(idText))
  }
  yield* read
}

/** A long array cut into arrays; anything else as it is. @throws Error when it is malformed around the cuts. */
function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  if (bytes.length <= pieceBytes) return yield bytes
  const open = bytes.findIndex((byte) => !isBlank(byte))
  if (bytes[open] !== 0x5b) return yield bytes
  let start = open + 1
  let depth = 1
  for (let at = start; at < bytes.length; at += 1) {
    const byte = bytes[at]
    if (byte === 0x22) {
      at = endOfString(bytes, at)
    } else if (byte === 0x5b || byte === 0x7b) {
      depth += 1
    } else if (byte === 0x5d || byte === 0x7d) {
      depth -= 1
      if (depth > 0) continue
      yield array(bytes.subarray(start, at))
      if (!bytes.subarray(at + 1).every(isBlank)) throw new Error('more behind the array')
      return
    } else if (byte === 0x2c && depth === 1 && at - start >= pieceBytes) {
      yield array(bytes.subarray(start, at))
      start = at + 1
    }
  }
  throw new Error('the array does not end')
}

function endOfString(bytes: Uint8Array, start: number): number {
  for (let at = start + 1; at < bytes.length; at += 1) {
    if (bytes[at] === 0x22) return at
    if (bytes[at] === 0x5c) at += 1
  }
  return bytes.length
}

function array(items: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('['), items, Buffer.from(']')])
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d
}
