/**
 * What one query reads of the index's words: postings by word, prefix, field, position and pair, restricted to the fields
 * that are searched. Every answer is kept for the rest of the query, since rules ask for the same again and again.
 *
 * Prefixes of up to four bytes that begin a hundred words (that allow typos) or more are *wide*: they are treated as one posting list and
 * not word by word. Their unions are kept between queries, as long as the index does not change.
 */
import { Bitmap } from '../../lib/bitmap.ts'
import type { FieldId, IndexReader } from '../index-reader.ts'
import { widePrefixBytesMax, widePrefixWordsMin } from '../prefix-unions.ts'
import { typoTest, Vocabulary } from './vocabulary.ts'

/** The fields that `attributesToSearchOn` leaves, by whether they allow typos. */
export interface FieldRestriction {
  readonly tolerant: readonly FieldId[]
  readonly exact: readonly FieldId[]
}

/** Wide prefixes whose unions are kept per index. */
const widePrefixesMax = 48

interface PrefixUnions {
  words?: { readonly tolerant: Bitmap; readonly exact: Bitmap }
  fields?: ReadonlyMap<FieldId, Bitmap>
  buckets?: ReadonlyMap<number, Bitmap>
}

/** What outlives a query: valid for one state of one index. */
interface Shared {
  readonly vocabulary: Vocabulary
  readonly wide: Map<string, boolean>
  readonly unions: Map<string, PrefixUnions>
}

const sharedBySnapshot = new WeakMap<object, Shared>()

function sharedOf(reader: IndexReader): Shared {
  const key = reader.snapshot ?? reader
  const known = sharedBySnapshot.get(key)
  if (known !== undefined) return known
  const shared: Shared = { vocabulary: vocabularyOf(reader), wide: new Map(), unions: new Map() }
  sharedBySnapshot.set(key, shared)
  return shared
}

const vocabularies = new WeakMap<object, Vocabulary>()

/** Kept while it is known which words come and go. Where typos are allowed in some places only, it is the documents that say in which. */
function vocabularyOf(reader: IndexReader): Vocabulary {
  const { disableOnAttributes, disableOnNumbers } = reader.settings.typoTolerance
  const key = disableOnAttributes.length === 0 && !disableOnNumbers ? reader.snapshot?.words : undefined
  if (key === undefined) return new Vocabulary()
  const known = vocabularies.get(key)
  known?.follow(reader, key.changes)
  key.changes.clear()
  if (known !== undefined) return known
  const vocabulary = new Vocabulary()
  vocabularies.set(key, vocabulary)
  return vocabulary
}

const none = Bitmap.of()
const within = (found: Bitmap, universe: Bitmap | undefined): Bitmap =>
  universe === undefined ? found : found.and(universe)

export class Postings {
  readonly reader: IndexReader
  readonly restriction: FieldRestriction | undefined
  readonly #shared: Shared
  readonly #tolerant = new Map<string, Bitmap>()
  readonly #exact = new Map<string, Bitmap>()
  readonly #inField = new Map<string, Bitmap>()
  readonly #inBucket = new Map<string, Bitmap>()
  readonly #buckets = new Map<string, readonly number[]>()
  readonly #pairs = new Map<string, Bitmap>()
  readonly #prefixPairs = new Map<string, Bitmap>()

  constructor(reader: IndexReader, restriction: FieldRestriction | undefined) {
    this.reader = reader
    this.restriction = restriction
    this.#shared = sharedOf(reader)
  }

  get byAttribute(): boolean {
    return this.reader.settings.proximityPrecision === 'byAttribute'
  }

  get vocabulary(): Vocabulary {
    return this.#shared.vocabulary
  }

  /** Whether the vocabulary has the word, in any field. */
  exists(word: string): boolean {
    return !this.reader.wordDocids(word).isEmpty() || !this.reader.exactWordDocids(word).isEmpty()
  }

  /** Occurrences that a word as typed may match: tolerant and exact ones. */
  original(word: string): Bitmap {
    const exact = this.#exactOf(word)
    const tolerant = this.derived(word)
    return exact.isEmpty() ? tolerant : tolerant.or(exact)
  }

  /** Occurrences that a word found by its likeness may match. */
  derived(word: string): Bitmap {
    return remember(this.#tolerant, word, () =>
      this.restriction === undefined ? this.reader.wordDocids(word) : this.#inFields(word, this.restriction.tolerant),
    )
  }

  inField(word: string, field: FieldId): Bitmap {
    if (!this.#searches(field)) return none
    return remember(this.#inField, `${field} ${word}`, () => this.reader.wordFieldDocids(word, field))
  }

  inBucket(word: string, bucket: number): Bitmap {
    return remember(this.#inBucket, `${bucket} ${word}`, () => this.reader.wordPositionDocids(word, bucket))
  }

  bucketsOf(word: string): readonly number[] {
    return remember(this.#buckets, word, () => [...this.reader.wordPositions(word)])
  }

  /**
   * Documents in which `right` stands `distance` after `left`; by attribute, in which one field has both.
   *
   * @param universe  by attribute only: the first question about two words is answered for these documents alone, and that
   *                  answer is kept for the rest of the query, as the reference does.
   */
  pair(left: string, right: string, distance: number, universe?: Bitmap): Bitmap {
    if (this.byAttribute)
      return remember(this.#pairs, `0 ${left} ${right}`, () =>
        within(
          this.#byFields((field) => [this.inField(left, field), this.inField(right, field)]),
          universe,
        ),
      )
    if (!isDistance(distance)) return none
    return remember(this.#pairs, `${distance} ${left} ${right}`, () => this.reader.pairDocids(left, right, distance))
  }

  /** `pair` for every right word that begins with `prefix`. */
  prefixPair(left: string, prefix: string, distance: number, universe?: Bitmap): Bitmap {
    if (this.byAttribute)
      return remember(this.#prefixPairs, `0 ${left} ${prefix}`, () =>
        within(
          this.#byFields((field) => [this.inField(left, field), this.prefixInField(prefix, field)]),
          universe,
        ),
      )
    if (!isDistance(distance)) return none
    return remember(this.#prefixPairs, `${distance} ${left} ${prefix}`, () => {
      const ranged = this.reader.prefixPairDocids?.(left, prefix, distance)
      if (ranged !== undefined) return ranged
      const found: Bitmap[] = []
      for (const word of this.wordsFrom(prefix)) found.push(this.reader.pairDocids(left, word, distance))
      return Bitmap.union(found)
    })
  }

  isWidePrefix(prefix: string): boolean {
    if (Buffer.byteLength(prefix) > widePrefixBytesMax) return false
    return remember(this.#shared.wide, prefix, () => {
      let count = 0
      const counts = typoTest(this.reader)
      for (const word of this.wordsFrom(prefix)) {
        if (counts(word)) count += 1
        if (count >= widePrefixWordsMin) return true
      }
      return false
    })
  }

  prefixOriginal(prefix: string): Bitmap {
    if (this.restriction !== undefined)
      return this.#prefixInFields(prefix, [...this.restriction.tolerant, ...this.restriction.exact])
    const { tolerant, exact } = this.#prefixWords(prefix)
    return exact.isEmpty() ? tolerant : tolerant.or(exact)
  }

  prefixDerived(prefix: string): Bitmap {
    if (this.restriction !== undefined) return this.#prefixInFields(prefix, this.restriction.tolerant)
    return this.#prefixWords(prefix).tolerant
  }

  prefixInField(prefix: string, field: FieldId): Bitmap {
    if (!this.#searches(field)) return none
    const unions = this.#unionsOf(prefix)
    unions.fields ??= this.#uniteFields(prefix)
    return unions.fields.get(field) ?? none
  }

  prefixBuckets(prefix: string): readonly number[] {
    return [...this.#prefixPositions(prefix).keys()]
  }

  prefixInBucket(prefix: string, bucket: number): Bitmap {
    return this.#prefixPositions(prefix).get(bucket) ?? none
  }

  /** Vocabulary words that begin with `prefix`, in order. */
  *wordsFrom(prefix: string): Iterable<string> {
    for (const word of this.reader.words(prefix)) {
      if (!word.startsWith(prefix)) return
      yield word
    }
  }

  #searches(field: FieldId): boolean {
    const { restriction } = this
    return restriction === undefined || restriction.tolerant.includes(field) || restriction.exact.includes(field)
  }

  #exactOf(word: string): Bitmap {
    return remember(this.#exact, word, () =>
      this.restriction === undefined ? this.reader.exactWordDocids(word) : this.#inFields(word, this.restriction.exact),
    )
  }

  #inFields(word: string, fields: readonly FieldId[]): Bitmap {
    return Bitmap.union(fields.map((field) => this.inField(word, field)))
  }

  #prefixInFields(prefix: string, fields: readonly FieldId[]): Bitmap {
    return Bitmap.union(fields.map((field) => this.prefixInField(prefix, field)))
  }

  #byFields(both: (field: FieldId) => readonly [Bitmap, Bitmap]): Bitmap {
    const found: Bitmap[] = []
    for (const { id } of this.reader.searchableFields) {
      const [left, right] = both(id)
      if (!left.isEmpty() && !right.isEmpty()) found.push(left.and(right))
    }
    return Bitmap.union(found)
  }

  #unionsOf(prefix: string): PrefixUnions {
    const { unions } = this.#shared
    const known = unions.get(prefix)
    if (known !== undefined) {
      // Those asked for last are kept longest.
      unions.delete(prefix)
      unions.set(prefix, known)
      return known
    }
    const oldest = unions.size >= widePrefixesMax ? unions.keys().next().value : undefined
    if (oldest !== undefined) unions.delete(oldest)
    const fresh: PrefixUnions = {}
    unions.set(prefix, fresh)
    return fresh
  }

  #prefixWords(prefix: string): { readonly tolerant: Bitmap; readonly exact: Bitmap } {
    const unions = this.#unionsOf(prefix)
    unions.words ??= this.#uniteWords(prefix)
    return unions.words
  }

  #prefixPositions(prefix: string): ReadonlyMap<number, Bitmap> {
    const unions = this.#unionsOf(prefix)
    unions.buckets ??= this.#uniteBuckets(prefix)
    return unions.buckets
  }

  #uniteWords(prefix: string): { readonly tolerant: Bitmap; readonly exact: Bitmap } {
    const ranged = this.reader.prefixWordDocids?.(prefix)
    if (ranged !== undefined) return ranged
    const words = [...this.wordsFrom(prefix)]
    return {
      tolerant: Bitmap.union(words.map((word) => this.reader.wordDocids(word))),
      exact: Bitmap.union(words.map((word) => this.reader.exactWordDocids(word))),
    }
  }

  #uniteFields(prefix: string): ReadonlyMap<FieldId, Bitmap> {
    const ranged = this.reader.prefixFieldDocids?.(prefix)
    if (ranged !== undefined) return ranged
    const lists = new Map<FieldId, Bitmap[]>()
    for (const word of this.wordsFrom(prefix))
      for (const { id } of this.reader.searchableFields) append(lists, id, this.reader.wordFieldDocids(word, id))
    return uniteEach(lists)
  }

  #uniteBuckets(prefix: string): ReadonlyMap<number, Bitmap> {
    const ranged = this.reader.prefixPositionDocids?.(prefix)
    if (ranged !== undefined) return ranged
    const lists = new Map<number, Bitmap[]>()
    for (const word of this.wordsFrom(prefix))
      for (const bucket of this.reader.wordPositions(word))
        append(lists, bucket, this.reader.wordPositionDocids(word, bucket))
    return uniteEach(lists)
  }
}

function remember<K, V>(known: Map<K, V>, key: K, make: () => V): V {
  const found = known.get(key)
  if (found !== undefined) return found
  const made = make()
  known.set(key, made)
  return made
}

function append(lists: Map<number, Bitmap[]>, key: number, docids: Bitmap): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [docids])
  else list.push(docids)
}

function uniteEach(lists: ReadonlyMap<number, Bitmap[]>): ReadonlyMap<number, Bitmap> {
  return new Map([...lists].map(([key, list]) => [key, Bitmap.union(list)]))
}

function isDistance(value: number): value is 1 | 2 | 3 {
  return value >= 1 && value <= 3
}
