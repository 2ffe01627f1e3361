/**
 * The LMDB environment of one index. One thread writes (the indexing worker), in synchronous transactions, because a throw
 * inside lmdb's asynchronous ones does not roll back; any thread reads.
 */
import { mkdirSync } from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import { assert } from '../lib/assert.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { JsonObject } from '../lib/json.ts'

export type Table = Database<Uint8Array, Uint8Array>

export interface IndexEnv {
  readonly folder: string
  readonly root: RootDatabase<Uint8Array, Uint8Array>
  /** Small facts under text keys: see `IndexFacts`. */
  readonly main: Table
  /** docid → id and JSON text. */
  readonly documents: Table
  /** id → docid. */
  readonly ids: Table
  readonly postings: Table
  /** Every indexed word, with an empty value: read in whole by searches. */
  readonly vocabulary: Table
  /** Postings of prefixes that begin many words: see `prefix-table.ts`. */
  readonly prefixes: Table
  readonly facets: Table
  readonly vectors: Table
}

/** Facts of an index that are read at the start of every search. */
export interface IndexFacts {
  readonly primaryKey: string | null
  /** As `GET /settings` shows them, with secrets. */
  readonly settings: JsonObject
  /** In the order in which the index first met them. */
  readonly fieldNames: readonly string[]
  /** Rises whenever a word appears or disappears. */
  readonly vocabularyVersion: number
  /** Documents per top-level field. */
  readonly fieldDistribution: Readonly<Record<string, number>>
  /** Bytes of all documents' JSON. */
  readonly documentBytes: number
  /** Numbers per vector, by embedder, where they are known. */
  readonly embedderDimensions?: Readonly<Record<string, number>>
  readonly createdAt: number
  readonly updatedAt: number
}

/** Format of the tables. An index of another one is not read. */
export const indexFormat = 1

/** Address space that an index may map; the file grows only with what it holds. */
const mapBytes = 64 * 2 ** 30

/**
 * Opens an index; for writing, it is made where it does not exist. `read` needs that this process has it open for writing
 * already: see `open-indexes.ts`.
 */
export function openIndexEnv(folder: string, access: 'write' | 'read'): IndexEnv {
  if (access === 'write') mkdirSync(folder, { recursive: true })
  const root: RootDatabase<Uint8Array, Uint8Array> = open({
    path: folder,
    encoding: 'binary',
    keyEncoding: 'binary',
    maxDbs: 12,
    mapSize: mapBytes,
    noSubdir: false,
    overlappingSync: false,
    cache: false,
    readOnly: access === 'read',
  })
  const table = (name: string): Table => root.openDB({ name, encoding: 'binary', keyEncoding: 'binary', cache: false })
  return {
    folder,
    root,
    main: table('main'),
    documents: table('documents'),
    ids: table('ids'),
    postings: table('postings'),
    vocabulary: table('vocabulary'),
    prefixes: table('prefixes'),
    facets: table('facets'),
    vectors: table('vectors'),
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const mainKeys = {
  facts: encoder.encode('facts'),
  documentIds: encoder.encode('documentIds'),
  outcomes: encoder.encode('outcomes'),
  /** Rises with every batch; four bytes. */
  revision: encoder.encode('revision'),
  /** The revision for which the postings of prefixes hold; four bytes. */
  prefixes: encoder.encode('prefixes'),
  /** See `vocabulary-changes.ts`. */
  vocabularyChanges: encoder.encode('vocabularyChanges'),
  vectorDocids: (embedder: string) => encoder.encode(`vectors:${embedder}`),
  /** Facts of blocks of vectors: see `vector-table.ts`. */
  vectorBlocks: (embedder: string) => encoder.encode(`vectorBlocks:${embedder}`),
}

export function readJson<T>(table: Table, key: Uint8Array): T | undefined {
  const bytes = table.getBinary(key)
  return bytes === undefined ? undefined : (JSON.parse(decoder.decode(bytes)) as T)
}

export function writeJson(table: Table, key: Uint8Array, value: unknown): void {
  table.putSync(key, encoder.encode(JSON.stringify(value)))
}

/** The facts, or undefined for an index that no batch has made yet. */
export function readFacts(env: IndexEnv): IndexFacts | undefined {
  const stored = readJson<IndexFacts & { format: number }>(env.main, mainKeys.facts)
  if (stored === undefined) return undefined
  assert(stored.format === indexFormat, `index format ${stored.format}, this program reads ${indexFormat}`)
  return stored
}

export function writeFacts(env: IndexEnv, facts: IndexFacts): void {
  writeJson(env.main, mainKeys.facts, { format: indexFormat, ...facts })
}

export function readBitmap(table: Table, key: Uint8Array): Bitmap {
  const bytes = table.getBinary(key)
  return bytes === undefined ? Bitmap.of() : Bitmap.deserialize(bytes)
}

/** Which batch the index is at; 0 before the first. */
export function readRevision(env: IndexEnv): number {
  return readNumber(env, mainKeys.revision) ?? 0
}

/** What a batch keeps up to date stays so: see `prefixesHold`. */
export function raiseRevision(env: IndexEnv): void {
  const keepsPrefixes = prefixesHold(env)
  writeNumber(env, mainKeys.revision, (readRevision(env) + 1) >>> 0)
  if (keepsPrefixes) notePrefixes(env)
}

/**
 * Whether the stored postings of prefixes are those of the index as it is. Not where an earlier version of this program
 * wrote last, which does not know them.
 */
export function prefixesHold(env: IndexEnv): boolean {
  return readNumber(env, mainKeys.prefixes) === readRevision(env)
}

export function notePrefixes(env: IndexEnv): void {
  writeNumber(env, mainKeys.prefixes, readRevision(env))
}

function readNumber(env: IndexEnv, key: Uint8Array): number | undefined {
  const bytes = env.main.getBinary(key)
  return bytes === undefined ? undefined : Buffer.from(bytes).readUInt32LE(0)
}

function writeNumber(env: IndexEnv, key: Uint8Array, number: number): void {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(number, 0)
  env.main.putSync(key, bytes)
}

interface TableStats {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

/** Bytes of pages by table, under the names that the reference gives to tables of the same content. */
export function tableBytes(env: IndexEnv): Readonly<Record<string, number>> {
  const { main, documents, ids, postings, vocabulary, facets, vectors } = env
  const named = { main, documents, externalDocumentsIds: ids, postings, vocabulary, facets, vectors }
  return Object.fromEntries(
    Object.entries(named).map(([name, table]) => {
      const stats = table.getStats() as TableStats
      return [name, stats.pageSize * (stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages)]
    }),
  )
}
