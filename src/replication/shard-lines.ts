/** Payloads as a replica of a spread index gets them: its own documents, each with its shard and its place in the order. */
import { sequenceField, sequenceText, shardField, shardText } from '../api/reserved-fields.ts'
import { quoteLongIntegers } from '../engine/http-call.ts'
import type { JsonObject } from '../lib/json.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { documentId } from './document-id.ts'
import type { DocumentPlaces } from './document-places.ts'
import { bytesOf, linesOf } from './ndjson.ts'
import { owns, type ShardView } from './shard-view.ts'

export interface DocumentLines {
  readonly view: ShardView
  readonly primaryKey: string
  readonly position: number
  /** Where the next line stands in the change; counts on. */
  readonly counter: { line: number }
  /** Absent = documents stand in the order of their last write. */
  readonly places?: DocumentPlaces
}

const idsPerLook = 1_000

/** Chunks of NDJSON; none when no document is the replica's. */
export function ownDocuments(chunks: AsyncIterable<Uint8Array>, lines: DocumentLines): AsyncGenerator<Uint8Array> {
  return bytesOf(lines.places === undefined ? marked(chunks, lines) : markedInTurns(chunks, lines, lines.places))
}

async function* marked(chunks: AsyncIterable<Uint8Array>, lines: DocumentLines): AsyncGenerator<string> {
  for await (const found of ownLines(chunks, lines)) yield withFields(found, found.sequence)
}

/** With one look at the node for many documents. */
async function* markedInTurns(
  chunks: AsyncIterable<Uint8Array>,
  lines: DocumentLines,
  places: DocumentPlaces,
): AsyncGenerator<string> {
  async function* mark(group: readonly OwnLine[]): AsyncGenerator<string> {
    const known = new Map(
      await places.of(
        lines.position,
        group.map(({ id }) => id),
      ),
    )
    for (const found of group) {
      const before = known.get(found.id)
      const place = before !== undefined && before < found.sequence ? before : found.sequence
      known.set(found.id, place)
      places.send(lines.position, found.id, place)
      yield withFields(found, place)
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
export function withFields({ text, shard }: Pick<OwnLine, 'text' | 'shard'>, sequence: string): string {
  const at = text.indexOf('{') + 1
  return `{"${shardField}":"${shardText(shard)}","${sequenceField}":"${sequence}",${text.slice(at)}`
}

/** Chunks of NDJSON with those of the ids that are the replica's. */
export function ownIds(
  chunks: AsyncIterable<Uint8Array>,
  lines: Pick<DocumentLines, 'view' | 'position' | 'places'>,
): AsyncGenerator<Uint8Array> {
  return bytesOf(ownIdLines(chunks, lines))
}

async function* ownIdLines(
  chunks: AsyncIterable<Uint8Array>,
  { view, position, places }: Pick<DocumentLines, 'view' | 'position' | 'places'>,
): AsyncGenerator<string> {
  for await (const text of linesOf(chunks)) {
    const id = JSON.parse(text) as string
    if (!owns(view, id)) continue
    places?.send(position, id, null)
    yield text
  }
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
