/** Payloads as a replica of a spread index gets them: its own documents, each with its shard and its place in the order. */
import { sequenceField, sequenceText, shardField, shardText } from '../api/reserved-fields.ts'
import { quoteLongIntegers } from '../engine/http-call.ts'
import type { JsonObject } from '../lib/json.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { documentId } from './document-id.ts'
import { bytesOf, linesOf } from './ndjson.ts'
import { owns, type ShardView } from './shard-view.ts'

/** Text of the sequence that documents have already, by id. */
export type KnownSequences = (ids: readonly string[]) => Promise<ReadonlyMap<string, string>>

export interface DocumentLines {
  readonly view: ShardView
  readonly primaryKey: string
  readonly position: number
  /** Where the next line stands in the change; counts on. */
  readonly counter: { line: number }
  /** Absent = documents stand in the order of their last write. */
  readonly known?: KnownSequences
}

const idsPerLook = 1_000

/** Chunks of NDJSON; none when no document is the replica's. */
export function ownDocuments(chunks: AsyncIterable<Uint8Array>, lines: DocumentLines): AsyncGenerator<Uint8Array> {
  return bytesOf(lines.known === undefined ? marked(chunks, lines) : markedInTurns(chunks, lines, lines.known))
}

async function* marked(chunks: AsyncIterable<Uint8Array>, lines: DocumentLines): AsyncGenerator<string> {
  for await (const found of ownLines(chunks, lines)) yield withFields(found, found.sequence)
}

/** With one look at the node for many documents. */
async function* markedInTurns(
  chunks: AsyncIterable<Uint8Array>,
  lines: DocumentLines,
  known: KnownSequences,
): AsyncGenerator<string> {
  const first = new Map<string, string>()
  async function* mark(group: readonly OwnLine[]): AsyncGenerator<string> {
    const unknown = [...new Set(group.map(({ id }) => id))].filter((id) => !first.has(id))
    if (unknown.length > 0) for (const [id, sequence] of await known(unknown)) first.set(id, sequence)
    for (const found of group) {
      const sequence = first.get(found.id) ?? found.sequence
      first.set(found.id, sequence)
      yield withFields(found, sequence)
    }
  }
  let group: OwnLine[] = []
  for await (const found of ownLines(chunks, lines)) {
    group.push(found)
    if (group.length < idsPerLook) continue
    yield* mark(group)
    group = []
  }
  yield* mark(group)
}

interface OwnLine {
  readonly text: string
  readonly id: string
  readonly shard: number
  readonly sequence: string
}

async function* ownLines(
  chunks: AsyncIterable<Uint8Array>,
  { view, primaryKey, position, counter }: DocumentLines,
): AsyncGenerator<OwnLine> {
  for await (const text of linesOf(chunks)) {
    const line = counter.line
    counter.line += 1
    const id = idOfLine(text, primaryKey)
    const shard = shardOfKey(id, view.shards)
    if (view.own.has(shard)) yield { text, id, shard, sequence: sequenceText(position, line) }
  }
}

/** In front of the document's own fields: a line is an object and holds its primary key at least. */
function withFields({ text, shard }: OwnLine, sequence: string): string {
  const at = text.indexOf('{') + 1
  return `{"${shardField}":"${shardText(shard)}","${sequenceField}":"${sequence}",${text.slice(at)}`
}

/** Chunks of NDJSON with those of the ids that are the replica's. */
export function ownIds(chunks: AsyncIterable<Uint8Array>, view: ShardView): AsyncGenerator<Uint8Array> {
  return bytesOf(ownIdLines(chunks, view))
}

async function* ownIdLines(chunks: AsyncIterable<Uint8Array>, view: ShardView): AsyncGenerator<string> {
  for await (const text of linesOf(chunks)) if (owns(view, JSON.parse(text) as string)) yield text
}

/** Whether a small payload has anything for the replica. @param primaryKey  null = it holds ids. */
export function touches(bytes: Uint8Array, view: ShardView, primaryKey: string | null): boolean {
  if (view.own.size === view.shards) return true
  for (const text of new TextDecoder().decode(bytes).split('\n')) {
    if (text.trim() === '') continue
    if (owns(view, primaryKey === null ? (JSON.parse(text) as string) : idOfLine(text, primaryKey))) return true
  }
  return false
}

const longNumber = /\d{16}/

/** Documents were checked before they were appended; one without an id would have been refused. */
export function idOfLine(text: string, primaryKey: string): string {
  const exact = longNumber.test(text) ? quoteLongIntegers(text) : text
  return documentId(JSON.parse(exact) as JsonObject, primaryKey) ?? ''
}
