/**
 * The documents of one index while a batch writes them: changes are gathered, compared with what is stored, and only the
 * difference reaches the postings. Runs inside the batch's transaction.
 */
import { completeSettings } from '../api/settings.ts'
import type { Bitmap } from '../lib/bitmap.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { joinMembers, type Members, splitMembers } from '../lib/json-cut.ts'
import type { SharedProgress } from './batch-progress.ts'
import {
  checkDimensions,
  type GivenVectors,
  givenVectors,
  MissingVectors,
  needsGivenVectors,
  restOfVectors,
} from './document-check.ts'
import {
  type DocumentFacts,
  eachFieldName,
  type FactParts,
  FactReader,
  FieldNames,
  isHiddenPair,
} from './document-facts.ts'
import { DocumentVectors, type StoredForVectors, vectorsInText } from './document-vectors.ts'
import type { BlockingEmbedding } from './embedders/embedding-thread.ts'
import { encodeFacetValues } from './facet-values.ts'
import type { Reindexing } from './field-rules.ts'
import { boxBlocks, GeoBlocks, geoBlocks } from './geo-blocks.ts'
import { type IndexEnv, type IndexFacts, mainKeys, readBitmap } from './index-env.ts'
import { facetKind, KeyBuilder } from './index-keys.ts'
import type { IndexSettings } from './index-settings.ts'
import { flushPostings, internedMax } from './posting-flush.ts'
import { Interner, KeySet, PostingTable } from './posting-table.ts'
import { PrefixTable } from './prefix-table.ts'
import { decodeDocument, encodeDocument } from './stored-document.ts'
import { logChanges, loggedMax } from './vocabulary-changes.ts'

export interface DocumentWriterOptions {
  readonly postingBytesMax: number
  readonly embedding: BlockingEmbedding
  readonly progress: SharedProgress
  readonly checkAborted: () => void
}

/** Field numbers are 16 bits (M-E4). */
const fieldsMax = 65_535
/** Text of changed documents that waits for comparison. */
const pendingBytesMax = 8 * 1024 * 1024

interface PendingDocument {
  readonly id: string
  readonly docid: number
  /** As stored before the batch; undefined = new. */
  readonly before: string | undefined
  /** undefined = deleted. */
  members: Members | undefined
  /** The members parsed, when that is at hand. */
  document: JsonObject | undefined
  vectors: ReadonlyMap<string, GivenVectors>
}

const everything: FactParts = { words: true, facets: true }

export class DocumentWriter {
  readonly settings: IndexSettings
  readonly #env: IndexEnv
  readonly #options: DocumentWriterOptions
  readonly #keys = new KeyBuilder()
  readonly #fields: FieldNames
  readonly #interner = new Interner()
  readonly #table = new PostingTable()
  readonly #prefixes: PrefixTable
  readonly #reader: FactReader
  readonly #geo: GeoBlocks
  readonly #boxes: GeoBlocks
  readonly #vectors: DocumentVectors
  readonly #documentIds: Bitmap
  readonly #usedBefore: Bitmap
  readonly #lastUsed: number | undefined
  readonly #distribution: Map<string, number>
  readonly #pending = new Map<string, PendingDocument>()
  #pendingBytes = 0
  #nextDocid = 0
  #documentBytes: number
  /** Words that came or went since the last `flush`; undefined = more than are told of, or all of them. */
  #changedWords: Map<string, boolean> | undefined = new Map()
  readonly #keySets = { before: new KeySet(), after: new KeySet() }

  constructor(env: IndexEnv, facts: IndexFacts, options: DocumentWriterOptions) {
    this.settings = completeSettings(facts.settings)
    this.#env = env
    this.#options = options
    this.#prefixes = new PrefixTable(env, this.#interner)
    this.#fields = new FieldNames(facts.fieldNames)
    this.#reader = new FactReader(this.settings, this.#fields, this.#interner)
    this.#geo = new GeoBlocks(env.facets, geoBlocks)
    this.#boxes = new GeoBlocks(env.facets, boxBlocks)
    this.#vectors = new DocumentVectors(env, this.settings, facts.embedderDimensions ?? {}, options)
    this.#usedBefore = readBitmap(env.main, mainKeys.documentIds)
    this.#lastUsed = this.#usedBefore.max()
    this.#documentIds = this.#usedBefore.clone()
    this.#distribution = new Map(Object.entries(facts.fieldDistribution))
    this.#documentBytes = facts.documentBytes
  }

  get documentCount(): number {
    return this.#documentIds.size
  }

  has(id: string): boolean {
    const pending = this.#pending.get(id)
    return pending === undefined ? this.#storedDocid(id) !== undefined : pending.members !== undefined
  }

  /** Answers whether the index can take the document's field names; `fresh` gathers those that it does not know. */
  hasRoomFor(document: JsonObject, fresh: Set<string>): boolean {
    eachFieldName(document, (name) => {
      if (!this.#fields.has(name)) fresh.add(name)
    })
    return this.#fields.names.length + fresh.size <= fieldsMax
  }

  /** The document says what its vectors are, or that it has none. */
  hasVectors(embedder: string, id: string): boolean {
    const pending = this.#pending.get(id)
    const given = pending?.vectors.get(embedder)
    if (given !== undefined) return !given.regenerate
    if (pending !== undefined && pending.members === undefined) return false
    const docid = this.#storedDocid(id)
    return docid !== undefined && this.#vectors.isOwn(embedder, docid)
  }

  put(
    id: string,
    document: JsonObject,
    members: Members,
    vectors: ReadonlyMap<string, GivenVectors>,
    merge: boolean,
  ): void {
    const pending = this.#open(id)
    const own = this.#withoutVectors(members)
    const current = merge ? (pending.members ?? undefined) : undefined
    if (current === undefined) {
      pending.members = own
      pending.document = document
    } else {
      pending.members = new Map([...current, ...own])
      pending.document = undefined
    }
    pending.vectors = new Map([...pending.vectors, ...vectors])
    this.#documentIds.add(pending.docid)
    for (const value of members.values()) this.#pendingBytes += value.length + 16
    if (this.#pendingBytes > pendingBytesMax) this.#flushPending()
  }

  /** Answers whether there was such a document. */
  delete(id: string): boolean {
    if (!this.has(id)) return false
    const pending = this.#open(id)
    pending.members = undefined
    pending.document = undefined
    pending.vectors = new Map()
    this.#documentIds.remove(pending.docid)
    this.#pendingBytes += pending.before?.length ?? 0
    if (this.#pendingBytes > pendingBytesMax) this.#flushPending()
    return true
  }

  /** Removes every document; answers how many there were. */
  clear(): number {
    const count = this.#documentIds.size
    this.#pending.clear()
    this.#pendingBytes = 0
    this.#table.clear()
    this.#forgetNames()
    for (const table of [
      this.#env.documents,
      this.#env.ids,
      this.#env.postings,
      this.#env.vocabulary,
      this.#env.facets,
    ])
      table.clearSync()
    this.#prefixes.clear()
    this.#geo.forget()
    this.#boxes.forget()
    this.#vectors.clear()
    for (const docid of this.#documentIds.toArray()) this.#documentIds.remove(docid)
    this.#distribution.clear()
    this.#documentBytes = 0
    this.#changedWords = undefined
    return count
  }

  idsOf(docids: Bitmap): string[] {
    return docids.toArray().map((docid) => decodeDocument(this.#env.documents.getBinary(this.#keys.docid(docid))!).id)
  }

  /** Writes everything out; the writer can be used on. Answers the facts as they are now. */
  flush(facts: IndexFacts): IndexFacts {
    this.#flushPending()
    this.#options.progress.enter('words')
    this.#flushTable()
    this.#geo.flush()
    this.#boxes.flush()
    this.#vectors.flush()
    this.#env.main.putSync(mainKeys.documentIds, this.#documentIds.serialize())
    const areWordsSame = this.#changedWords?.size === 0
    const vocabularyVersion = facts.vocabularyVersion + (areWordsSame ? 0 : 1)
    if (!areWordsSame) logChanges(this.#env, vocabularyVersion, this.#changedWords)
    this.#changedWords = new Map()
    return {
      ...facts,
      fieldNames: [...this.#fields.names],
      fieldDistribution: Object.fromEntries([...this.#distribution].filter(([, count]) => count > 0)),
      documentBytes: this.#documentBytes,
      vocabularyVersion,
    }
  }

  /** Builds again what a change of settings makes different. `before`: the settings until now. */
  reindex(plan: Reindexing, before: IndexSettings): void {
    if (plan.vectors) this.#vectors.applySettings(before, this.#storedForVectors())
    if (!plan.words && !plan.facets) return
    if (plan.words) {
      this.#env.postings.clearSync()
      this.#env.vocabulary.clearSync()
      this.#prefixes.clear()
      this.#changedWords = undefined
    }
    if (plan.facets) {
      this.#env.facets.clearSync()
      this.#geo.forget()
      this.#boxes.forget()
    }
    const { after } = this.#keySets
    this.#options.progress.begin('documents', this.#documentIds.size)
    for (const docid of this.#documentIds.toArray()) {
      this.#options.checkAborted()
      this.#options.progress.advance('documents')
      const stored = decodeDocument(this.#env.documents.getBinary(this.#keys.docid(docid))!)
      after.clear()
      const facts = this.#reader.read(JSON.parse(stored.text) as JsonObject, plan, after)
      for (let index = 0; index < after.size; index += 1) {
        const [a, b] = [after.a[index]!, after.b[index]!]
        if (!isHiddenPair(after, a, b)) this.#table.push(a, b, docid, false)
      }
      if (plan.facets) this.#writeFacets(docid, facts, false)
      this.#flushTableWhenFull()
    }
    this.#flushTable()
  }

  /** Before settings with other embedders hold: every document has what they ask for. @throws ApiError */
  checkVectors(before: IndexSettings): void {
    const missing = new MissingVectors()
    const fresh = Object.entries(this.settings.embedders).filter(
      ([name, embedder]) => before.embedders[name] === undefined && needsGivenVectors(embedder),
    )
    const kept = Object.entries(this.settings.embedders).filter(
      ([name, embedder]) => before.embedders[name] !== undefined && needsGivenVectors(embedder),
    )
    if (fresh.length + kept.length === 0) return
    const added = { ...this.settings, embedders: Object.fromEntries(fresh) }
    for (const docid of this.#documentIds) {
      this.#options.checkAborted()
      const { id, text } = decodeDocument(this.#env.documents.getBinary(this.#keys.docid(docid))!)
      if (fresh.length > 0) {
        const document = text.includes('"_vectors"') ? (JSON.parse(text) as JsonObject) : {}
        missing.note(added, id, givenVectors(added, document, id), () => false)
      }
      for (const [name, { dimensions }] of kept) {
        const vectors = this.#vectors.read(name, docid)?.vectors ?? []
        if (typeof dimensions === 'number') checkDimensions(name, dimensions, vectors, id)
      }
    }
    missing.check()
  }

  #storedDocid(id: string): number | undefined {
    const bytes = this.#env.ids.getBinary(this.#keys.text(id))
    return bytes === undefined ? undefined : Buffer.from(bytes).readUInt32BE(0)
  }

  #open(id: string): PendingDocument {
    const known = this.#pending.get(id)
    if (known !== undefined) return known
    const stored = this.#storedDocid(id)
    const before =
      stored === undefined ? undefined : decodeDocument(this.#env.documents.getBinary(this.#keys.docid(stored))!).text
    const pending: PendingDocument = {
      id,
      docid: stored ?? this.#freeDocid(),
      before,
      members: before === undefined ? undefined : splitMembers(before),
      document: undefined,
      vectors: new Map(),
    }
    this.#pending.set(id, pending)
    return pending
  }

  /** The smallest number that no document had before the batch and none took since. */
  #freeDocid(): number {
    const used = this.#usedBefore
    const last = this.#lastUsed
    if (last === undefined || this.#nextDocid > last) return this.#nextDocid++
    const base = this.#nextDocid === 0 ? 0 : used.rank(this.#nextDocid - 1)
    let [low, high] = [this.#nextDocid, last + 1]
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (used.rank(middle) - base < middle - this.#nextDocid + 1) high = middle
      else low = middle + 1
    }
    this.#nextDocid = low + 1
    return low
  }

  /** Vectors of the index's embedders have their own table. */
  #withoutVectors(members: Members): Members {
    const given = members.get('_vectors')
    if (given === undefined) return members
    const own = new Map(members)
    const parsed = JSON.parse(given) as Json
    const rest = isObject(parsed) ? restOfVectors(parsed, Object.keys(this.settings.embedders)) : {}
    if (Object.keys(rest).length === 0) own.delete('_vectors')
    else own.set('_vectors', JSON.stringify(rest))
    return own
  }

  #flushPending(): void {
    const changed = [...this.#pending.values()].sort((left, right) => left.docid - right.docid)
    for (const pending of changed) {
      this.#options.checkAborted()
      this.#options.progress.advance('documents')
      this.#writeDocument(pending)
      this.#flushTableWhenFull()
    }
    if (changed.length > 0) this.#options.progress.enter('embeddings')
    this.#vectors.flushRequests()
    this.#pending.clear()
    this.#pendingBytes = 0
  }

  #writeDocument(pending: PendingDocument): void {
    const { id, docid, before, members } = pending
    const text = members === undefined ? undefined : this.#textOf(members)
    if (text === undefined) this.#vectors.delete(docid)
    else if (!this.#vectors.isIdle)
      this.#vectors.write({
        docid,
        id,
        before: before === undefined ? undefined : () => JSON.parse(before) as JsonObject,
        after: () => JSON.parse(text) as JsonObject,
        given: pending.vectors,
      })
    if (text === before) return
    const sets = this.#keySets
    sets.before.clear()
    sets.after.clear()
    const factsBefore =
      before === undefined ? undefined : this.#reader.read(JSON.parse(before) as JsonObject, everything, sets.before)
    const factsAfter =
      text === undefined
        ? undefined
        : this.#reader.read(pending.document ?? (JSON.parse(text) as JsonObject), everything, sets.after)
    this.#pushMissing(sets.after, sets.before, docid, false)
    this.#pushMissing(sets.before, sets.after, docid, true)
    if (before !== undefined) this.#prefixes.noteChange(docid, sets.before, sets.after)
    this.#writeFacets(docid, factsAfter, factsBefore !== undefined && factsBefore.facets.size > 0)
    this.#count(before, -1)
    this.#count(text, 1)
    if (text === undefined) {
      this.#env.documents.removeSync(this.#keys.docid(docid))
      this.#env.ids.removeSync(this.#keys.text(id))
      return
    }
    this.#env.documents.putSync(this.#keys.docid(docid), encodeDocument({ id, text }))
    if (before !== undefined) return
    // Two keys at once would share the builder's buffer.
    const number = Uint8Array.from(this.#keys.docid(docid))
    this.#env.ids.putSync(this.#keys.text(id), number)
  }

  /** Notes what `source` has and `other` has not. */
  #pushMissing(source: KeySet, other: KeySet, docid: number, isRemoval: boolean): void {
    for (let index = 0; index < source.size; index += 1) {
      const [a, b] = [source.a[index]!, source.b[index]!]
      if (isHiddenPair(source, a, b)) continue
      if (other.size === 0 || !other.has(a, b) || isHiddenPair(other, a, b)) this.#table.push(a, b, docid, isRemoval)
    }
  }

  #writeFacets(docid: number, facts: DocumentFacts | undefined, hadValues: boolean): void {
    const key = this.#keys.kindDocid(facetKind.values, docid)
    if (facts !== undefined && facts.facets.size > 0) this.#env.facets.putSync(key, encodeFacetValues(facts.facets))
    else if (hadValues) this.#env.facets.removeSync(key)
    this.#geo.set(docid, facts?.geo && [facts.geo.lat, facts.geo.lng])
    this.#boxes.set(docid, facts?.box)
  }

  #count(text: string | undefined, by: 1 | -1): void {
    if (text === undefined) return
    this.#documentBytes += by * Buffer.byteLength(text)
    for (const name of splitMembers(text).keys()) {
      if (name !== '_vectors') this.#distribution.set(name, (this.#distribution.get(name) ?? 0) + by)
    }
  }

  /** Members in the order of field numbers: the order in which answers show them (M-F15). */
  #textOf(members: Members): string {
    let isOrdered = true
    let last = -1
    const numbered: [number, string, string][] = []
    for (const [name, value] of members) {
      const field = this.#fields.id(name)
      if (field < last) isOrdered = false
      last = field
      numbered.push([field, name, value])
    }
    if (!isOrdered) numbered.sort((left, right) => left[0] - right[0])
    return joinMembers(numbered.map(([, name, value]) => [name, value] as const))
  }

  #flushTableWhenFull(): void {
    const byteCount = this.#table.byteCount + this.#interner.byteCount + this.#prefixes.byteCount
    if (byteCount > this.#options.postingBytesMax || this.#interner.strings.length > internedMax) this.#flushTable()
  }

  #flushTable(): void {
    const gathered = { table: this.#table, interner: this.#interner, numbers: this.#reader.numbers }
    const changes = flushPostings(this.#env, gathered, this.#prefixes)
    if (changes.size > loggedMax) this.#changedWords = undefined
    for (const [word, isThere] of changes) this.#changedWords?.set(word, isThere)
    this.#reader.clear()
  }

  #forgetNames(): void {
    this.#interner.clear()
    this.#prefixes.forgetWords()
    this.#reader.clear()
  }

  *#storedForVectors(): Generator<StoredForVectors> {
    for (const docid of this.#documentIds.toArray()) {
      this.#options.checkAborted()
      const { id, text } = decodeDocument(this.#env.documents.getBinary(this.#keys.docid(docid))!)
      const members = splitMembers(text)
      yield {
        docid,
        id,
        read: () => JSON.parse(text) as JsonObject,
        takeVectors: () => vectorsInText(members.get('_vectors')),
        replaceVectors: (vectors) => {
          const next = new Map(members)
          if (Object.keys(vectors).length > 0) next.set('_vectors', JSON.stringify(vectors))
          else next.delete('_vectors')
          const replaced = this.#textOf(next)
          if (replaced === text) return
          this.#documentBytes += Buffer.byteLength(replaced) - Buffer.byteLength(text)
          this.#env.documents.putSync(this.#keys.docid(docid), encodeDocument({ id, text: replaced }))
        },
      }
    }
  }
}
