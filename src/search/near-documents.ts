/**
 * Documents by likeness to one of them. A search holds a vector against all vectors of a document; between documents, an
 * engine holds the first vector against the first and so on. So likeness to documents of several vectors is computed anew,
 * which can only make it less.
 */
import type { SearchQuery } from '../api/search-query.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import type { Hit } from './hit.ts'
import type { ReadOptions, SearchedIndex } from './leg.ts'
import { askLegs, type LegAnswer } from './leg-answers.ts'

/** Vectors of one document that are searched by; further ones are left out. */
export const vectorsMax = 16
/** Hits beyond those that are wanted, for documents that turn out to be less alike. */
const spareHits = 8
/** How often more hits are asked for, each time twice as many. */
const roundsMax = 4

export interface SourceVectors {
  readonly vectors: readonly (readonly number[])[]
  readonly sequence: string
  readonly embedder: string
  /** Documents that are wanted. */
  readonly count: number
}

export interface Neighbour {
  readonly hit: Hit
  readonly similarity: number
}

export interface NearDocuments {
  readonly near: readonly Neighbour[]
  readonly answers: readonly LegAnswer[]
  /** Whether the filter lets the document itself through; undefined: it has no vector, and was not looked for. */
  readonly isOwnFound: boolean | undefined
}

/** The nearest documents first, without the document itself and without those that have no vector. */
export async function nearest(
  index: SearchedIndex,
  search: SearchQuery,
  source: SourceVectors,
  options: ReadOptions,
): Promise<NearDocuments> {
  const { maxTotalHits } = index.settings.pagination
  // Rules that rank before vectors would leave out what is near: then as much as a search may give is looked at.
  let limit = ranksByOthersFirst(index) ? maxTotalHits : source.count + 1 + spareHits
  const embedder = index.settings.embedders[source.embedder]
  // A likeness of bits, or shifted by what is usual, is left to nodes.
  const isPaired = embedder?.binaryQuantized !== true && (embedder?.distribution ?? null) === null
  for (let round = 1; ; round += 1) {
    const searches = source.vectors.map((vector) => askLegs(index, { ...search, vector, limit }, options))
    const answers = (await Promise.all(searches)).flat()
    const lists = answers.map(({ hits }) => [...hits])
    const near = neighbours(lists.flat(), source, isPaired)
    const worst = near[source.count - 1]?.similarity ?? 0
    const isCertain = lists.every((hits) => hits.length < limit || likeness(hits.at(-1)) <= worst)
    if (isCertain || round === roundsMax || limit >= maxTotalHits) {
      const isOwnFound = lists.flat().some(({ sequence }) => sequence === source.sequence)
      return { near, answers, isOwnFound: answers.length === 0 ? undefined : isOwnFound }
    }
    limit = Math.min(2 * limit, maxTotalHits)
  }
}

function neighbours(hits: readonly Hit[], source: SourceVectors, isPaired: boolean): readonly Neighbour[] {
  const best = new Map<string, Neighbour>()
  for (const hit of hits) {
    if (hit.sequence === source.sequence || likeness(hit) < 0) continue
    const similarity = isPaired ? pairedLikeness(hit, source) : likeness(hit)
    const known = best.get(hit.sequence)
    if (known === undefined || known.similarity < similarity) best.set(hit.sequence, { hit, similarity })
  }
  return [...best.values()].sort((a, b) => b.similarity - a.similarity || (a.hit.sequence < b.hit.sequence ? -1 : 1))
}

/** As the node tells it; -1 = the document has no vector. */
function likeness(hit: Hit | undefined): number {
  const similarity = hit?.details.find(({ name }) => name === 'vectorSort')?.fields.similarity
  return typeof similarity === 'number' ? similarity : -1
}

function pairedLikeness(hit: Hit, { vectors, embedder }: SourceVectors): number {
  const own = vectorsIn(hit.text, embedder)
  if (own.length < 2 && vectors.length < 2) return likeness(hit)
  const pairs = Math.min(own.length, vectors.length)
  let best = 0
  for (let at = 0; at < pairs; at += 1) best = Math.max(best, cosineLikeness(own[at]!, vectors[at]!))
  return best
}

/** 0 to 1, in the precision of nodes. */
function cosineLikeness(a: readonly number[], b: readonly number[]): number {
  let [dot, ofA, ofB] = [0, 0, 0]
  for (let at = 0; at < a.length; at += 1) {
    const [x, y] = [a[at]!, b[at] ?? 0]
    dot += x * y
    ofA += x * x
    ofB += y * y
  }
  return ofA === 0 || ofB === 0 ? 0.5 : Math.fround((1 + dot / Math.sqrt(ofA * ofB)) / 2)
}

/** A document's vectors of one embedder. */
export function vectorsIn(document: string, embedder: string): readonly (readonly number[])[] {
  const text = splitMembers(document).get('_vectors')
  const all = text === undefined ? {} : (JSON.parse(text) as JsonObject)
  const own = all[embedder]
  const embeddings = own !== undefined && isObject(own) ? own.embeddings : null
  if (!Array.isArray(embeddings)) return []
  const items = embeddings as readonly Json[]
  if (typeof items[0] === 'number') return [items as readonly number[]]
  return items.filter((item): item is readonly number[] => Array.isArray(item))
}

const wordRules = ['words', 'typo', 'proximity', 'attribute', 'attributeRank', 'wordPosition', 'exactness']

function ranksByOthersFirst({ settings }: SearchedIndex): boolean {
  return !wordRules.includes(settings.rankingRules.filter((rule) => rule !== 'sort')[0] ?? '')
}
