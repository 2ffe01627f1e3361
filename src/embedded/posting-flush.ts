/**
 * Merges gathered changes into the stored postings, in the order of the keys, so that neighbours share pages. Runs inside
 * the batch's transaction and leaves the table empty.
 */
import { assert } from '../lib/assert.ts'
import { Bitmap } from '../lib/bitmap.ts'
import type { IndexEnv, Table } from './index-env.ts'
import { facetKind, KeyBuilder, postingKind } from './index-keys.ts'
import { orderLists } from './list-order.ts'
import { type Interner, kindShift, kinds, type PostingChange, type PostingTable, valueMask } from './posting-table.ts'
import type { PrefixTable } from './prefix-table.ts'
import type { WordChanges } from './vocabulary-changes.ts'

/** Strings that one flush may hold: their ranks share 32 bits with other numbers. */
export const internedMax = 2 ** 22

const noBytes = new Uint8Array([1])

/** What one flush merges, and into what. */
export interface Gathered {
  readonly table: PostingTable
  readonly interner: Interner
  /** Facet values by their numbers. */
  readonly numbers: readonly number[]
}

/** Answers the words that came to the vocabulary or left it. */
export function flushPostings(
  env: IndexEnv,
  { table, interner, numbers }: Gathered,
  prefixes: PrefixTable,
): WordChanges {
  assert(interner.strings.length <= 2 * internedMax, 'too many strings in one flush')
  const { strings } = interner
  const keys = new KeyBuilder()
  const ranks = inverse(
    sortedPlaces(strings.length, (l, r) => (strings[l]! < strings[r]! ? -1 : strings[l] === strings[r] ? 0 : 1)),
  )
  const numberRanks = inverse(sortedPlaces(numbers.length, (l, r) => numbers[l]! - numbers[r]!))

  const groups = groupLists(table, ranks, numberRanks)
  const each = (group: number, visit: (a: number, value: number, change: PostingChange) => void) => {
    for (const list of groups[group]!) visit(table.aOf(list), table.bOf(list) & valueMask, table.changes(list))
  }

  /** Words whose postings came or went, and whether some came. */
  const touched = new Map<string, boolean>()
  const note = (word: string, outcome: ReturnType<typeof merge>) => {
    if (outcome !== 'stayed') touched.set(word, outcome === 'came' || touched.get(word) === true)
  }
  each(kinds.exact, (a, _value, change) => {
    note(strings[a]!, merge(env.postings, keys.word(postingKind.exact, strings[a]!), change))
    prefixes.gain(kinds.exact, a, 0, change.added)
  })
  prefixes.endKind()
  each(kinds.field, (a, field, change) => {
    merge(env.postings, keys.wordNumber(postingKind.field, strings[a]!, field), change)
  })
  each(kinds.position, (a, bucket, change) => {
    merge(env.postings, keys.wordNumber(postingKind.position, strings[a]!, bucket), change)
    prefixes.gain(kinds.position, a, bucket, change.added)
  })
  prefixes.endKind()
  flushPairs(env.postings, groups[kinds.pair1]!, strings, table, keys)
  each(kinds.word, (a, _value, change) => {
    note(strings[a]!, merge(env.postings, keys.word(postingKind.word, strings[a]!), change))
  })
  each(kinds.count, (a, count, change) => {
    merge(env.postings, keys.fieldCount(a, count), change)
  })
  const changes = updateVocabulary(env, touched, keys)
  prefixes.end([...changes].flatMap(([word, isThere]) => (isThere ? [word] : [])))

  each(kinds.facetString, (a, field, change) => {
    merge(env.facets, keys.facetString(field, strings[a]!), change)
  })
  each(kinds.facetNumber, (a, field, change) => {
    merge(env.facets, keys.facetNumber(field, numbers[a]!), change)
  })
  each(kinds.exists, (field, _value, change) => void merge(env.facets, keys.field(facetKind.exists, field), change))
  each(kinds.isNull, (field, _value, change) => void merge(env.facets, keys.field(facetKind.isNull, field), change))
  each(kinds.isEmpty, (field, _value, change) => void merge(env.facets, keys.field(facetKind.isEmpty, field), change))
  each(kinds.geo, (what, _value, change) => void merge(env.facets, keys.field(facetKind.geoDocids, what), change))

  table.clear()
  interner.clear()
  prefixes.forgetWords()
  return changes
}

/** The lists of each kind in the order of their keys; the three distances of a pair together, under the first. */
function groupLists(table: PostingTable, ranks: Uint32Array, numberRanks: Uint32Array): Uint32Array[] {
  const groupOf = (kind: number) => (kind >= kinds.pair1 && kind <= kinds.pair3 ? kinds.pair1 : kind)
  const sizes = new Uint32Array(16)
  for (let list = 0; list < table.listCount; list += 1) sizes[groupOf(table.bOf(list) >>> kindShift)]! += 1
  const groups = Array.from(sizes, (size) => ({
    lists: new Uint32Array(size),
    highs: new Uint32Array(size),
    lows: new Uint32Array(size),
    size: 0,
  }))
  for (let list = 0; list < table.listCount; list += 1) {
    const [a, b] = [table.aOf(list), table.bOf(list)]
    const kind = b >>> kindShift
    const value = b & valueMask
    const group = groups[groupOf(kind)]!
    const at = group.size++
    group.lists[at] = list
    if (kind <= kinds.position) {
      group.highs[at] = ranks[a]!
      group.lows[at] = value
    } else if (kind <= kinds.pair3) {
      group.highs[at] = ranks[a]!
      group.lows[at] = ranks[value]! * 4 + (kind - kinds.pair1)
    } else if (kind === kinds.facetString || kind === kinds.facetNumber) {
      group.highs[at] = value
      group.lows[at] = kind === kinds.facetString ? ranks[a]! : numberRanks[a]!
    } else {
      group.highs[at] = a
      group.lows[at] = value
    }
  }
  return groups.map(({ lists, highs, lows }) => orderLists(lists, highs, lows))
}

/** Places 0 to `count` − 1 in the order of what stands there. */
function sortedPlaces(count: number, compare: (left: number, right: number) => number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, place) => place).sort(compare)
}

function inverse(places: Uint32Array): Uint32Array {
  const ranks = new Uint32Array(places.length)
  for (let rank = 0; rank < places.length; rank += 1) ranks[places[rank]!] = rank
  return ranks
}

/** Answers what became of the posting. */
function merge(table: Table, key: Buffer, change: PostingChange): 'came' | 'went' | 'stayed' {
  const stored = table.getBinaryFast(key)
  if (stored === undefined) {
    if (change.added.length === 0) return 'stayed'
    table.putSync(key, Bitmap.serializeSorted(change.added))
    return 'came'
  }
  const bytes = mergedBytes(stored, change)
  if (bytes !== undefined) {
    table.putSync(key, bytes)
    return 'stayed'
  }
  table.removeSync(key)
  return 'went'
}

/** undefined when nothing is left. */
function mergedBytes(stored: Uint8Array, { added, removed }: PostingChange): Uint8Array | undefined {
  const longer = removed.length === 0 ? Bitmap.appendToList(stored, added) : undefined
  if (longer !== undefined) return longer
  let bitmap = Bitmap.deserialize(stored)
  if (removed.length > 0) bitmap = bitmap.andNot(Bitmap.fromSorted(removed))
  if (added.length > 0) bitmap = bitmap.or(Bitmap.fromSorted(added))
  return bitmap.isEmpty() ? undefined : bitmap.serialize()
}

/** The three distances of a pair stand under one key. */
function flushPairs(
  postings: Table,
  lists: Uint32Array,
  strings: readonly string[],
  table: PostingTable,
  keys: KeyBuilder,
): void {
  for (let at = 0; at < lists.length; ) {
    const left = table.aOf(lists[at]!)
    const right = table.bOf(lists[at]!) & valueMask
    const key = keys.pair(strings[left]!, strings[right]!)
    const stored = postings.getBinaryFast(key)
    const parts = stored === undefined ? [undefined, undefined, undefined] : splitPair(stored)
    for (; at < lists.length; at += 1) {
      const list = lists[at]!
      const b = table.bOf(list)
      if (table.aOf(list) !== left || (b & valueMask) !== right) break
      const distance = (b >>> kindShift) - kinds.pair1
      const change = table.changes(list)
      const part = parts[distance]
      if (part !== undefined) parts[distance] = mergedBytes(part, change)
      else if (change.added.length > 0) parts[distance] = Bitmap.serializeSorted(change.added)
    }
    if (parts.some((part) => part !== undefined)) postings.putSync(key, joinPair(parts))
    else if (stored !== undefined) postings.removeSync(key)
  }
}

/** Where small values are put together: valid until the next one. */
const pairBytes = new Uint8Array(1024)

/** The bitmaps of distances 1, 2 and 3: each with its length before it, in up to five bytes. */
export function joinPair(parts: readonly (Uint8Array | undefined)[]): Uint8Array {
  let byteCount = 15
  for (const part of parts) byteCount += part?.length ?? 0
  const bytes = byteCount <= pairBytes.length ? pairBytes : new Uint8Array(byteCount)
  let at = 0
  for (const part of parts) {
    let rest = part?.length ?? 0
    while (rest > 127) {
      bytes[at++] = (rest & 127) | 128
      rest >>>= 7
    }
    bytes[at++] = rest
    if (part === undefined) continue
    bytes.set(part, at)
    at += part.length
  }
  return bytes.subarray(0, at)
}

export function splitPair(bytes: Uint8Array): (Uint8Array | undefined)[] {
  const parts: (Uint8Array | undefined)[] = []
  let at = 0
  while (parts.length < 3) {
    let length = 0
    let shift = 0
    let byte = bytes[at++]!
    while (byte > 127) {
      length |= (byte & 127) << shift
      shift += 7
      byte = bytes[at++]!
    }
    length |= byte << shift
    parts.push(length === 0 ? undefined : bytes.subarray(at, at + length))
    at += length
  }
  return parts
}

/** A word is in the vocabulary while it has documents, tolerant or exact ones. Answers which came and went. */
function updateVocabulary(env: IndexEnv, touched: ReadonlyMap<string, boolean>, keys: KeyBuilder): WordChanges {
  const changes = new Map<string, boolean>()
  for (const [word, came] of touched) {
    const isUsed =
      came ||
      env.postings.getBinaryFast(keys.word(postingKind.word, word)) !== undefined ||
      env.postings.getBinaryFast(keys.word(postingKind.exact, word)) !== undefined
    const key = keys.text(word)
    const isKnown = env.vocabulary.getBinaryFast(key) !== undefined
    if (isUsed === isKnown) continue
    changes.set(word, isUsed)
    if (isUsed) env.vocabulary.putSync(key, noBytes)
    else env.vocabulary.removeSync(key)
  }
  return changes
}
