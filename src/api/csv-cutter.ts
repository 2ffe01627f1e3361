/**
 * Turns a CSV payload into documents (M-E1), piece by piece: RFC 4180 with lenient quotes, a header row, columns
 * `name:type`.
 */
import { isUtf8 } from 'node:buffer'
import { CsvMistake } from './csv-mistake.ts'

type ColumnType = 'string' | 'number' | 'boolean'

interface Column {
  readonly type: ColumnType
  /** `"name":`, or null when a later column has the same name. */
  readonly label: string | null
}

/** Where the reader stands in a field. `quote`: a quote was met within quotes; it ends them unless another follows. */
type Place = 'start' | 'plain' | 'quoted' | 'quote'

const quoteByte = 0x22

export class CsvCutter {
  readonly #delimiter: number
  readonly #emit: (json: string) => void
  #columns: readonly Column[] | undefined
  #place: Place = 'start'
  /** Bytes of the current record from earlier pieces, and how many. */
  #pieces: Uint8Array[] = []
  #held = 0
  /** Ends of the fields that are complete, counted from the record's start. */
  #ends: number[] = []
  /** Of the current record. */
  #recordByte = 0
  #recordLine = 1
  #record = 0
  #line = 1
  /** Offset of the current piece in the payload. */
  #offset = 0
  #afterReturn = false

  /** `delimiter`: one ASCII character. `emit` gets one JSON object per record. */
  constructor(delimiter: string, emit: (json: string) => void) {
    this.#delimiter = delimiter.charCodeAt(0)
    this.#emit = emit
  }

  /** @throws CsvMistake. */
  push(piece: Uint8Array): void {
    const delimiter = this.#delimiter
    let start = 0
    let place = this.#place
    for (let at = 0; at < piece.length; at += 1) {
      const byte = piece[at]!
      if (byte === 0x0a && this.#afterReturn && at === start && this.#held === 0) {
        // The second half of a line break.
        this.#afterReturn = false
        start = at + 1
        this.#recordByte = this.#offset + start
        continue
      }
      this.#afterReturn = false
      if (place === 'quoted') {
        if (byte === quoteByte) place = 'quote'
        else if (byte === 0x0a) this.#line += 1
      } else if (byte === quoteByte && place !== 'plain') place = 'quoted'
      else if (byte === delimiter) {
        this.#ends.push(this.#held + at - start)
        place = 'start'
      } else if (byte === 0x0a || byte === 0x0d) {
        this.#place = 'start'
        place = 'start'
        this.#endRecord(piece.subarray(start, at))
        this.#line += 1
        this.#afterReturn = byte === 0x0d
        start = at + 1
        this.#recordByte = this.#offset + start
        this.#recordLine = this.#line
      } else place = 'plain'
    }
    this.#place = place
    if (start < piece.length) {
      this.#pieces.push(Uint8Array.from(piece.subarray(start)))
      this.#held += piece.length - start
    }
    this.#offset += piece.length
  }

  /** @throws CsvMistake. */
  finish(): void {
    this.#endRecord(new Uint8Array())
  }

  #endRecord(last: Uint8Array): void {
    const bytes = this.#pieces.length === 0 ? last : Buffer.concat([...this.#pieces, last])
    const ends = [...this.#ends, bytes.length]
    this.#pieces = []
    this.#held = 0
    this.#ends = []
    // Empty lines are no records.
    if (bytes.length === 0) return
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let start = 0
    const fields = ends.map((end, index) => {
      const raw = buffer.subarray(start, end)
      start = end + 1
      if (!isUtf8(raw))
        throw new CsvMistake(
          `CSV parse error: record ${this.#record} (line ${this.#recordLine}, field: ${index}, byte: ${this.#recordByte}): invalid utf-8: invalid UTF-8 in field ${index} near byte index 0`,
        )
      const text = raw.toString('utf8')
      return text.startsWith('"') ? unquote(text) : text
    })
    if (this.#columns === undefined) this.#columns = readHeader(fields)
    else this.#emitRecord(this.#columns, fields)
    this.#record += 1
  }

  #emitRecord(columns: readonly Column[], fields: readonly string[]): void {
    if (fields.length !== columns.length)
      throw new CsvMistake(
        `CSV error: record ${this.#record} (line: ${this.#recordLine}, byte: ${this.#recordByte}): found record with ${fields.length} fields, but the previous record has ${columns.length} fields`,
      )
    let json = '{'
    columns.forEach(({ type, label }, index) => {
      const value = this.#value(type, fields[index]!)
      if (label !== null) json += json.length === 1 ? label + value : `,${label}${value}`
    })
    this.#emit(`${json}}`)
  }

  #value(type: ColumnType, field: string): string {
    if (type === 'string') return field === '' ? 'null' : JSON.stringify(field)
    const text = field.trim()
    if (text === '') return 'null'
    if (type === 'boolean') {
      if (text === 'true' || text === 'false') return text
      throw new CsvMistake(
        `Error parsing boolean "${text}" at line ${this.#record}: provided string was not \`true\` or \`false\``,
      )
    }
    const number = readNumber(text)
    if (number === undefined)
      throw new CsvMistake(`Error parsing number "${text}" at line ${this.#record}: invalid float literal`)
    return number
  }
}

/** JSON of a 64-bit integer, or else of a double (`1000.0`); infinities are null. */
function readNumber(text: string): string | undefined {
  if (/^[+-]?[0-9]+$/.test(text)) {
    const integer = BigInt(text.replace(/^\+/, ''))
    if (integer >= -(2n ** 63n) && integer < 2n ** 63n) return integer.toString()
  }
  if (/^[+-]?(?:inf|infinity|nan)$/i.test(text)) return 'null'
  if (!/^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/.test(text)) return undefined
  const value = Number(text)
  if (!Number.isFinite(value)) return 'null'
  const json = JSON.stringify(value)
  return /^-?[0-9]+$/.test(json) ? `${json}.0` : json
}

function readHeader(fields: readonly string[]): readonly Column[] {
  const columns = fields.map((field): { name: string; type: ColumnType } => {
    const colon = field.lastIndexOf(':')
    const type = colon < 0 ? '' : field.slice(colon + 1)
    return type === 'string' || type === 'number' || type === 'boolean'
      ? { name: field.slice(0, colon), type }
      : { name: field, type: 'string' }
  })
  const last = new Map(columns.map(({ name }, index) => [name, index]))
  return columns.map(({ name, type }, index) => ({
    type,
    label: last.get(name) === index ? `${JSON.stringify(name)}:` : null,
  }))
}

/** `"a""b"` is `a"b`; what follows the closing quote is taken as it is. */
function unquote(text: string): string {
  let plain = ''
  let from = 1
  for (;;) {
    const quote = text.indexOf('"', from)
    if (quote < 0) return plain + text.slice(from)
    plain += text.slice(from, quote)
    if (text[quote + 1] !== '"') return plain + text.slice(quote + 1)
    plain += '"'
    from = quote + 2
  }
}
