/** The body of `delete-batch` (M-A4): a JSON array of ids of any length, read without holding up the event loop. */
import { isUtf8 } from 'node:buffer'
import { decodeDeleteBatch, idText } from './documents-query.ts'
import { ApiError } from './errors.ts'
import { jsonMistake } from './json-mistake.ts'

/** Parsed at once. */
const pieceBytes = 64 * 1024
/** Longest turn of the event loop. */
const turnMsMax = 8

/** Part of a long array. */
interface Piece {
  /** Its items as an array. */
  readonly array: Uint8Array
  readonly start: number
  /** Of its first byte, from 1. */
  readonly line: number
  /** Where that line starts. */
  readonly lineStart: number
}

/** Something is wrong between the pieces. */
class WrongCut extends Error {}

/**
 * Yields the ids in groups, when all were read.
 *
 * @throws ApiError, as `decodeDeleteBatch`.
 */
export async function* readIdList(bytes: Uint8Array): AsyncGenerator<readonly string[]> {
  const read: (readonly string[])[] = []
  const cut = new ArrayCut(bytes)
  let turn = performance.now()
  try {
    for (const { array } of cut.pieces()) {
      const ids = decodeDeleteBatch(array)
      if (ids.length === 0 && array !== bytes) throw new WrongCut('a comma too many')
      read.push(ids.map(idText))
      if (performance.now() - turn <= turnMsMax) continue
      await new Promise((resolve) => setImmediate(resolve))
      turn = performance.now()
    }
  } catch (error) {
    const mistake = isUtf8(bytes) ? cut.mistake() : undefined
    if (mistake !== undefined)
      throw new ApiError('malformed_payload', `The json payload provided is malformed. \`${mistake}\`.`)
    if (!(error instanceof WrongCut) && !(error instanceof ApiError)) throw error
    // The whole tells what is wrong and where.
    read.splice(0, read.length, decodeDeleteBatch(bytes).map(idText))
  }
  yield* read
}

/** Ids as lines of JSON, and how many they were once all lines were read. */
export function idLines(groups: AsyncIterable<readonly string[]> | Iterable<readonly string[]>): {
  readonly lines: AsyncIterable<Uint8Array>
  readonly count: () => number
} {
  let count = 0
  async function* lines(): AsyncGenerator<Uint8Array> {
    for await (const ids of groups) {
      count += ids.length
      yield Buffer.from(ids.map((id) => `${JSON.stringify(id)}\n`).join(''))
      // Nothing else may let others in between.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { lines: lines(), count: () => count }
}

/** A long array cut into arrays; anything else is one piece as it is. */
class ArrayCut {
  readonly #bytes: Uint8Array
  /** The last piece that was begun; `undefined` = the first. */
  #begun: Omit<Piece, 'array'> | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** @throws WrongCut when it is malformed around the cuts. */
  *pieces(): Generator<Piece> {
    const bytes = this.#bytes
    const whole: Piece = { array: bytes, start: 0, line: 1, lineStart: 0 }
    if (bytes.length <= pieceBytes) return yield whole
    const open = bytes.findIndex((byte) => !isBlank(byte))
    if (bytes[open] !== 0x5b) return yield whole
    let [line, lineStart] = startOf(bytes, open)
    let piece = { start: open + 1, line, lineStart }
    let depth = 1
    for (let at = open + 1; at < bytes.length; at += 1) {
      const byte = bytes[at]
      if (byte === 0x0a) {
        line += 1
        lineStart = at + 1
      } else if (byte === 0x22) {
        at = endOfString(bytes, at)
      } else if (byte === 0x5b || byte === 0x7b) {
        depth += 1
      } else if (byte === 0x5d || byte === 0x7d) {
        depth -= 1
        if (depth > 0) continue
        yield { ...piece, array: array(bytes.subarray(piece.start, at)) }
        if (!bytes.subarray(at + 1).every(isBlank)) throw new WrongCut('more behind the array')
        return
      } else if (byte === 0x2c && depth === 1 && at - piece.start >= pieceBytes) {
        yield { ...piece, array: array(bytes.subarray(piece.start, at)) }
        piece = { start: at + 1, line, lineStart }
        this.#begun = piece
      }
    }
    throw new WrongCut('the array does not end')
  }

  /** What is wrong from the piece on that was begun last; `undefined` = only the whole can tell. */
  mistake(): string | undefined {
    if (this.#begun === undefined) return undefined
    const { start, line, lineStart } = this.#begun
    // The comma before it stands behind some item.
    const head = Buffer.from('[0')
    const rest = Buffer.concat([head, this.#bytes.subarray(start - 1)])
    return jsonMistake(rest, { line, column: start - 1 - lineStart - head.length })
  }
}

/** The line of a byte behind blanks, and where it starts. */
function startOf(bytes: Uint8Array, at: number): [line: number, lineStart: number] {
  const before = bytes.subarray(0, at)
  return [before.filter((byte) => byte === 0x0a).length + 1, before.lastIndexOf(0x0a) + 1]
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
