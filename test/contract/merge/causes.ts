/**
 * Why hits differ although no row of the question's kind allows it: both sides are asked once more for the details of all
 * hits. What one shard sees otherwise than one node with everything shows as another detail of the same document.
 */
import { isObject, type Json, type JsonObject } from '../../../src/lib/json.ts'
import type { Answer } from '../differential/comparison.ts'
import type { Question } from '../differential/questions.ts'

export type AskBoth = (question: Question) => Promise<readonly [Answer, Answer]>

/** Rows of docs/merge.md by the rule that judged a document otherwise. */
const rowOfRule: Readonly<Record<string, string>> = {
  exactness: 'R12',
  proximity: 'R2',
  typo: 'R1',
  words: 'R1',
  attribute: 'R1',
  attributeRank: 'R1',
  wordPosition: 'R1',
}

const hitsMax = 1_000

/** null = none is known. */
export async function causeOf({ path, body }: Question, askBoth: AskBoth): Promise<string | null> {
  if (path.includes('/documents') || path.endsWith('/similar')) return null
  const queries = Array.isArray(body?.queries) ? (body.queries as readonly Json[]).filter(isObject) : [body ?? {}]
  for (const query of queries) {
    const { indexUid, federationOptions: _options, ...search } = query
    const place =
      typeof indexUid === 'string' ? `/indexes/${indexUid}/search` : path.replace('/facet-search', '/search')
    const row = await searchCause({ path: place, body: detailed(search) }, askBoth)
    if (row !== null) return row
  }
  return null
}

function detailed(search: JsonObject): JsonObject {
  const {
    page: _p,
    hitsPerPage: _h,
    offset: _o,
    distinct: _d,
    facetName: _n,
    facetQuery: _q,
    exhaustiveFacetCount: _e,
    ...rest
  } = search
  const shown = { attributesToRetrieve: ['id'], showRankingScoreDetails: true, limit: hitsMax }
  return { ...rest, ...shown }
}

async function searchCause(question: Question, askBoth: AskBoth): Promise<string | null> {
  const [expected, actual] = await askBoth(question)
  if (expected.status !== 200 || actual.status !== 200) return null
  const [left, right] = [detailsById(expected.body), detailsById(actual.body)]
  for (const [id, details] of left) {
    const others = right.get(id)
    if (others === undefined) return 'R1'
    for (const [rule, detail] of Object.entries(details))
      if (JSON.stringify(detail) !== JSON.stringify(others[rule])) return rowOfRule[rule] ?? null
  }
  return left.size === right.size ? null : 'R1'
}

function detailsById(body: Json): ReadonlyMap<string, JsonObject> {
  const hits = isObject(body) && Array.isArray(body.hits) ? (body.hits as readonly Json[]).filter(isObject) : []
  return new Map(
    hits.map((hit) => {
      const details = hit._rankingScoreDetails
      return [String(hit.id), details !== undefined && isObject(details) ? details : {}]
    }),
  )
}
