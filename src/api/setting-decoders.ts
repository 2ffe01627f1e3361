/** What each setting may be (M-D2, M-D3): one decoder each. `null` never reaches them at the top. */
import { isObject, type Json } from '../lib/json.ts'
import {
  array,
  boolean,
  type Decoder,
  type Field,
  integer,
  invalidValue,
  jsonObject,
  nullable,
  object,
  oneOf,
  record,
  required,
  string,
  wrongType,
} from './decode.ts'
import { embedderDecoder } from './embedder-settings.ts'
import { ApiError } from './errors.ts'
import { indexUid } from './index-uid.ts'
import { localeCodes } from './locales.ts'

export type SettingName =
  | 'displayedAttributes'
  | 'searchableAttributes'
  | 'filterableAttributes'
  | 'sortableAttributes'
  | 'foreignKeys'
  | 'rankingRules'
  | 'stopWords'
  | 'nonSeparatorTokens'
  | 'separatorTokens'
  | 'dictionary'
  | 'synonyms'
  | 'distinctAttribute'
  | 'proximityPrecision'
  | 'typoTolerance'
  | 'faceting'
  | 'pagination'
  | 'embedders'
  | 'searchCutoffMs'
  | 'localizedAttributes'
  | 'facetSearch'
  | 'prefixSearch'
  | 'chat'

type Sparse = Record<string, Json | undefined>

/** An object of which only named keys are there, each of which may be null (= reset). */
export function partial(fields: Readonly<Record<string, Decoder<Json>>>): Decoder<Json> {
  const decode = object<Sparse>(
    Object.fromEntries(
      Object.entries(fields).map(([name, inner]): [string, Field<Json | undefined>] => [
        name,
        { decode: nullable(inner), fallback: () => undefined },
      ]),
    ),
  )
  return (value, at) =>
    Object.fromEntries(
      Object.entries(decode(value, at)).filter((entry): entry is [string, Json] => entry[1] !== undefined),
    )
}

/** Words without repetition, in order of bytes. */
const set: Decoder<Json> = (value, at) =>
  [...new Set(array(string)(value, at))].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

/** An object with free names, in order of bytes. */
function sortedRecord(decode: Decoder<Json>): Decoder<Json> {
  return (value, at) =>
    Object.fromEntries(
      Object.entries(record(decode)(value, at)).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    )
}

/** An integer of at most `most`. */
function integerUpTo(most: number): Decoder<number> {
  return (value, at) => {
    const decoded = integer(value, at)
    if (decoded > most)
      throw invalidValue(
        `value: \`${decoded}\` is too large to be deserialized, maximum value authorized is \`${most}\``,
        at,
      )
    return decoded
  }
}

const filterableRule: Decoder<Json> = (value, at) => {
  if (typeof value === 'string') return value
  if (!isObject(value)) throw wrongType(value, at, 'string')
  return filterableObject(value, at)
}

const filterableObject = object<{ attributePatterns: readonly string[]; features: Json }>({
  attributePatterns: required(array(string)),
  features: {
    decode: object<{ facetSearch: boolean; filter: { equality: boolean; comparison: boolean } }>({
      facetSearch: { decode: boolean, fallback: () => false },
      filter: {
        decode: object<{ equality: boolean; comparison: boolean }>({
          equality: { decode: boolean, fallback: () => true },
          comparison: { decode: boolean, fallback: () => false },
        }),
        fallback: () => ({ equality: true, comparison: false }),
      },
    }),
    fallback: () => ({ facetSearch: false, filter: { equality: true, comparison: false } }),
  },
})

const builtInRules = new Set([
  'words',
  'typo',
  'sort',
  'proximity',
  'attribute',
  'attributeRank',
  'wordPosition',
  'exactness',
])

const geoFilters = new Set(['_geoRadius', '_geoBoundingBox', '_geoPolygon'])
const reservedNames = ['_geoPoint', ...geoFilters, '_geoDistance', '_geo']

const rankingRule: Decoder<string> = (value, at) => {
  const rule = string(value, at)
  if (builtInRules.has(rule)) return rule
  const field = /^(.*):(?:asc|desc)$/s.exec(rule)?.[1]
  if (field === undefined)
    throw invalidValue(
      `\`${rule}\` ranking rule is invalid. Valid ranking rules are words, typo, sort, proximity, attribute, exactness and custom ranking rules.`,
      at,
    )
  const reserved = reservedNames.find((name) => field === name || field.startsWith(`${name}(`))
  if (reserved !== undefined) {
    const use = reserved === '_geoPoint' ? 'sorting' : geoFilters.has(reserved) ? 'filtering' : undefined
    throw invalidValue(
      use === undefined
        ? `\`${field}\` is a reserved keyword and thus can't be used as a ranking rule`
        : `\`${reserved}\` is a reserved keyword and thus can't be used as a ranking rule. \`${reserved}\` can only be used for ${use} at search time`,
      at,
    )
  }
  return rule
}

/** Message 59. */
const rankingRules: Decoder<Json> = (value, at) => {
  const rules = array(rankingRule)(value, at)
  if (rules.includes('attribute') && (rules.includes('attributeRank') || rules.includes('wordPosition')))
    throw new ApiError(
      at.code,
      'Mixed usage of the attribute, attributeRank, and wordPosition ranking rules. You must either use the attribute ranking rule alone or the attributeRank and wordPosition ranking rules.',
    )
  return rules
}

const byte = integerUpTo(255)
const sizes = partial({ oneTypo: byte, twoTypos: byte })

/** Message 60. */
const wordSizes: Decoder<Json> = (value, at) => {
  const decoded = sizes(value, at)
  if (isObject(decoded) && typeof decoded.oneTypo === 'number' && typeof decoded.twoTypos === 'number') {
    const { oneTypo, twoTypos } = decoded
    if (oneTypo > twoTypos)
      throw invalidValue(
        `\`minWordSizeForTypos\` setting is invalid. \`oneTypo\` and \`twoTypos\` fields should be between \`0\` and \`255\`, and \`twoTypos\` should be greater or equals to \`oneTypo\` but found \`oneTypo: ${oneTypo}\` and twoTypos: ${twoTypos}\`.`,
        at,
      )
  }
  return decoded
}

/** Message 90. */
const nonZero: Decoder<number> = (value, at) => {
  const decoded = integer(value, at)
  if (decoded === 0)
    throw invalidValue('a non-zero integer value lower than `18446744073709551615` was expected, but found a zero', at)
  return decoded
}

const names: Decoder<Json> = array(string)

export const settingDecoders: Record<SettingName, Decoder<Json>> = {
  displayedAttributes: names,
  searchableAttributes: names,
  filterableAttributes: array(filterableRule),
  sortableAttributes: set,
  foreignKeys: array(
    object<{ foreignIndexUid: string; fieldName: string }>({
      foreignIndexUid: required(indexUid),
      fieldName: required(string),
    }),
  ) as Decoder<Json>,
  rankingRules,
  stopWords: set,
  nonSeparatorTokens: set,
  separatorTokens: set,
  dictionary: set,
  synonyms: sortedRecord(array(string)),
  distinctAttribute: string,
  proximityPrecision: oneOf('byWord', 'byAttribute'),
  typoTolerance: partial({
    enabled: boolean,
    minWordSizeForTypos: wordSizes,
    disableOnWords: set,
    disableOnAttributes: set,
    disableOnNumbers: boolean,
  }),
  faceting: partial({
    maxValuesPerFacet: integer,
    sortFacetValuesBy: sortedRecord(oneOf('alpha', 'count')),
  }),
  pagination: partial({ maxTotalHits: nonZero }),
  embedders: sortedRecord(nullable(embedderDecoder)),
  searchCutoffMs: integer,
  localizedAttributes: array(
    object<{ attributePatterns: readonly string[]; locales: readonly string[] }>({
      attributePatterns: required(array(string)),
      locales: required(array(oneOf(...localeCodes))),
    }),
  ) as Decoder<Json>,
  facetSearch: boolean,
  prefixSearch: oneOf('indexingTime', 'disabled'),
  chat: partial({
    description: string,
    documentTemplate: string,
    documentTemplateMaxBytes: integer,
    searchParameters: jsonObject as Decoder<Json>,
  }),
}
