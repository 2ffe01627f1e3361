/**
 * Cuts a JSON or NDJSON payload into its documents, piece by piece, without building anything: it follows strings and
 * brackets only. What stands within a document is judged by whoever gets the bytes.
 */

import { jsonMistake, placeIn } from './json-mistake.ts'
import { JsonSyntaxError } from './json-text.ts'

/** Levels within one document; the reference fails behind them. */
export const documentDepthMax = 128

export interface CutDocument {
  /** Valid until the callback returns. */
  readonly bytes: Uint8Array
  /** Where it begins: line from 1, bytes before it in that line. */
  readonly line: number
  readonly column: number
  /** A line break stands between its tokens. */
  readonly broken: boolean
  /** It may hold a number beyond a double, or a lone surrogate. */
  readonly doubtful: boolean
  /** It is the whole payload: the reference parses it, while it skims those of a list. */
  readonly alone: boolean
}

/** start: nothing seen. item: a document or the end must follow; next: a document must follow. */
type State = 'start' | 'item' | 'next' | 'inside' | 'after' | 'end'

const longRun = 300

export class DocumentCutter {
  readonly #lines: boolean
  readonly #emit: (document: CutDocument) => void
  #state: State
  #depth = 0
  #inString = false
  #escaped = false
  /** Bytes of the current document from earlier pieces. */
  #pieces: Uint8Array[] = []
  #broken = false
  #doubtful = false
  /** Bytes since the last bracket or string, and the last of them: numbers are looked for there. */
  #run = 0
  #previous = 0
  #array = false
  #line = 1
  /** Bytes in the current line before the current piece; negative within a piece that holds a line break. */
  #lineStart = 0
  #startLine = 1
  #startColumn = 0

  /** `lines`: NDJSON, documents one after the other. */
  constructor(lines: boolean, emit: (document: CutDocument) => void) {
    this.#lines = lines
    this.#emit = emit
    this.#state = lines ? 'item' : 'start'
  }

  /** @throws JsonSyntaxError. `piece` may be used again after the call only if no document crosses its end. */
  push(piece: Uint8Array): void {
    let at = 0
    while (at < piece.length) at = this.#state === 'inside' ? this.#inside(piece, at) : this.#outside(piece, at)
    this.#lineStart -= piece.length
  }

  /** The payload is over. @throws JsonSyntaxError when it must not be. */
  finish(): void {
    const end = `at line ${this.#line} column ${-this.#lineStart}`
    switch (this.#state) {
      case 'start':
      case 'next':
        throw new JsonSyntaxError(`EOF while parsing a value ${end}`)
      case 'item':
      case 'after':
        if (this.#array) throw new JsonSyntaxError(`EOF while parsing a list ${end}`)
        return
      case 'inside':
        throw this.#mistakeIn(Buffer.concat(this.#pieces))
      case 'end':
    }
  }

  #outside(piece: Uint8Array, start: number): number {
    for (let at = start; at < piece.length; at += 1) {
      const byte = piece[at]!
      if (byte === 0x0a) {
        this.#line += 1
        this.#lineStart = at + 1
      } else if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return this.#token(piece, at, byte)
    }
    return piece.length
  }

  #token(piece: Uint8Array, at: number, byte: number): number {
    const state = this.#state
    if (state === 'end') throw this.#wrong('trailing characters', at)
    if (state === 'after' && this.#array) {
      if (byte === 0x2c) this.#state = 'next'
      else if (byte === 0x5d) this.#state = 'end'
      else throw this.#wrong('expected `,` or `]`', at)
      return at + 1
    }
    if (byte === 0x7b) {
      this.#begin(at)
      return at
    }
    if (byte === 0x5b && state === 'start') {
      this.#array = true
      this.#state = 'item'
      return at + 1
    }
    if (byte === 0x5d && this.#array) {
      if (state === 'next') throw this.#wrong('trailing comma', at)
      this.#state = 'end'
      return at + 1
    }
    throw this.#stray(piece, at, byte, state)
  }

  get #alone(): boolean {
    return !this.#lines && !this.#array
  }

  #begin(at: number): void {
    this.#state = 'inside'
    this.#depth = 0
    this.#inString = false
    this.#escaped = false
    this.#broken = false
    this.#doubtful = false
    this.#run = 0
    this.#previous = 0
    this.#startLine = this.#line
    this.#startColumn = at - this.#lineStart
  }

  /** Follows the current document from `start`; answers where it left off. */
  #inside(piece: Uint8Array, start: number): number {
    const end = piece.length
    let at = start
    let previous = this.#previous
    let run = this.#run
    while (at < end) {
      if (this.#inString) {
        at = this.#string(piece, at)
        previous = 0
        run = 0
        continue
      }
      const byte = piece[at]!
      at += 1
      switch (byte) {
        case 0x22:
          this.#inString = true
          break
        case 0x7b:
        case 0x5b:
          this.#depth += 1
          if (run > longRun) this.#doubtful = true
          run = 0
          if (this.#depth > documentDepthMax) throw this.#wrong('recursion limit exceeded', at - 1)
          break
        case 0x7d:
        case 0x5d:
          this.#depth -= 1
          if (run > longRun) this.#doubtful = true
          run = 0
          if (this.#depth === 0) {
            this.#cut(piece, start, at)
            return at
          }
          break
        case 0x0a:
          this.#line += 1
          this.#lineStart = at
          this.#broken = true
          break
        case 0x0d:
          this.#broken = true
          break
        case 0x65:
        case 0x45:
          if (previous >= 0x30 && previous <= 0x39) this.#doubtful = true
          break
        default:
          run += 1
      }
      previous = byte
    }
    if (run > longRun) this.#doubtful = true
    this.#previous = previous
    this.#run = run
    this.#pieces.push(Uint8Array.from(piece.subarray(start)))
    return end
  }

  /** Follows a string; answers where it ends, or the end of the piece. */
  #string(piece: Uint8Array, start: number): number {
    let at = start
    if (this.#escaped) {
      if (piece[at] === 0x75) this.#doubtful = true
      this.#escaped = false
      at += 1
    }
    for (; at < piece.length; at += 1) {
      const byte = piece[at]
      if (byte === 0x22) {
        this.#inString = false
        return at + 1
      }
      if (byte === 0x5c) {
        at += 1
        if (at === piece.length) {
          this.#escaped = true
          return at
        }
        if (piece[at] === 0x75) this.#doubtful = true
      }
    }
    return at
  }

  #cut(piece: Uint8Array, start: number, end: number): void {
    let bytes = piece.subarray(start, end)
    if (this.#pieces.length > 0) {
      bytes = Buffer.concat([...this.#pieces, bytes])
      this.#pieces = []
    }
    this.#state = this.#lines ? 'item' : this.#array ? 'after' : 'end'
    this.#emit({
      bytes,
      line: this.#startLine,
      column: this.#startColumn,
      broken: this.#broken,
      doubtful: this.#doubtful,
      alone: this.#alone,
    })
  }

  /** Something else than an object where a document must stand. */
  #stray(piece: Uint8Array, at: number, byte: number, state: State): JsonSyntaxError {
    if (byte === 0x5b) return new JsonSyntaxError('invalid type: sequence, expected a map at line 1 column 0')
    const rest = Buffer.from(piece.subarray(at, at + 1024)).toString()
    const token = /^(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)/.exec(rest)?.[0]
    if (token === undefined && byte !== 0x22) return this.#wrong('expected value', at)
    if (state === 'start') return new JsonSyntaxError('data are neither an object nor a list of objects')
    if (token === undefined) return this.#wrong('EOF while parsing a string', at)
    if (this.#array && state === 'item') {
      // As in the reference, a list that does not begin with an object is left behind its first member.
      const next = at + token.length + (/^\s*,\s*(?=\S)/.exec(rest.slice(token.length))?.[0].length ?? -token.length)
      if (next > at) return this.#wrong(piece[next] === 0x5d ? 'trailing comma' : 'trailing characters', next)
    }
    const kind = token.startsWith('"')
      ? `string ${token}`
      : token === 'null'
        ? 'null'
        : token === 'true' || token === 'false'
          ? `boolean \`${token}\``
          : `${/^-?[0-9]+$/.test(token) ? 'integer' : 'floating point'} \`${token}\``
    return new JsonSyntaxError(`invalid type: ${kind}, expected a map at line 1 column ${token.length}`)
  }

  #mistakeIn(bytes: Uint8Array): JsonSyntaxError {
    const place = { line: this.#startLine, column: this.#startColumn }
    return new JsonSyntaxError(
      jsonMistake(bytes, { ...place, skimmed: !this.#alone }) ??
        `EOF while parsing an object ${placeIn(bytes, bytes.length, place)}`,
    )
  }

  #wrong(message: string, at: number): JsonSyntaxError {
    return new JsonSyntaxError(`${message} at line ${this.#line} column ${at - this.#lineStart + 1}`)
  }
}
