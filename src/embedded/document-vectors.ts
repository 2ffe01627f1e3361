/**
 * The vectors of one index while a batch writes its documents: those that came with them, and those that embedders make.
 * Runs inside the batch's transaction, which waits for the embedders.
 */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { type GivenVectors, storedVectors } from './document-check.ts'
import { DocumentEmbedder, type DocumentEmbedderDeps } from './embedders/document-embedder.ts'
import { type Reembedding, reembeddingOf } from './embedders/embedder-change.ts'
import { searchWeight } from './field-rules.ts'
import type { IndexEnv } from './index-env.ts'
import type { IndexSettings } from './index-settings.ts'
import { quantised, type StoredVectors, VectorTable } from './vector-table.ts'

export type DocumentVectorsDeps = Omit<DocumentEmbedderDeps, 'store'>

export interface WrittenDocument {
  readonly docid: number
  readonly id: string
  /** As it was stored; undefined = new. */
  readonly before: (() => JsonObject) | undefined
  readonly after: () => JsonObject
  /** What the change says of vectors, by embedder. */
  readonly given: ReadonlyMap<string, GivenVectors>
}

export class DocumentVectors {
  readonly #settings: IndexSettings
  readonly #table: VectorTable
  readonly #embedders: readonly DocumentEmbedder[]
  readonly #deps: DocumentVectorsDeps

  /** @param dimensions  by embedder, where they are known. */
  constructor(
    env: IndexEnv,
    settings: IndexSettings,
    dimensions: Readonly<Record<string, number>>,
    deps: DocumentVectorsDeps,
  ) {
    this.#settings = settings
    this.#deps = deps
    this.#table = new VectorTable(env, Object.keys(settings.embedders))
    this.#embedders = Object.entries(settings.embedders).map(
      ([name, embedder]) =>
        new DocumentEmbedder(name, embedder, dimensions[name] ?? null, {
          ...deps,
          store: (docid, vectors) => this.#put(name, docid, { vectors, regenerate: true, isGenerated: true }),
        }),
    )
  }

  get isIdle(): boolean {
    return this.#embedders.length === 0
  }

  /** The stored document itself says what its vectors are, or that it has none. */
  isOwn(embedder: string, docid: number): boolean {
    return this.#table.read(embedder, docid)?.regenerate === false
  }

  read(embedder: string, docid: number): StoredVectors | undefined {
    return this.#table.read(embedder, docid)
  }

  /** A document that comes or changes. Vectors may be made later, by `flushRequests`. @throws EmbeddingFailed */
  write(document: WrittenDocument): void {
    for (const embedder of this.#embedders) {
      const given = document.given.get(embedder.name)
      if (given !== undefined && given.vectors !== null) this.#put(embedder.name, document.docid, given)
      else if (document.before === undefined) {
        if (given?.regenerate === false) this.#put(embedder.name, document.docid, given)
        else this.#request(embedder, document)
      } else if (given === undefined || given.regenerate) this.#update(embedder, document, given !== undefined)
    }
  }

  delete(docid: number): void {
    this.#table.deleteAll(docid)
  }

  clear(): void {
    this.#table.clear()
  }

  /** @throws EmbeddingFailed */
  flushRequests(): void {
    for (const embedder of this.#embedders) embedder.flush()
  }

  flush(): void {
    this.#table.flush()
  }

  #request(embedder: DocumentEmbedder, { docid, id, after }: WrittenDocument): void {
    embedder.request(docid, id, embedder.inputsOf(id, after(), this.#isSearchable))
  }

  /** Vectors of a stored document that are computed anew, or are to be from now on. */
  #update(embedder: DocumentEmbedder, document: WrittenDocument, isAsked: boolean): void {
    const row = this.#table.read(embedder.name, document.docid)
    if (row?.regenerate === false && !isAsked) return
    const { docid, id, before, after } = document
    const inputs = embedder.inputsOf(id, after(), this.#isSearchable)
    const isChanged =
      row === undefined ||
      !row.regenerate ||
      before === undefined ||
      embedder.isChanged(inputs, () => embedder.inputsOf(id, before(), this.#isSearchable))
    if (isChanged) embedder.request(docid, id, inputs)
  }

  /**
   * Brings vectors to other settings. New embedders take what documents hold for them, vectors of clients go back into the
   * documents when their embedder goes.
   *
   * @param before     the settings until now.
   * @param documents  every document; `replace` stores it with other `_vectors`.
   * @throws EmbeddingFailed
   */
  applySettings(before: IndexSettings, documents: Iterable<StoredForVectors>): void {
    const changes = this.#changesSince(before)
    const old = new DocumentVectorsBefore(before, this.#deps)
    const after = Object.keys(this.#settings.embedders)
    const gone = Object.keys(before.embedders).filter((name) => !after.includes(name))
    const docids: number[] = []
    for (const document of documents) {
      docids.push(document.docid)
      const vectors = document.takeVectors()
      for (const name of gone) {
        const row = this.#table.read(name, document.docid)
        if (row !== undefined && !row.regenerate)
          vectors[name] = { regenerate: false, embeddings: row.vectors.map((vector) => [...Array.from(vector)]) }
      }
      for (const change of changes) this.#applyChange(change, document, vectors, old)
      document.replaceVectors(vectors)
    }
    this.flushRequests()
    for (const name of gone) this.#table.drop(name, docids)
  }

  #changesSince(before: IndexSettings): readonly EmbedderChange[] {
    const isResearched =
      JSON.stringify(before.searchableAttributes) !== JSON.stringify(this.#settings.searchableAttributes)
    return this.#embedders.flatMap((embedder): EmbedderChange[] => {
      const now = this.#settings.embedders[embedder.name] ?? {}
      const old = before.embedders[embedder.name]
      if (old === undefined) return [{ embedder, isNew: true, reembedding: 'all', quantises: false }]
      const reembedding = reembeddingOf(old, now)
      const quantises = now.binaryQuantized === true && old.binaryQuantized !== true
      const sees = reembedding === 'none' && isResearched ? 'prompts' : reembedding
      return sees === 'none' && !quantises ? [] : [{ embedder, isNew: false, reembedding: sees, quantises }]
    })
  }

  #applyChange(
    { embedder, isNew, reembedding, quantises }: EmbedderChange,
    document: StoredForVectors,
    vectors: Record<string, Json>,
    old: DocumentVectorsBefore,
  ): void {
    const { docid, id } = document
    if (isNew) {
      const found = storedVectors(vectors[embedder.name])
      delete vectors[embedder.name]
      if (found !== undefined && (found.vectors !== null || !found.regenerate)) this.#put(embedder.name, docid, found)
      else this.#request(embedder, { docid, id, before: undefined, after: document.read, given: new Map() })
      return
    }
    const row = this.#table.read(embedder.name, docid)
    if (row !== undefined && quantises) this.#put(embedder.name, docid, row)
    if (row?.regenerate === false || reembedding === 'none') return
    const inputs = embedder.inputsOf(id, document.read(), this.#isSearchable)
    const isChanged =
      reembedding === 'all' ||
      row === undefined ||
      embedder.isChanged(inputs, () => old.inputsOf(embedder.name, id, document.read()))
    if (isChanged) embedder.request(docid, id, inputs)
  }

  #put(embedder: string, docid: number, given: GivenVectors | StoredVectors): void {
    const isQuantised = this.#settings.embedders[embedder]?.binaryQuantized === true
    const vectors = given.vectors ?? []
    this.#table.put(embedder, docid, {
      vectors: isQuantised ? vectors.map(quantised) : vectors,
      regenerate: given.regenerate,
      isGenerated: 'isGenerated' in given && given.isGenerated,
    })
  }

  readonly #isSearchable = (field: string): boolean => searchWeight(this.#settings, field) !== undefined
}

interface EmbedderChange {
  readonly embedder: DocumentEmbedder
  readonly isNew: boolean
  readonly reembedding: Reembedding
  readonly quantises: boolean
}

/** A stored document, while settings change. */
export interface StoredForVectors {
  readonly docid: number
  readonly id: string
  readonly read: () => JsonObject
  /** Its `_vectors`, of which the caller may change the members. */
  takeVectors(): Record<string, Json>
  replaceVectors(vectors: JsonObject): void
}

/** How documents were shown to embedders under the settings until now. */
class DocumentVectorsBefore {
  readonly #settings: IndexSettings
  readonly #deps: DocumentVectorsDeps
  readonly #embedders = new Map<string, DocumentEmbedder>()

  constructor(settings: IndexSettings, deps: DocumentVectorsDeps) {
    this.#settings = settings
    this.#deps = deps
  }

  inputsOf(name: string, id: string, document: JsonObject): readonly Json[] {
    let embedder = this.#embedders.get(name)
    if (embedder === undefined) {
      const settings = this.#settings.embedders[name] ?? {}
      embedder = new DocumentEmbedder(name, settings, null, { ...this.#deps, store: () => {} })
      this.#embedders.set(name, embedder)
    }
    return embedder.inputsOf(id, document, (field) => searchWeight(this.#settings, field) !== undefined)
  }
}

/** The `_vectors` of a document's text, parsed. */
export function vectorsInText(text: string | undefined): Record<string, Json> {
  if (text === undefined) return {}
  const given = JSON.parse(text) as Json
  return isObject(given) ? { ...given } : {}
}
