/**
 * What an index is built from, as a script: settings and documents, then what was written, one step after the other. A
 * backup is such a script in parts; the journal behind it gives more steps of the same kind. Carrying steps out again that
 * were carried out before, in order and up to the same end, changes nothing (NF-20).
 *
 * As bytes: a line of JSON for each step, and behind it the lines that it speaks of.
 */
import type { JsonObject } from '../../lib/json.ts'

export type ScriptStep =
  /** Documents, NDJSON. Those of one change may come in several pieces. */
  | {
      readonly kind: 'put'
      readonly merge: boolean
      /** Of the index from then on; null = none yet. */
      readonly primaryKey: string | null
      /** Documents of the whole change, and distinct ids among them. */
      readonly received: number
      readonly distinct: number
      readonly piece: Piece
    }
  /** Ids, NDJSON of JSON strings. */
  | { readonly kind: 'delete'; readonly provided: number; readonly piece: Piece }
  | { readonly kind: 'clear' }
  /** As sent: nulls reset. With secrets. */
  | { readonly kind: 'settings'; readonly settings: JsonObject }
  | { readonly kind: 'primary-key'; readonly primaryKey: string }

export interface Piece {
  readonly bytes: Uint8Array
  readonly lines: number
  readonly isLast: boolean
}

type Header =
  | {
      readonly put: Omit<Extract<ScriptStep, { kind: 'put' }>, 'kind' | 'piece'>
      readonly lines: number
      readonly isLast: boolean
    }
  | { readonly delete: { readonly provided: number }; readonly lines: number; readonly isLast: boolean }
  | { readonly clear: true }
  | { readonly settings: JsonObject }
  | { readonly primaryKey: string }

export function encodeStep(step: ScriptStep): readonly Uint8Array[] {
  const line = (header: Header) => Buffer.from(`${JSON.stringify(header)}\n`)
  switch (step.kind) {
    case 'put': {
      const { merge, primaryKey, received, distinct, piece } = step
      const { lines, isLast } = piece
      return [line({ put: { merge, primaryKey, received, distinct }, lines, isLast }), piece.bytes]
    }
    case 'delete': {
      const { lines, isLast } = step.piece
      return [line({ delete: { provided: step.provided }, lines, isLast }), step.piece.bytes]
    }
    case 'clear':
      return [line({ clear: true })]
    case 'settings':
      return [line({ settings: step.settings })]
    case 'primary-key':
      return [line({ primaryKey: step.primaryKey })]
  }
}

/** Steps of one part's text. @throws SyntaxError when it is no script. */
export function* decodeSteps(text: Buffer): Generator<ScriptStep> {
  for (let at = 0; at < text.byteLength; ) {
    const end = lineEnd(text, at)
    const header = JSON.parse(text.toString('utf8', at, end)) as Header
    at = end
    if ('clear' in header) yield { kind: 'clear' }
    else if ('settings' in header) yield { kind: 'settings', settings: header.settings }
    else if ('primaryKey' in header) yield { kind: 'primary-key', primaryKey: header.primaryKey }
    else {
      const begin = at
      for (let line = 0; line < header.lines; line += 1) at = lineEnd(text, at)
      const piece = { bytes: text.subarray(begin, at), lines: header.lines, isLast: header.isLast }
      if ('put' in header) yield { kind: 'put', ...header.put, piece }
      else yield { kind: 'delete', provided: header.delete.provided, piece }
    }
  }
}

function lineEnd(text: Buffer, from: number): number {
  const at = text.indexOf(10, from)
  if (at < 0) throw new SyntaxError('the script breaks off')
  return at + 1
}

/** Bytes of a piece, about: one line is never cut. */
export const pieceBytes = 4 * 2 ** 20

/** A payload in pieces. Empty lines are left out. */
export async function* piecesOf(payload: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  let waiting: Uint8Array[] = []
  let size = 0
  let lines = 0
  let held: Piece | undefined
  const take = () => {
    const piece = { bytes: Buffer.concat(waiting), lines, isLast: false }
    waiting = []
    size = 0
    lines = 0
    return piece
  }
  let rest: Buffer = Buffer.of()
  const accept = (line: Buffer) => {
    if (isBlank(line)) return
    waiting.push(line)
    size += line.byteLength
    lines += 1
  }
  for await (const chunk of payload) {
    const text: Buffer = rest.byteLength === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    let from = 0
    for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, from)) {
      accept(text.subarray(from, end + 1))
      from = end + 1
      if (size < pieceBytes) continue
      if (held !== undefined) yield held
      held = take()
    }
    rest = text.subarray(from)
  }
  if (rest.byteLength > 0) accept(Buffer.concat([rest, newline]))
  if (lines > 0 || held === undefined) {
    if (held !== undefined) yield held
    held = take()
  }
  if (held.lines > 0) yield { ...held, isLast: true }
}

const newline = Buffer.from('\n')

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 10 || byte === 13 || byte === 32 || byte === 9)
}
