/**
 * Postings of wide prefixes of one or two letters, stored beside those of the words, so that a search by them reads a few
 * lists instead of thousands. A prefix is stored from when it first begins `widePrefixWordsMin` words; from then on its lists
 * are kept up to date, also when it begins fewer. One prefix has a list of documents for each position bucket and one for
 * exact words, under the keys of words in `postings`, and an empty list under that of a tolerant word: it says that the
 * prefix is stored. Tolerant words are what the buckets hold, as long as there are no exact ones; fields are gathered word
 * by word. To keep these as well would double what it costs to index.
 *
 * What comes to a list is taken from the words' lists while they are merged. What goes cannot be: another word with the
 * same beginning may keep the document in the list. So changed documents are compared by prefixes, when both versions are
 * at hand.
 */
import { Bitmap } from '../lib/bitmap.ts'
import { BitmapUnion } from '../lib/bitmap-union.ts'
import { type IndexEnv, notePrefixes, prefixesHold } from './index-env.ts'
import { KeyBuilder, keyAfter, postingKind } from './index-keys.ts'
import { type Interner, KeySet, kindShift, kinds, PostingTable, valueMask } from './posting-table.ts'
import { shortPrefixes, uniteByNumber, uniteWords, widePrefixWordsMin } from './prefix-unions.ts'

const storedKinds: Readonly<Record<number, number>> = {
  [kinds.exact]: postingKind.exact,
  [kinds.position]: postingKind.position,
}

/** What one prefix gains, by field or bucket. */
interface Gain {
  readonly prefix: number
  readonly unions: Map<number, BitmapUnion>
}

function unionOf({ unions }: Gain, value: number): BitmapUnion {
  let union = unions.get(value)
  if (union === undefined) {
    union = new BitmapUnion()
    unions.set(value, union)
  }
  return union
}

export class PrefixTable {
  readonly #env: IndexEnv
  readonly #interner: Interner
  readonly #keys = new KeyBuilder()
  /** Numbers of the prefixes that are stored. */
  readonly #numbers = new Map<string, number>()
  readonly #prefixes: string[] = []
  /** Stored prefixes of an interned word, shortest first. */
  #ofWord: (readonly number[] | undefined)[] = []
  /** One per length of prefix, shortest first: words come in order, so each prefix is done before the next begins. */
  readonly #gains: Gain[] = []
  #kind: number = kinds.position
  /** Differences of documents that were there before: `a` is a prefix, `b` as of words. */
  #changes: PostingTable | undefined
  readonly #sets = { before: new KeySet(), after: new KeySet() }
  #isWhole = true

  constructor(env: IndexEnv, interner: Interner) {
    this.#env = env
    this.#interner = interner
    if (prefixesHold(env)) {
      const start = Buffer.from([postingKind.word])
      for (const key of env.prefixes.getKeys({ start, end: keyAfter(start) })) this.#number(textOf(key.subarray(1)))
      return
    }
    env.prefixes.clearSync()
    this.#isWhole = false
  }

  get byteCount(): number {
    return this.#changes?.byteCount ?? 0
  }

  /** Nothing is indexed any more. */
  clear(): void {
    this.#env.prefixes.clearSync()
    this.#numbers.clear()
    this.#prefixes.length = 0
    this.forgetWords()
  }

  /** The interner forgets its words. */
  forgetWords(): void {
    this.#ofWord = []
    this.#changes?.clear()
  }

  /** Notes a document that is stored in another version, or goes. */
  noteChange(docid: number, before: KeySet, after: KeySet): void {
    if (this.#prefixes.length === 0) return
    this.#read(before, this.#sets.before)
    this.#read(after, this.#sets.after)
    this.#noteMissing(this.#sets.after, this.#sets.before, docid, false)
    this.#noteMissing(this.#sets.before, this.#sets.after, docid, true)
  }

  /** What a word's list gained. Words of one kind come in order, and `endKind` after the last. */
  gain(kind: number, word: number, value: number, docids: readonly number[]): void {
    if (docids.length === 0) return
    const prefixes = this.#of(word)
    const deepest = prefixes.length - 1
    if (deepest < 0) return
    this.#kind = kind
    let level = 0
    while (level <= deepest && this.#gains[level]?.prefix === prefixes[level]) level += 1
    if (level <= deepest) {
      this.#close(level)
      for (; level <= deepest; level += 1) this.#gains.push({ prefix: prefixes[level]!, unions: new Map() })
    }
    unionOf(this.#gains[deepest]!, value).addValues(docids)
  }

  endKind(): void {
    this.#close(0)
  }

  /** After all words are merged. `fresh`: words that came to the vocabulary. */
  end(fresh: readonly string[]): void {
    this.#mergeChanges()
    if (this.#isWhole) {
      const narrow = new Set<string>()
      for (const word of fresh) this.#storeWide(word, narrow)
      return
    }
    for (const prefix of this.#allWide()) this.#store(prefix)
    notePrefixes(this.#env)
    this.#isWhole = true
  }

  #read(keys: KeySet, into: KeySet): void {
    into.clear()
    for (let index = 0; index < keys.size; index += 1) {
      const b = keys.b[index]!
      if (storedKinds[b >>> kindShift] === undefined) continue
      for (const prefix of this.#of(keys.a[index]!)) into.add(prefix, b)
    }
  }

  #noteMissing(source: KeySet, other: KeySet, docid: number, isRemoval: boolean): void {
    for (let index = 0; index < source.size; index += 1) {
      const [a, b] = [source.a[index]!, source.b[index]!]
      if (other.has(a, b)) continue
      this.#changes ??= new PostingTable()
      this.#changes.push(a, b, docid, isRemoval)
    }
  }

  /** Ends the prefixes of this length and more; what they gain, shorter ones gain too. */
  #close(level: number): void {
    for (let gain = this.#gains[level] && this.#gains.pop(); gain; gain = this.#gains[level] && this.#gains.pop()) {
      const shorter = this.#gains.at(-1)
      for (const [value, union] of gain.unions) {
        const docids = union.build()
        this.#update(this.#prefixes[gain.prefix]!, this.#kind, value, docids, none)
        if (shorter !== undefined) unionOf(shorter, value).addBitmap(docids)
      }
    }
  }

  #mergeChanges(): void {
    const changes = this.#changes
    if (changes === undefined) return
    for (let list = 0; list < changes.listCount; list += 1) {
      const b = changes.bOf(list)
      const { added, removed } = changes.changes(list)
      const prefix = this.#prefixes[changes.aOf(list)]!
      this.#update(prefix, b >>> kindShift, b & valueMask, Bitmap.fromSorted(added), Bitmap.fromSorted(removed))
    }
    changes.clear()
  }

  #update(prefix: string, kind: number, value: number, added: Bitmap, removed: Bitmap): void {
    const stored = storedKinds[kind]!
    const key = kind === kinds.position ? this.#keys.wordNumber(stored, prefix, value) : this.#keys.word(stored, prefix)
    const bytes = this.#env.prefixes.getBinaryFast(key)
    const before = bytes === undefined ? none : Bitmap.deserialize(bytes)
    const after = (removed.isEmpty() ? before : before.andNot(removed)).or(added)
    if (removed.isEmpty() && bytes !== undefined && after.size === before.size) return
    if (after.isEmpty()) this.#env.prefixes.removeSync(key)
    else this.#env.prefixes.putSync(key, after.serialize())
  }

  #storeWide(word: string, narrow: Set<string>): void {
    for (const prefix of shortPrefixes(word)) {
      if (this.#numbers.has(prefix)) continue
      // What is longer begins no more words.
      if (narrow.has(prefix)) return
      if (!this.#isWide(prefix)) {
        narrow.add(prefix)
        return
      }
      this.#store(prefix)
    }
  }

  #isWide(prefix: string): boolean {
    let count = 0
    for (const word of this.#vocabulary(prefix)) {
      if (!word.startsWith(prefix)) break
      count += 1
      if (count >= widePrefixWordsMin) return true
    }
    return false
  }

  #allWide(): readonly string[] {
    const counts = new Map<string, number>()
    for (const word of this.#vocabulary(''))
      for (const prefix of shortPrefixes(word)) counts.set(prefix, (counts.get(prefix) ?? 0) + 1)
    return [...counts].flatMap(([prefix, count]) => (count >= widePrefixWordsMin ? [prefix] : []))
  }

  #store(prefix: string): void {
    const { prefixes } = this.#env
    for (const [bucket, docids] of uniteByNumber(this.#env, this.#keys, postingKind.position, prefix))
      prefixes.putSync(this.#keys.wordNumber(postingKind.position, prefix, bucket), docids.serialize())
    const exact = uniteWords(this.#env, this.#keys, postingKind.exact, prefix)
    if (!exact.isEmpty()) prefixes.putSync(this.#keys.word(postingKind.exact, prefix), exact.serialize())
    prefixes.putSync(this.#keys.word(postingKind.word, prefix), none.serialize())
    this.#number(prefix)
    this.#ofWord = []
  }

  *#vocabulary(start: string): Iterable<string> {
    const options = start === '' ? {} : { start: Buffer.from(start) }
    for (const key of this.#env.vocabulary.getKeys(options)) yield textOf(key)
  }

  #number(prefix: string): void {
    this.#numbers.set(prefix, this.#prefixes.length)
    this.#prefixes.push(prefix)
  }

  #of(word: number): readonly number[] {
    let found = this.#ofWord[word]
    if (found === undefined) {
      found = shortPrefixes(this.#interner.strings[word]!).flatMap((prefix) => this.#numbers.get(prefix) ?? [])
      this.#ofWord[word] = found
    }
    return found
  }
}

const none = Bitmap.of()

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
