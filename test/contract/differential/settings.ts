/** Settings for the differential test: a base under which most things can be asked, and variations that are laid over it. */
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import type { Chance } from './chance.ts'
import type { CorpusPlan } from './corpora.ts'
import { type Language, words } from './words.ts'

export type Settings = Readonly<Record<string, Json>>

interface Variation {
  readonly name: string
  make(chance: Chance, languages: readonly Language[]): Settings
}

const builtIn = ['words', 'typo', 'proximity', 'attributeRank', 'sort', 'wordPosition', 'exactness'] as const

export const searchableInOrder = ['title', 'body', 'maker', 'tags', 'code', 'genre'] as const

const everything: Json = {
  attributePatterns: ['*'],
  features: { facetSearch: true, filter: { equality: true, comparison: true } },
}

const filterable: readonly Json[] = [
  'genre',
  'tags',
  'price',
  'rating',
  'year',
  'isNew',
  'date',
  'maker',
  'variants',
  'code',
  'note',
  'id',
  '_geo',
  { attributePatterns: ['tit*'], features: { facetSearch: true, filter: { equality: true, comparison: true } } },
]

/** The index of the people whom documents of `uid` name. */
export const peopleOf = (uid: string): string => `${uid}-people`

export function baseSettings(uid: string, { dimensions, isQuantised, hasShapes, hasPeople }: CorpusPlan): Settings {
  const manual = {
    source: 'userProvided',
    dimensions: dimensions ?? 0,
    ...(isQuantised === true ? { binaryQuantized: true } : {}),
  }
  const more = [...(hasShapes === true ? ['_geojson'] : []), ...(hasPeople === true ? ['author'] : [])]
  return {
    filterableAttributes: [...filterable, ...more],
    sortableAttributes: [
      'price',
      'rating',
      'year',
      'title',
      'date',
      'genre',
      'maker.name',
      'variants.stock',
      '_geo',
      'code',
    ],
    ...(dimensions === undefined ? {} : { embedders: { manual } }),
    ...(hasPeople === true ? { foreignKeys: [{ foreignIndexUid: peopleOf(uid), fieldName: 'author' }] } : {}),
  }
}

export const variations: readonly Variation[] = [
  { name: 'default', make: () => ({}) },
  { name: 'searchable in order', make: () => ({ searchableAttributes: [...searchableInOrder] }) },
  {
    name: 'few searchable',
    make: (chance) => ({
      searchableAttributes: chance
        .some(['body', 'title', 'maker.about', 'variants.colour', 'code'], 0.7)
        .concat('tags'),
    }),
  },
  { name: 'rules shuffled', make: (chance) => ({ rankingRules: chance.shuffle(builtIn) }) },
  {
    name: 'rules shuffled, some left out',
    make: (chance) => ({ rankingRules: [...chance.some(chance.shuffle(builtIn), 0.7), 'rating:desc'] }),
  },
  {
    name: 'attribute rule',
    make: (chance) => ({ rankingRules: attributeRules(chance), searchableAttributes: [...searchableInOrder] }),
  },
  { name: 'custom rules', make: (chance) => ({ rankingRules: customRules(chance) }) },
  { name: 'sort first', make: () => ({ rankingRules: ['sort', ...builtIn.filter((rule) => rule !== 'sort')] }) },
  { name: 'exactness first', make: () => ({ rankingRules: ['exactness', 'words', 'typo', 'proximity', 'sort'] }) },
  { name: 'no words rule', make: () => ({ rankingRules: ['typo', 'proximity', 'exactness', 'sort'] }) },
  { name: 'no sort rule', make: () => ({ rankingRules: ['words', 'typo', 'exactness', 'year:asc'] }) },
  { name: 'stop words and synonyms', make: wordLists },
  {
    name: 'stop words',
    make: (chance, languages) => ({
      stopWords: chance.pick(languages.map((name) => words[name].slice(0, 30))).slice(0, 8),
    }),
  },
  {
    name: 'small words may have typos',
    make: (chance) => ({
      typoTolerance: { minWordSizeForTypos: { oneTypo: chance.between(2, 4), twoTypos: chance.between(5, 8) } },
    }),
  },
  { name: 'no typos', make: () => ({ typoTolerance: { enabled: false } }) },
  { name: 'typos not everywhere', make: typosNotEverywhere },
  { name: 'no prefix search', make: () => ({ prefixSearch: 'disabled' }) },
  { name: 'proximity by attribute', make: () => ({ proximityPrecision: 'byAttribute' }) },
  { name: 'separators', make: separatorLists },
  {
    name: 'distinct',
    make: (chance) => ({ distinctAttribute: chance.pick(['genre', 'maker.name', 'tags', 'year', 'variants.colour']) }),
  },
  {
    name: 'facets by count',
    make: (chance) => ({
      faceting: {
        maxValuesPerFacet: chance.between(2, 12),
        sortFacetValuesBy: { '*': 'count', genre: 'alpha', year: 'alpha' },
      },
    }),
  },
  { name: 'few hits in all', make: (chance) => ({ pagination: { maxTotalHits: chance.between(3, 30) } }) },
  { name: 'granular filters', make: granularFilters },
  {
    name: 'some displayed',
    make: () => ({ displayedAttributes: ['id', 'title', 'tags', 'maker.name', 'price', 'variants'] }),
  },
  { name: 'localised', make: localised },
  {
    name: 'everything filterable',
    make: (chance) => ({ filterableAttributes: [chance.is(0.5) ? '*' : everything] }),
  },
  { name: 'no facet search', make: () => ({ facetSearch: false }) },
  { name: 'nothing filterable', make: () => ({ filterableAttributes: [], sortableAttributes: ['year'] }) },
]

function attributeRules(chance: Chance): Json {
  return chance.shuffle(['words', 'typo', 'proximity', 'attribute', 'sort', 'exactness'])
}

function customRules(chance: Chance): Json {
  const fields = ['price', 'rating', 'year', 'title', 'maker.name', 'tags', 'date']
  const custom = chance.shuffle(fields).slice(0, chance.between(1, 2))
  const rules: Json[] = [...builtIn]
  for (const field of custom)
    rules.splice(chance.between(0, rules.length), 0, `${field}:${chance.pick(['asc', 'desc'])}`)
  return rules
}

function wordLists(chance: Chance, languages: readonly Language[]): Settings {
  const known = languages.flatMap((name) => words[name])
  const word = () => chance.pickEarly(known)
  const phrase = () => Array.from({ length: chance.between(1, 3) }, word).join(' ')
  const synonyms: Record<string, string[]> = {}
  for (let at = 0; at < 25; at += 1)
    synonyms[chance.is(0.7) ? word() : phrase()] = Array.from({ length: chance.between(1, 3) }, phrase)
  return { synonyms, stopWords: chance.is(0.5) ? known.slice(0, 6) : [] }
}

function typosNotEverywhere(chance: Chance, languages: readonly Language[]): Settings {
  const known = languages.flatMap((name) => words[name])
  return {
    typoTolerance: {
      disableOnWords: Array.from({ length: 12 }, () => chance.pick(known)),
      disableOnAttributes: chance.some(['title', 'maker', 'code', 'tags'], 0.5),
      disableOnNumbers: chance.is(0.6),
    },
  }
}

function separatorLists(chance: Chance, languages: readonly Language[]): Settings {
  const known = languages.flatMap((name) => words[name])
  const joined = () => `${chance.pick(known)}${chance.pick(['-', ' ', '. ', '/'])}${chance.pick(known)}`
  return {
    separatorTokens: chance.some(['&sep', 'oo', '<br>', '…', '|'], 0.6),
    nonSeparatorTokens: chance.some(['@', '#', '-', '_', "'"], 0.5),
    dictionary: Array.from({ length: 5 }, joined),
  }
}

function granularFilters(chance: Chance): Settings {
  const rule = (attributePatterns: Json, facetSearch: boolean, equality: boolean, comparison: boolean): JsonObject => ({
    attributePatterns,
    features: { facetSearch, filter: { equality, comparison } },
  })
  return {
    filterableAttributes: [
      rule(['genre', 'tags'], true, true, false),
      rule(['price', 'ra*'], false, false, true),
      rule(['maker.*'], chance.is(0.5), true, chance.is(0.5)),
      'year',
      rule(['*ate'], false, true, true),
      '_geo',
    ],
  }
}

const localeOf: Readonly<Record<Language, string>> = {
  english: 'eng',
  french: 'fra',
  german: 'deu',
  spanish: 'spa',
  swedish: 'swe',
  turkish: 'tur',
  vietnamese: 'vie',
  russian: 'rus',
  greek: 'ell',
  hebrew: 'heb',
  arabic: 'ara',
  chinese: 'cmn',
  thai: 'tha',
}

/** See `makeLocales` of the questions for what stays out. */
function localised(chance: Chance, languages: readonly Language[]): Settings {
  if (languages.includes('german')) return {}
  const all = languages.map((name) => localeOf[name])
  const locales = languages.includes('swedish') ? all.slice(0, 1) : all
  const ofTitle = chance.pick(locales)
  return {
    localizedAttributes: [
      { attributePatterns: ['title'], locales: [languages.includes('chinese') ? localeOf.chinese : ofTitle] },
      { attributePatterns: ['*'], locales },
    ],
  }
}

export function localesOf(languages: readonly Language[]): readonly string[] {
  return languages.map((name) => localeOf[name])
}
