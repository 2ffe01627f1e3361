/**
 * `_foreign(field, condition)`: as in the reference, the condition is asked of the other index, and the filter then says
 * which ids the field must hold.
 */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import { type Filter, parseFilter, renderFilter, spanTail } from '../../api/filter.ts'
import type { Word } from '../../api/filter-tree.ts'
import type { Json } from '../../lib/json.ts'
import type { IndexReader } from '../index-reader.ts'
import { evaluateFilter } from './filter-evaluation.ts'
import type { ForeignKey } from './foreign-documents.ts'

export interface ForeignFilters {
  readonly uid: string
  readonly keys: readonly ForeignKey[]
  /** Ids of the documents of the index `uid` that match. @throws ApiError `index_not_found`, or what is wrong with the filter. */
  readonly ids: (uid: string, filter: Filter) => Iterable<string>
}

/** The filter without conditions on other indexes. @throws ApiError */
export function resolveForeign(filter: Json, code: ErrorCode, foreign: ForeignFilters): Json {
  if (filter === null || !JSON.stringify(filter).includes('_foreign')) return filter
  const parsed = parseFilter(filter, code)
  return parsed === null || !isForeign(parsed) ? filter : renderFilter(resolved(parsed, code, foreign))
}

/** @throws ApiError where such conditions cannot stand. */
export function refuseForeign(filter: Filter | null, code: ErrorCode): void {
  const found = filter === null ? undefined : foreignField(filter)
  if (found !== undefined)
    throw new ApiError(code, `Filter condition \`_foreign\` is not supported for this endpoint.${spanTail(found)}`)
}

const isForeign = (filter: Filter): boolean => foreignField(filter) !== undefined

function foreignField(filter: Filter): Word | undefined {
  if (filter.kind === 'foreign') return filter.field
  if (filter.kind === 'not') return foreignField(filter.filter)
  if (filter.kind !== 'and' && filter.kind !== 'or') return undefined
  for (const part of filter.filters) {
    const found = foreignField(part)
    if (found !== undefined) return found
  }
  return undefined
}

function resolved(filter: Filter, code: ErrorCode, foreign: ForeignFilters): Filter {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return { ...filter, filters: filter.filters.map((part) => resolved(part, code, foreign)) }
    case 'not':
      return { ...filter, filter: resolved(filter.filter, code, foreign) }
    case 'foreign':
      return idsOf(filter, foreign)
    default:
      return filter
  }
}

function idsOf({ field, filter }: Extract<Filter, { kind: 'foreign' }>, { uid, keys, ids }: ForeignFilters): Filter {
  const refused = (text: string) => new ApiError('invalid_search_filter', `Index \`${uid}\`: ${text}`)
  if (isForeign(filter)) throw refused('Nested foreign filters are not supported')
  const key = keys.find(({ fieldName }) => fieldName === field.text)
  if (key === undefined) throw refused(`Field \`${field.text}\` is not a foreign key`)
  const values = [...ids(key.foreignIndexUid, filter)].map(
    (text): Word => ({ text, quoted: true, source: text, start: 0, end: text.length }),
  )
  return { kind: 'in', field, negated: false, values }
}

/** Ids of the documents of an index that match a condition of a foreign filter. */
export function matchingIds(reader: IndexReader, filter: Filter, uid: string): readonly string[] {
  try {
    return [...evaluateFilter(reader, filter, 'invalid_document_filter')].map((docid) => reader.documentIdOf(docid))
  } catch (error) {
    if (error instanceof ApiError) throw new ApiError(error.code, `Index \`${uid}\`: ${error.message}`)
    throw error
  }
}
