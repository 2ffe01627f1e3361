/**
 * Writes to one index: a batch of tasks in one transaction, each task whole or not at all. What a batch came to is stored
 * with it, so that a batch that runs again after a crash answers the same without doing the same twice.
 */
import { ApiError, type ErrorBody, errorBody } from '../api/errors.ts'
import { completeSettings, foldedMistake, foldSettings } from '../api/settings.ts'
import { assert } from '../lib/assert.ts'
import type { Bitmap } from '../lib/bitmap.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { type Members, splitMembers } from '../lib/json-cut.ts'
import type { SharedProgress } from './batch-progress.ts'
import {
  checkGeo,
  checkShape,
  documentIdOf,
  type GivenVectors,
  givenVectors,
  inferPrimaryKey,
  MissingVectors,
} from './document-check.ts'
import { editDocuments } from './document-edition.ts'
import { DocumentWriter } from './document-writer.ts'
import { EmbeddingFailed } from './embedders/document-embedder.ts'
import { tryEmbedder } from './embedders/embedder-trial.ts'
import type { BlockingEmbedding } from './embedders/embedding-thread.ts'
import { reindexingOf, usesGeo, usesShapes } from './field-rules.ts'
import { type BatchOutcome, type BatchTask, payloadLines, type TaskOutcome } from './index-batch.ts'
import {
  type IndexEnv,
  type IndexFacts,
  mainKeys,
  raiseRevision,
  readBitmap,
  readFacts,
  readJson,
  writeFacts,
  writeJson,
} from './index-env.ts'
import type { IndexSettings } from './index-settings.ts'
import { LmdbIndexReader } from './lmdb-index-reader.ts'
import { normaliseAlone, stopWordForm } from './text/normalise.ts'
import type { Adoption } from './worker-messages.ts'

export interface WriterDeps {
  /** Documents that a filter selects. @throws ApiError */
  readonly matchFilter: (reader: LmdbIndexReader, filter: Json) => Bitmap
  /** True once the batch is to be given up. */
  readonly isAborted: () => boolean
  readonly now: () => number
  readonly progress: SharedProgress
  /** Bytes of postings gathered before they are written out. */
  readonly postingBytesMax: number
  /** Vectors of documents and of trials, made while the batch waits. */
  readonly embedding: BlockingEmbedding
}

/** The batch was given up; nothing of it is stored. */
export class BatchAborted extends Error {
  override readonly name = 'BatchAborted'
}

/** Bytes of a task's payload that are kept parsed; larger payloads are read twice. */
const parsedBytesMax = 8 * 1024 * 1024

interface ParsedDocument {
  readonly id: string
  readonly document: JsonObject
  readonly members: Members
  readonly vectors: ReadonlyMap<string, GivenVectors>
}

export function runBatch(env: IndexEnv, tasks: readonly BatchTask[], deps: WriterDeps): BatchOutcome {
  try {
    return env.root.transactionSync(() => new BatchRun(env, deps).run(tasks))
  } catch (error) {
    if (!(error instanceof EmbeddingFailed)) throw error
    return env.root.transactionSync(() => new BatchRun(env, deps).fail(tasks, error.body))
  }
}

/** Makes an index of another engine one of ours: what that engine's tasks came to says nothing about our tasks. */
export function adoptIndex(env: IndexEnv, { createdAt, updatedAt }: Adoption): BatchOutcome {
  return env.root.transactionSync(() => {
    const facts = readFacts(env)
    assert(facts !== undefined, 'the file holds an index')
    const adopted = { ...facts, createdAt: createdAt ?? facts.createdAt, updatedAt: updatedAt ?? facts.updatedAt }
    writeFacts(env, adopted)
    writeJson(env.main, mainKeys.outcomes, [])
    raiseRevision(env)
    const documentCount = readBitmap(env.main, mainKeys.documentIds).size
    const { primaryKey } = adopted
    const index = { primaryKey, createdAt: adopted.createdAt, updatedAt: adopted.updatedAt, documentCount }
    return { outcomes: [], index }
  })
}

class BatchRun {
  readonly #env: IndexEnv
  readonly #deps: WriterDeps
  #facts: IndexFacts
  #writer: DocumentWriter

  constructor(env: IndexEnv, deps: WriterDeps) {
    const now = deps.now()
    this.#env = env
    this.#deps = deps
    this.#facts = readFacts(env) ?? {
      primaryKey: null,
      settings: {},
      fieldNames: [],
      vocabularyVersion: 0,
      fieldDistribution: {},
      documentBytes: 0,
      createdAt: now,
      updatedAt: now,
    }
    this.#writer = this.#openWriter(this.#facts)
  }

  run(tasks: readonly BatchTask[]): BatchOutcome {
    return this.#end(tasks, (task) => {
      this.#checkAborted()
      return this.#runTask(task)
    })
  }

  /** Stores that the tasks failed, and nothing else. */
  fail(tasks: readonly BatchTask[], error: ErrorBody): BatchOutcome {
    return this.#end(tasks, (task) => ({ uid: task.uid, status: 'failed', error, details: failedDetails(task) }))
  }

  #end(tasks: readonly BatchTask[], outcomeOf: (task: BatchTask) => TaskOutcome): BatchOutcome {
    const known = readJson<readonly TaskOutcome[]>(this.#env.main, mainKeys.outcomes) ?? []
    const outcomes = tasks.map((task) => known.find((outcome) => outcome.uid === task.uid) ?? outcomeOf(task))
    this.#closeWriter()
    this.#deps.progress.enter('finalizing')
    this.#facts = { ...this.#facts, updatedAt: this.#deps.now() }
    writeFacts(this.#env, this.#facts)
    writeJson(this.#env.main, mainKeys.outcomes, outcomes)
    raiseRevision(this.#env)
    const { primaryKey, createdAt, updatedAt } = this.#facts
    return { outcomes, index: { primaryKey, createdAt, updatedAt, documentCount: this.#writer.documentCount } }
  }

  #runTask(task: BatchTask): TaskOutcome {
    try {
      return { uid: task.uid, status: 'succeeded', error: null, details: this.#perform(task) }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return { uid: task.uid, status: 'failed', error: error.body, details: failedDetails(task) }
    }
  }

  /** Before a refusal (`ApiError`) is thrown, nothing of the task was written. */
  #perform(task: BatchTask): JsonObject {
    const { operation } = task
    switch (operation.kind) {
      case 'documents-put':
        return this.#putDocuments(task, operation)
      case 'documents-delete':
        return { deletedDocuments: this.#deleteIds(task) }
      case 'documents-delete-by-filter':
        return { deletedDocuments: this.#deleteMatching(operation.filter) }
      case 'documents-clear':
        return { deletedDocuments: this.#writer.clear() }
      case 'documents-edit':
        return this.#edit(operation)
      case 'settings':
        this.#applySettings(operation.settings)
        return {}
      case 'index-create':
      case 'index-update':
        if (operation.primaryKey !== null) this.#setPrimaryKey(operation.primaryKey, task)
        return {}
      case 'index-compact':
        return {}
      default:
        throw new Error(`not an operation of one index: ${operation.kind}`)
    }
  }

  #putDocuments(task: BatchTask, operation: Extract<BatchTask['operation'], { kind: 'documents-put' }>): JsonObject {
    const primaryKey = this.#primaryKeyFor(task, operation.primaryKey)
    const { merge, skipCreation } = operation
    this.#deps.progress.enter('payload')
    const distinct = new Set<string>()
    const put = ({ id, document, members, vectors }: ParsedDocument): void => {
      distinct.add(id)
      if (!skipCreation || this.#writer.has(id)) this.#writer.put(id, document, members, vectors, merge)
    }
    const kept: ParsedDocument[] = []
    let parsedBytes = 0
    let isKept = true
    let received = 0
    const missing = new MissingVectors()
    for (const parsed of this.#parse(task, primaryKey)) {
      received += 1
      missing.note(this.#writer.settings, parsed.id, parsed.vectors, (name) => this.#writer.hasVectors(name, parsed.id))
      parsedBytes += parsed.byteCount
      if (isKept) kept.push(parsed)
      if (parsedBytes > parsedBytesMax) {
        isKept = false
        kept.length = 0
      }
    }
    missing.check()
    this.#deps.progress.advance('payload')
    // From here on the task is accepted.
    if (this.#facts.primaryKey !== primaryKey) this.#facts = { ...this.#facts, primaryKey }
    for (const parsed of isKept ? kept : this.#parse(task, primaryKey)) put(parsed)
    return { receivedDocuments: received, indexedDocuments: distinct.size }
  }

  *#parse(task: BatchTask, primaryKey: string | null): Generator<ParsedDocument & { byteCount: number }> {
    const settings = this.#writer.settings
    const fresh = new Set<string>()
    let count = 0
    for (const text of task.payload === null ? [] : payloadLines(task.payload)) {
      count += 1
      if (count % 256 === 0) this.#checkAborted()
      const document = parseObject(text)
      const members = splitMembers(text)
      const id = documentIdOf(primaryKey ?? '', document, members, text)
      checkGeo(settings, document, id)
      checkShape(settings, document)
      if (!this.#writer.hasRoomFor(document, fresh))
        throw new ApiError('max_fields_limit_exceeded', 'A document cannot contain more than 65,535 fields.')
      const vectors = givenVectors(settings, document, id)
      yield { id, document, members, vectors, byteCount: text.length }
    }
  }

  /** @throws ApiError messages 22 to 24. */
  #primaryKeyFor(task: BatchTask, asked: string | null): string | null {
    const known = this.#facts.primaryKey
    if (known !== null) {
      if (asked !== null && asked !== known) throw primaryKeyExists(known)
      return known
    }
    if (asked !== null) return asked
    for (const text of task.payload === null ? [] : payloadLines(task.payload))
      return inferPrimaryKey(parseObject(text))
    return null
  }

  #deleteIds(task: BatchTask): number {
    let deleted = 0
    for (const line of task.payload === null ? [] : payloadLines(task.payload)) {
      const id: unknown = JSON.parse(line)
      if (this.#writer.delete(typeof id === 'string' ? id : JSON.stringify(id))) deleted += 1
    }
    return deleted
  }

  #edit(operation: Extract<BatchTask['operation'], { kind: 'documents-edit' }>): JsonObject {
    const reader = this.#reader()
    const { filter } = operation
    const matching = filter === null ? reader.documentIds : this.#deps.matchFilter(reader, filter)
    return editDocuments(operation, matching, {
      reader,
      writer: this.#writer,
      primaryKey: this.#facts.primaryKey,
      checkAborted: () => this.#checkAborted(),
    })
  }

  /** Sees everything that was written so far. */
  #reader(): LmdbIndexReader {
    this.#closeWriter()
    writeFacts(this.#env, this.#facts)
    return new LmdbIndexReader(this.#env)
  }

  #deleteMatching(filter: Json): number {
    const matching = this.#deps.matchFilter(this.#reader(), filter)
    const ids = this.#writer.idsOf(matching)
    for (const id of ids) this.#writer.delete(id)
    return ids.length
  }

  #applySettings(sent: JsonObject): void {
    const change = withNormalWords(sent)
    const folded = foldSettings(this.#facts.settings, change)
    const before = completeSettings(this.#facts.settings)
    const after = completeSettings(folded)
    if (JSON.stringify(folded) === JSON.stringify(this.#facts.settings)) return
    const mistake = foldedMistake(null, this.#facts.settings, change)
    if (mistake !== null) throw mistake
    const embedderDimensions = this.#embedderDimensions(before, after)
    this.#closeWriter()
    const plan = reindexingOf(before, after, this.#facts.fieldNames)
    const next = { ...this.#facts, settings: folded, embedderDimensions }
    const writer = this.#openWriter(next)
    if (plan.vectors) writer.checkVectors(before)
    if ((usesGeo(after) && !usesGeo(before)) || (usesShapes(after) && !usesShapes(before))) this.#checkPlaces(after)
    // From here on the change is accepted.
    this.#facts = next
    this.#writer = writer
    writer.reindex(plan, before)
  }

  /** Positions and shapes that nobody used until now must be right before they are. @throws ApiError messages 30 to 32 */
  #checkPlaces(settings: IndexSettings): void {
    const reader = this.#reader()
    for (const docid of reader.documentIds) {
      this.#checkAborted()
      const stored = reader.storedDocument(docid)
      if (stored === undefined || !stored.text.includes('"_geo')) continue
      const document = JSON.parse(stored.text) as JsonObject
      checkGeo(settings, document, stored.id)
      checkShape(settings, document)
    }
  }

  /** Embedders that are new or changed are tried. @throws ApiError `vector_embedding_error` */
  #embedderDimensions(before: IndexSettings, after: IndexSettings): Readonly<Record<string, number>> {
    const known = this.#facts.embedderDimensions ?? {}
    const deps = { embedding: this.#deps.embedding, checkAborted: () => this.#checkAborted() }
    return Object.fromEntries(
      Object.entries(after.embedders).flatMap(([name, embedder]): [string, number][] => {
        const isSame = JSON.stringify(before.embedders[name]) === JSON.stringify(embedder)
        const dimensions = isSame && known[name] !== undefined ? known[name] : tryEmbedder(embedder, deps)
        return dimensions === null ? [] : [[name, dimensions]]
      }),
    )
  }

  #setPrimaryKey(asked: string, task: BatchTask): void {
    const known = this.#facts.primaryKey
    if (known !== null && known !== asked && (this.#writer.documentCount > 0 || task.operation.kind === 'index-create'))
      throw primaryKeyExists(known)
    this.#facts = { ...this.#facts, primaryKey: asked }
  }

  #openWriter(facts: IndexFacts): DocumentWriter {
    return new DocumentWriter(this.#env, facts, {
      postingBytesMax: this.#deps.postingBytesMax,
      embedding: this.#deps.embedding,
      progress: this.#deps.progress,
      checkAborted: () => this.#checkAborted(),
    })
  }

  /** Writes out what the writer gathered; it goes on with what is stored. */
  #closeWriter(): void {
    this.#facts = this.#writer.flush(this.#facts)
  }

  #checkAborted(): void {
    if (this.#deps.isAborted()) throw new BatchAborted('the batch was given up')
  }
}

function parseObject(text: string): JsonObject {
  const document = JSON.parse(text) as Json
  if (!isObject(document))
    throw new ApiError(
      'malformed_payload',
      "The `ndjson` payload provided is malformed. `Couldn't serialize document value: data are neither an object nor a list of objects`.",
    )
  return document
}

/** Message 22; the scheduler puts the index's name into it, which an index does not know. */
const primaryKeyExists = (known: string): ApiError =>
  new ApiError('index_primary_key_already_exists', `Index already has a primary key: \`${known}\`.`)

export function failedDetails({ operation }: Pick<BatchTask, 'operation'>): JsonObject {
  if (operation.kind === 'documents-put') return { indexedDocuments: 0 }
  if (operation.kind === 'documents-edit') return { editedDocuments: 0 }
  if (operation.kind.startsWith('documents-')) return { deletedDocuments: 0 }
  return {}
}

/** A failure that is ours or the machine's: the tasks of the batch end with it. */
export function internalError(error: unknown): ErrorBody {
  return errorBody('internal', error instanceof Error ? error.message : String(error))
}

/** Words of settings in the form in which they are compared, which is also how they are shown. */
function withNormalWords(change: JsonObject): JsonObject {
  const { stopWords, typoTolerance } = change
  const typo = isObject(typoTolerance) ? typoTolerance : undefined
  const listed = typo?.disableOnWords
  const formsOf = (words: readonly Json[], form: (word: string) => string) =>
    words.map((word) => (typeof word === 'string' ? form(word) : word))
  return {
    ...change,
    ...(Array.isArray(stopWords) ? { stopWords: formsOf(stopWords, stopWordForm) } : {}),
    ...(Array.isArray(listed) ? { typoTolerance: { ...typo, disableOnWords: formsOf(listed, normaliseAlone) } } : {}),
  }
}
