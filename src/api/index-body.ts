/** Bodies of the index routes (M-A3). */
import type { Json } from '../lib/json.ts'
import {
  array,
  bodyRoot,
  boolean,
  type Decoder,
  integer,
  object,
  optional,
  orNull,
  required,
  string,
} from './decode.ts'
import { ApiError } from './errors.ts'
import { checkIndexUid, indexUid } from './index-uid.ts'

export interface IndexCreation {
  readonly uid: string
  readonly primaryKey: string | null
}

const creation = object<IndexCreation>({
  uid: required(indexUid, 'invalid_index_uid', 'missing_index_uid'),
  primaryKey: orNull(string, 'invalid_index_primary_key'),
})

export function decodeIndexCreation(body: Json): IndexCreation {
  return creation(body, bodyRoot)
}

export interface IndexUpdate {
  readonly primaryKey: string | null
  /** The new name, for a rename. */
  readonly uid: string | null
}

/** The one place where the reference names no place. */
const newUid: Decoder<string> = (value, at) => checkIndexUid(string(value, at))

const update = object<IndexUpdate>(
  {
    primaryKey: orNull(string, 'invalid_index_primary_key'),
    uid: orNull(newUid, 'invalid_index_uid'),
  },
  { immutable: { createdAt: 'immutable_index_created_at', updatedAt: 'immutable_index_updated_at' } },
)

export function decodeIndexUpdate(body: Json): IndexUpdate {
  return update(body, bodyRoot)
}

export interface Swap {
  readonly indexes: readonly [string, string]
  readonly rename: boolean
}

const swaps = array(
  object<{ indexes: readonly string[]; rename: boolean }>({
    indexes: required(array(indexUid), 'invalid_swap_indexes', 'missing_swap_indexes'),
    rename: optional(boolean, false, 'invalid_swap_rename'),
  }),
)

/** `POST /swap-indexes`, with messages 68 and 69. */
export function decodeSwaps(body: Json): readonly Swap[] {
  const seen = new Set<string>()
  const twice = new Set<string>()
  const decoded = swaps(body, bodyRoot).map(({ indexes, rename }): Swap => {
    const [left, right] = indexes
    if (left === undefined || right === undefined || indexes.length !== 2)
      throw new ApiError(
        'invalid_swap_indexes',
        `Two indexes must be given for each swap. The list \`[${indexes.map((uid) => `"${uid}"`).join(', ')}]\` contains ${indexes.length} indexes.`,
      )
    for (const uid of indexes) {
      if (seen.has(uid)) twice.add(uid)
      seen.add(uid)
    }
    return { indexes: [left, right], rename }
  })
  if (twice.size > 0) {
    const names = [...twice]
      .sort()
      .map((uid) => `\`${uid}\``)
      .join(', ')
    throw new ApiError(
      'invalid_swap_duplicate_index_found',
      `Indexes must be declared only once during a swap. ${names} ${twice.size === 1 ? 'was' : 'were'} specified several times.`,
    )
  }
  return decoded
}

export interface FieldsQuery {
  readonly offset: number
  readonly limit: number
  readonly filter: {
    readonly attributePatterns: readonly string[] | null
    readonly displayed: boolean | null
    readonly searchable: boolean | null
    readonly sortable: boolean | null
    readonly distinct: boolean | null
    readonly rankingRule: boolean | null
    readonly filterable: boolean | null
  } | null
}

const fieldsQuery = object<FieldsQuery>({
  offset: optional(integer, 0, 'invalid_index_offset'),
  limit: optional(integer, 20, 'invalid_index_limit'),
  filter: orNull(
    object<NonNullable<FieldsQuery['filter']>>({
      attributePatterns: orNull(array(string), 'invalid_index_fields_filter_attribute_patterns'),
      displayed: orNull(boolean, 'invalid_index_fields_filter_displayed'),
      searchable: orNull(boolean, 'invalid_index_fields_filter_searchable'),
      sortable: orNull(boolean, 'invalid_index_fields_filter_sortable'),
      distinct: orNull(boolean, 'invalid_index_fields_filter_distinct'),
      rankingRule: orNull(boolean, 'invalid_index_fields_filter_ranking_rule'),
      filterable: orNull(boolean, 'invalid_index_fields_filter_filterable'),
    }),
    'invalid_index_fields_filter',
  ),
})

/** `POST /indexes/{uid}/fields`. */
export function decodeFieldsQuery(body: Json): FieldsQuery {
  return fieldsQuery(body, bodyRoot)
}
