/**
 * Uploaded documents as a stream (M-E1 to M-E3, M-E7): cut into single documents, each checked, then handed on as NDJSON
 * without ever holding the payload. What the engine would refuse is found here (design 2, rule 3; NF-21).
 */
import { isAscii, isUtf8 } from 'node:buffer'
import { isObject, type Json } from '../lib/json.ts'
import { CsvCutter } from './csv-cutter.ts'
import { CsvMistake } from './csv-mistake.ts'
import { type CheckedIndex, checkDocument } from './document-check.ts'
import { type CutDocument, DocumentCutter } from './document-cutter.ts'
import { inferPrimaryKey, readDocumentId } from './document-id.ts'
import { ApiError, type ErrorBody } from './errors.ts'
import { IdSet } from './id-set.ts'
import { jsonMistake, placeIn } from './json-mistake.ts'
import { JsonSyntaxError } from './json-text.ts'

export type DocumentFormat =
  | { readonly kind: 'json' }
  | { readonly kind: 'ndjson' }
  /** `delimiter`: one ASCII character. */
  | { readonly kind: 'csv'; readonly delimiter: string }

/** What is known of the index when the request arrives. */
export interface DocumentCheck extends CheckedIndex {
  /** The index's key, or else the request's argument; null = infer it from the first document (M-E2). */
  readonly primaryKey: string | null
  /** Names of fields that are not the client's. */
  readonly reserved: readonly string[]
}

function reservedField(name: string): ApiError {
  const message = `The field \`${name}\` is reserved: leave it out of your documents.`
  return new ApiError('miroir_reserved_field', message)
}

export interface DocumentFindings {
  readonly received: number
  /** Different ids; equals `received` when no key is known. */
  readonly distinct: number
  /** The key found in the first document; null = given, or nothing to infer from. */
  readonly inferred: string | null
  /** Why the task must fail; the payload is then worth nothing. */
  readonly refusal: ErrorBody | null
}

/** Yielded chunks are about as large as this, unless a single document is larger. */
const chunkBytes = 64 * 1024
/** Longest turn of the event loop that a payload takes, but for a single huge document. */
const turnMsMax = 8
/** A field needs six bytes at least, so that smaller documents cannot have too many. */
const largeBytes = 300_000

/**
 * Yields NDJSON (one document a line, bytes as sent but for line breaks), then returns the findings.
 *
 * A refused document does not stop the reading: syntax is judged to the end, as the reference does, but nothing more is
 * yielded.
 *
 * @param check null = syntax only: every document is taken and counted as another one.
 * @throws ApiError `malformed_payload` or `missing_payload` (messages 12 to 14); what `source` throws passes through.
 */
export async function* readDocuments(
  source: AsyncIterable<Uint8Array>,
  format: DocumentFormat,
  check: DocumentCheck | null,
): AsyncGenerator<Uint8Array, DocumentFindings> {
  const intake = new DocumentIntake(check)
  const cutter =
    format.kind === 'csv'
      ? new CsvCutter(format.delimiter, (json) => intake.takeText(json))
      : new DocumentCutter(format.kind === 'ndjson', (document) => intake.take(document))
  let total = 0
  let turn = performance.now()
  try {
    for await (const chunk of source) {
      total += chunk.length
      for (let at = 0; at < chunk.length; at += chunkBytes) {
        cutter.push(chunk.subarray(at, at + chunkBytes))
        if (intake.isFull) yield intake.drain()
        if (performance.now() - turn > turnMsMax) {
          await new Promise((resolve) => setImmediate(resolve))
          turn = performance.now()
        }
      }
    }
    if (total === 0) throw new ApiError('missing_payload', `A ${format.kind} payload is missing.`)
    cutter.finish()
  } catch (error) {
    if (error instanceof CsvMistake)
      throw new ApiError('malformed_payload', `The \`csv\` payload provided is malformed: \`${error.message}\`.`)
    if (error instanceof JsonSyntaxError)
      throw new ApiError(
        'malformed_payload',
        `The \`${format.kind}\` payload provided is malformed. \`Couldn't serialize document value: ${shorten(error.message)}\`.`,
      )
    throw error
  }
  const rest = intake.drain()
  if (rest.length > 0) yield rest
  return intake.findings
}

/** A long detail keeps its first 50 and its last 85 characters. */
function shorten(message: string): string {
  const characters = [...message]
  return characters.length <= 135 ? message : `${characters.slice(0, 50).join('')}...${characters.slice(-85).join('')}`
}

class DocumentIntake {
  readonly #check: DocumentCheck | null
  readonly #ids = new IdSet()
  #key: string | null
  #inferred: string | null = null
  #received = 0
  #refusal: ErrorBody | null = null
  #out = Buffer.allocUnsafe(2 * chunkBytes)
  #length = 0

  constructor(check: DocumentCheck | null) {
    this.#check = check
    this.#key = check?.primaryKey ?? null
  }

  get isFull(): boolean {
    return this.#length >= chunkBytes
  }

  get findings(): DocumentFindings {
    return {
      received: this.#received,
      distinct: this.#key === null ? this.#received : this.#ids.size,
      inferred: this.#inferred,
      refusal: this.#refusal,
    }
  }

  /** What was taken since the last call; empty once a document was refused. */
  drain(): Uint8Array {
    const chunk = this.#refusal === null ? this.#out.subarray(0, this.#length) : new Uint8Array()
    this.#out = Buffer.allocUnsafe(2 * chunkBytes)
    this.#length = 0
    return chunk
  }

  takeText(json: string): void {
    const bytes = Buffer.from(json)
    this.#judge(JSON.parse(json) as Json, bytes, json, true)
    this.#write(bytes, false)
  }

  /** @throws JsonSyntaxError. */
  take(document: CutDocument): void {
    const { bytes } = document
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const ascii = isAscii(buffer)
    if (!ascii && !isUtf8(buffer))
      throw new JsonSyntaxError(`invalid unicode code point ${placeIn(buffer, buffer.length, document)}`)
    const text = buffer.toString(ascii ? 'latin1' : 'utf8')
    const { line, column, alone } = document
    const mistake = () => jsonMistake(buffer, { line, column, skimmed: !alone })
    const hidden = alone && document.doubtful ? mistake() : undefined
    if (hidden !== undefined) throw new JsonSyntaxError(hidden)
    let value: Json
    try {
      value = JSON.parse(text) as Json
    } catch {
      throw new JsonSyntaxError(mistake() ?? 'invalid JSON')
    }
    this.#judge(value, buffer, text, document.doubtful)
    this.#write(buffer, document.broken)
  }

  #judge(document: Json, bytes: Uint8Array, text: string, doubtful: boolean): void {
    this.#received += 1
    if (this.#check === null || this.#refusal !== null || !isObject(document)) return
    for (const name of this.#check.reserved) if (Object.hasOwn(document, name)) throw reservedField(name)
    if (this.#key === null) {
      const inferred = inferPrimaryKey(document)
      if ('refusal' in inferred) {
        this.#refusal = inferred.refusal
        return
      }
      this.#key = inferred.key
      this.#inferred = inferred.key
    }
    const found = readDocumentId(document, this.#key, () => text)
    if ('refusal' in found) {
      this.#refusal = found.refusal
      return
    }
    this.#ids.add(found.id)
    const large = bytes.length > largeBytes
    this.#refusal = checkDocument(document, found.id, this.#check, { doubtful, large })
  }

  #write(bytes: Buffer, broken: boolean): void {
    if (this.#refusal !== null) return
    const needed = this.#length + bytes.length + 1
    if (needed > this.#out.length) {
      const wider = Buffer.allocUnsafe(Math.max(needed, 2 * this.#out.length))
      this.#out.copy(wider, 0, 0, this.#length)
      this.#out = wider
    }
    if (broken) this.#writeJoined(bytes)
    else {
      bytes.copy(this.#out, this.#length)
      this.#length += bytes.length
    }
    this.#out[this.#length] = 0x0a
    this.#length += 1
  }

  /** Line breaks stand between tokens only: each is dropped with the blanks around the next token. */
  #writeJoined(bytes: Buffer): void {
    const out = this.#out
    let length = this.#length
    let skipping = false
    for (const byte of bytes) {
      if (byte === 0x0a || byte === 0x0d) skipping = true
      else if (!skipping || (byte !== 0x20 && byte !== 0x09)) {
        skipping = false
        out[length] = byte
        length += 1
      }
    }
    this.#length = length
  }
}
