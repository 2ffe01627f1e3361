/** Kinds of questions, as the table of docs/merge.md counts them. */
import { isObject, type Json, type JsonObject } from '../../../src/lib/json.ts'
import type { Answer } from '../differential/comparison.ts'
import type { Question } from '../differential/questions.ts'
import type { World } from '../differential/worlds.ts'

export type Kind =
  | 'refused'
  | 'similar'
  | 'facet-search'
  | 'documents'
  | 'federation'
  | 'multi-search'
  | 'hybrid'
  | 'semantic'
  | 'distinct'
  | 'frequency'
  | 'threshold'
  | 'facets'
  | 'places'
  | 'sort'
  | 'formatted'
  | 'page'
  | 'phrase or excluded word'
  | 'several words'
  | 'one word'
  | 'no word'

/** The queries of a request: of a multi-search several, of others the body itself. */
export function queriesOf({ body, path }: Question): readonly JsonObject[] {
  if (body === undefined) return [Object.fromEntries(new URLSearchParams(path.split('?')[1] ?? ''))]
  return Array.isArray(body.queries) ? (body.queries as readonly Json[]).filter(isObject) : [body]
}

/** Whether some query, the federation or the settings ask for distinct values. */
export function isDistinct(question: Question, { settings }: World): boolean {
  const federation = question.body?.federation
  return (
    typeof settings.distinctAttribute === 'string' ||
    queriesOf(question).some(({ distinct }) => typeof distinct === 'string') ||
    (isObject(federation ?? null) && typeof (federation as JsonObject).distinct === 'string')
  )
}

export const isFrequency = (question: Question): boolean =>
  queriesOf(question).some(({ matchingStrategy }) => matchingStrategy === 'frequency')

export const isFaceted = (question: Question): boolean =>
  question.path.includes('facet-search') ||
  isObject(question.body?.federation ?? null) ||
  queriesOf(question).some(({ facets }) => facets !== undefined)

export const isFormatted = (question: Question): boolean =>
  queriesOf(question).some(
    (query) =>
      query.attributesToHighlight !== undefined ||
      query.attributesToCrop !== undefined ||
      query.showMatchesPosition === true,
  )

export const isThreshold = (question: Question): boolean =>
  queriesOf(question).some(({ rankingScoreThreshold }) => typeof rankingScoreThreshold === 'number')

export const isVector = (question: Question): boolean =>
  question.path.endsWith('/similar') || queriesOf(question).some(({ hybrid }) => isObject(hybrid ?? null))

/** The first that fits. */
export function kindOf(question: Question, world: World, expected: Answer): Kind {
  if (expected.status >= 400) return 'refused'
  const { path, body = {} } = question
  if (path.endsWith('/similar')) return 'similar'
  if (path.endsWith('/facet-search')) return 'facet-search'
  if (path.includes('/documents')) return 'documents'
  if (isDistinct(question, world)) return 'distinct'
  if (isFrequency(question)) return 'frequency'
  if (isObject(body.federation ?? null)) return 'federation'
  if (path === '/multi-search') return 'multi-search'
  const ratio = isObject(body.hybrid ?? null) ? Number((body.hybrid as JsonObject).semanticRatio) : 0
  const hasWords = typeof body.q === 'string' && body.q.trim() !== ''
  if (ratio > 0 && (body.vector !== undefined || hasWords)) return ratio < 1 && hasWords ? 'hybrid' : 'semantic'
  if (isThreshold(question)) return 'threshold'
  if (body.facets !== undefined) return 'facets'
  const sort = JSON.stringify(body.sort ?? [])
  if (sort.includes('_geoPoint')) return 'places'
  if (sort !== '[]') return 'sort'
  if (isFormatted(question)) return 'formatted'
  if (body.page !== undefined || body.hitsPerPage !== undefined) return 'page'
  if (!hasWords) return 'no word'
  const q = String(body.q)
  if (/"|(?:^|\s)-/.test(q)) return 'phrase or excluded word'
  return /\s/.test(q.trim()) ? 'several words' : 'one word'
}
