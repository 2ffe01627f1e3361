/**
 * `GET` and `POST /indexes/{uid}/similar` over the shards of a spread index: the vectors of the document come from the shard
 * that has it, and all shards are searched with them (merge findings, section 5 step 7).
 */
import { defaultSearchQuery, type SearchQuery } from '../api/search-query.ts'
import type { SimilarQuery } from '../api/similar-query.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import { ownerOf } from './documents.ts'
import { type Hit, sequenceOf } from './hit.ts'
import { indexPath, type Leg, type ReadOptions, type SearchedIndex } from './leg.ts'
import { askLegs, type LegAnswer, totalOf } from './leg-answers.ts'
import { projectionOf } from './projection.ts'
import { isRefusal, refusal } from './refusals.ts'
import { hitText } from './render-hit.ts'
import { disguise } from './reserved-names.ts'

/** Vectors of one document that are searched by; further ones are left out. */
const vectorsMax = 16

/** @returns JSON text of the whole answer. @throws as `searchIndex`. */
export async function searchSimilar(index: SearchedIndex, sent: SimilarQuery, options: ReadOptions): Promise<string> {
  const query = { ...sent, filter: disguise(sent.filter) }
  await checkSimilar(index, query, options)
  const document = await readVectors(index, query, options)
  const { maxTotalHits } = index.settings.pagination
  const { offset, limit, rankingScoreThreshold } = query
  // Rules that rank before vectors would leave out what is near: then as much as a search may give is looked at.
  const needed = ranksByOthersFirst(index) ? maxTotalHits : offset + limit + 1
  const projection = projectionOf(
    index,
    { attributesToRetrieve: query.attributesToRetrieve, attributesToHighlight: null, attributesToCrop: null },
    [],
  )
  const searches = await Promise.all(
    document.vectors.map((vector) => {
      const search: SearchQuery = {
        ...defaultSearchQuery,
        filter: query.filter,
        vector,
        hybrid: { embedder: query.embedder, semanticRatio: 1 },
        limit: needed,
        attributesToRetrieve: projection.retrieve,
        retrieveVectors: query.retrieveVectors,
        showRankingScore: true,
        showRankingScoreDetails: true,
        showPerformanceDetails: query.showPerformanceDetails,
      }
      return askLegs(index, search, options)
    }),
  )
  const answers = searches.flat()
  const near = nearest(answers, document.sequence)
  const found = near.slice(0, offset + limit)
  const below = found.findIndex((hit, at) => at >= offset && similarityOf(hit) < (rankingScoreThreshold ?? 0))
  const shown = below < 0 ? found.slice(offset) : found.slice(offset, below)
  const counted = searches[0] === undefined ? 0 : totalOf(searches[0]) - (await isAmongFound(index, query, options))
  const total = below < 0 ? Math.min(counted, maxTotalHits) : Math.min(below, maxTotalHits)
  const shape = {
    projection,
    showScore: query.showRankingScore,
    showDetails: query.showRankingScoreDetails,
    dropsPlace: false,
  }
  const slowest = Math.max(0, ...answers.map(({ processingTimeMs }) => processingTimeMs))
  const details = answers[0]?.members.get('performanceDetails')
  const members = [
    `"hits":[${shown.map((hit) => hitText(alone(hit), shape)).join(',')}]`,
    `"id":${JSON.stringify(query.id)}`,
    `"processingTimeMs":${slowest}`,
    `"limit":${limit}`,
    `"offset":${offset}`,
    `"estimatedTotalHits":${total}`,
    ...(details === undefined ? [] : [`"performanceDetails":${details}`]),
  ]
  return `{${members.join(',')}}`
}

/** The node that has the document says what is wrong with the request. */
async function checkSimilar(index: SearchedIndex, query: SimilarQuery, options: ReadOptions): Promise<void> {
  const { id, embedder, filter } = query
  const body: JsonObject = { id, embedder, limit: 0, ...(filter === null ? {} : { filter }) }
  const leg: Leg = { target: ownerOf(index, id).id, method: 'POST', path: indexPath(index, '/similar'), body }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
}

interface Vectors {
  readonly vectors: readonly (readonly number[])[]
  readonly sequence: string
}

async function readVectors(
  index: SearchedIndex,
  { id, embedder }: SimilarQuery,
  options: ReadOptions,
): Promise<Vectors> {
  const path = indexPath(index, '/documents/fetch')
  const body = { ids: [id], retrieveVectors: true }
  const leg: Leg = { target: ownerOf(index, id).id, method: 'POST', path, body }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  const [text] = listItems(reply.body)
  if (text === undefined) return { vectors: [], sequence: '' }
  const vectors = splitMembers(text).get('_vectors')
  const all = vectors === undefined ? {} : (JSON.parse(vectors) as JsonObject)
  const own = all[embedder]
  const embeddings = own !== undefined && isObject(own) ? own.embeddings : undefined
  return { vectors: vectorList(embeddings ?? []).slice(0, vectorsMax), sequence: sequenceOf(text) }
}

function listItems(body: string): readonly string[] {
  const results = splitMembers(body).get('results') ?? '[]'
  return results === '[]' ? [] : [results.slice(1, -1)]
}

/** One vector, or several. */
function vectorList(embeddings: Json): readonly (readonly number[])[] {
  if (!Array.isArray(embeddings)) return []
  const items = embeddings as readonly Json[]
  if (typeof items[0] === 'number') return [items as readonly number[]]
  return items.filter((item): item is readonly number[] => Array.isArray(item))
}

const similarityOf = ({ details }: Hit): number => {
  const similarity = details.find(({ name }) => name === 'vectorSort')?.fields.similarity
  return typeof similarity === 'number' ? similarity : -1
}

/** Each document once, by its best vector; without the document itself, and without those that have no vector. */
function nearest(answers: readonly LegAnswer[], own: string): readonly Hit[] {
  const best = new Map<string, Hit>()
  for (const { hits } of answers)
    for (const hit of hits) {
      if (hit.sequence === own || similarityOf(hit) < 0) continue
      const known = best.get(hit.sequence)
      if (known === undefined || similarityOf(known) < similarityOf(hit)) best.set(hit.sequence, hit)
    }
  return [...best.values()].sort(
    (a, b) => similarityOf(b) - similarityOf(a) || (a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0),
  )
}

/** 1 when the filter lets the document itself through. */
async function isAmongFound(index: SearchedIndex, { id, filter }: SimilarQuery, options: ReadOptions): Promise<number> {
  if (filter === null) return 1
  const leg: Leg = {
    target: ownerOf(index, id).id,
    method: 'POST',
    path: indexPath(index, '/documents/fetch'),
    body: { ids: [id], filter, limit: 0 },
  }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  return Number(splitMembers(reply.body).get('total') ?? 0)
}

const wordRules = ['words', 'typo', 'proximity', 'attribute', 'attributeRank', 'wordPosition', 'exactness', 'sort']

function ranksByOthersFirst({ settings }: SearchedIndex): boolean {
  return !wordRules.includes(settings.rankingRules.filter((rule) => rule !== 'sort')[0] ?? '')
}

/** Likeness is the only rule of this search. */
function alone(hit: Hit): Hit {
  const own = hit.details.find(({ name }) => name === 'vectorSort')
  if (own === undefined) return hit
  const detail = { name: own.name, fields: { order: 0, similarity: own.fields.similarity ?? null } }
  return { ...hit, details: [detail], detailsText: null }
}
