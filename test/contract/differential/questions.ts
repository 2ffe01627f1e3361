/** Requests about one index: words as people type them, with every parameter now and then. */
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import type { Chance } from './chance.ts'
import { type CorpusPlan, makeVector } from './corpora.ts'
import { makeFilter } from './filters.ts'
import { makeMistake } from './mistakes.ts'
import { localesOf, type Settings } from './settings.ts'
import { unspaced, words } from './words.ts'

/** `path` without the base URL, beginning with `/`. */
export interface Question {
  /** Absent = POST. */
  readonly method?: 'GET'
  readonly path: string
  readonly body?: JsonObject
}

export interface Asked {
  readonly uid: string
  readonly plan: CorpusPlan
  readonly documents: readonly JsonObject[]
  readonly settings: Settings
}

export function makeQuestions(chance: Chance, asked: Asked, count: number): readonly Question[] {
  const at = (path: string): Question => ({ method: 'GET', path: `/indexes/${asked.uid}/${path}` })
  const fixed = [at('settings'), at('documents?limit=2'), at('search?q=b&limit=3&attributesToRetrieve=id,title')]
  return [...fixed, ...Array.from({ length: count - fixed.length }, () => makeQuestion(chance, asked))]
}

function makeQuestion(chance: Chance, asked: Asked): Question {
  const { uid, plan } = asked
  const share = chance.random.float()
  if (share < 0.05) return { path: `/indexes/${uid}/facet-search`, body: makeFacetSearch(chance, asked) }
  if (share < 0.11) return { path: '/multi-search', body: makeMultiSearch(chance, asked) }
  if (share < 0.16) return makeMistake(chance, asked, () => makeSearch(chance, asked))
  if (plan.dimensions !== undefined && share < 0.45) return makeVectorQuestion(chance, asked)
  return { path: `/indexes/${uid}/search`, body: makeSearch(chance, asked) }
}

/** `q`: one to five words with typos, cut ends, joins, splits, phrases and exclusions. */
export function makeWords(chance: Chance, { plan, documents }: Asked): string {
  if (chance.is(0.06))
    return chance.pick(['', ' ', '"', '-', '""', '!', '"a', '- x', '12', 'AB-1', '3.5', 'item_1@shop', '   the   '])
  const count = chance.pick([1, 1, 1, 2, 2, 2, 3, 3, 4, 5])
  const parts = chance.is(0.5)
    ? neighbours(chance, documents, count)
    : Array.from({ length: count }, () => oneWord(chance, plan))
  const isJoined = plan.languages.some((language) => unspaced.has(language)) && chance.is(0.4)
  let text = ''
  for (const [at, part] of parts.entries()) {
    const glue =
      at === 0
        ? ''
        : isJoined
          ? ''
          : chance.is(0.06)
            ? ''
            : chance.pick([' ', ' ', ' ', ' ', ' ', ' ', ' ', '-', ', ', '. ', '  ', "'"])
    text += glue + (chance.is(0.25) ? mistype(chance, part, oneWord(chance, plan)) : part)
  }
  if (chance.is(0.12)) text = quoteSome(chance, text)
  if (chance.is(0.07))
    text = `${text} -${chance.is(0.3) ? `"${neighbours(chance, documents, 2).join(' ')}"` : oneWord(chance, plan)}`
  if (chance.is(0.25)) text = [...text].slice(0, -chance.between(1, 3)).join('')
  if (chance.is(0.12)) text = [...text].slice(0, chance.between(1, 3)).join('')
  if (chance.is(0.12)) text += ' '
  if (chance.is(0.05)) text = text.toUpperCase()
  return text
}

function oneWord(chance: Chance, plan: CorpusPlan): string {
  return chance.pickEarly(words[chance.pick(plan.languages)])
}

/** Words that stand next to each other in some document. */
function neighbours(chance: Chance, documents: readonly JsonObject[], count: number): string[] {
  const { title, body } = chance.pick(documents)
  const text = chance.is(0.5) && typeof body === 'string' ? body : typeof title === 'string' ? title : 'prince'
  const parts = text.split(/[\s,.;:!?()/…]+/).filter((part) => part !== '')
  if (parts.length === 0) return ['book']
  const from = chance.between(0, Math.max(0, parts.length - count))
  return parts.slice(from, from + count)
}

/** @param other  where wrong letters come from. */
function mistype(chance: Chance, word: string, other: string): string {
  const letters = [...word]
  if (letters.length < 3) return word
  const times = letters.length > 7 && chance.is(0.3) ? 2 : 1
  for (let round = 0; round < times; round += 1) {
    const at = chance.between(0, letters.length - 2)
    const some = chance.pick([...other])
    const kind = chance.between(0, 4)
    if (kind === 0) letters.splice(at, 1)
    else if (kind === 1) letters.splice(at, 0, some)
    else if (kind === 2) letters[at] = some
    else if (kind === 3) letters.splice(at, 2, letters[at + 1]!, letters[at]!)
    else letters.splice(at + 1, 0, ' ')
  }
  return letters.join('')
}

function quoteSome(chance: Chance, text: string): string {
  const parts = text.split(' ')
  const from = chance.between(0, parts.length - 1)
  const to = chance.between(from, parts.length - 1)
  parts[from] = `"${parts[from]}`
  if (chance.is(0.85)) parts[to] = `${parts[to]}"`
  return parts.join(' ')
}

export function makeSearch(chance: Chance, asked: Asked): JsonObject {
  const { plan } = asked
  const query: Record<string, Json> = {}
  if (chance.is(0.88)) query.q = makeWords(chance, asked)
  if (chance.is(0.3)) query.filter = makeFilter(chance, plan)
  if (chance.is(0.18)) query.sort = makeSort(chance)
  if (chance.is(0.35)) query.matchingStrategy = chance.pick(['last', 'all', 'frequency'])
  if (chance.is(0.65)) query.showRankingScoreDetails = true
  if (chance.is(0.3)) query.showRankingScore = true
  if (chance.is(0.08)) query.rankingScoreThreshold = chance.pick([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
  if (chance.is(0.08)) query.distinct = chance.pick(['genre', 'maker.name', 'tags', 'year', 'price', 'title'])
  if (chance.is(0.15)) query.facets = makeFacets(chance)
  if (chance.is(0.1)) query.attributesToSearchOn = makeAttributesToSearchOn(chance)
  if (chance.is(0.06)) query.locales = makeLocales(chance, plan)
  if (chance.is(0.02)) query.searchCutoffMs = 1000
  addPage(chance, query)
  addFormat(chance, query)
  return query
}

function addPage(chance: Chance, query: Record<string, Json>): void {
  if (chance.is(0.15)) {
    if (chance.is(0.8)) query.page = chance.between(0, 4)
    if (chance.is(0.8)) query.hitsPerPage = chance.pick([0, 1, 2, 5, 10, 30])
    return
  }
  if (chance.is(0.25)) query.limit = chance.pick([0, 1, 2, 5, 10, 40, 100])
  if (chance.is(0.15)) query.offset = chance.pick([0, 1, 3, 10, 50])
}

const retrievals: readonly (readonly string[])[] = [
  ['id'],
  ['id', 'title'],
  ['*'],
  [],
  ['id', 'maker.name', 'variants.colour'],
  ['maker', 'maker.size.sites'],
  ['id', 'unknown'],
]

/** Whole documents are asked for now and then only: they are most of what an answer weighs. */
function addFormat(chance: Chance, query: Record<string, Json>): void {
  query.attributesToRetrieve = chance.is(0.9) ? ['id'] : [...chance.pick(retrievals)]
  if (chance.is(0.25)) {
    query.attributesToHighlight = [
      ...chance.pick([
        ['*'],
        ['title'],
        ['title', 'body'],
        ['maker.about', 'tags'],
        ['maker'],
        ['year', 'title'],
        ['variants'],
      ]),
    ]
    if (chance.is(0.3)) query.highlightPreTag = '<b>'
    if (chance.is(0.3)) query.highlightPostTag = chance.pick(['</b>', ''])
    if (query.limit === undefined && query.page === undefined && query.hitsPerPage === undefined) query.limit = 6
  }
  if (chance.is(0.18)) {
    query.attributesToCrop = [
      ...chance.pick([
        ['body'],
        ['body:5', 'title:2'],
        ['*'],
        ['title', 'body:12'],
        ['maker.about:3'],
        ['*:4'],
        ['tags:1'],
      ]),
    ]
    if (chance.is(0.5)) query.cropLength = chance.pick([0, 1, 2, 3, 5, 8, 20])
    if (chance.is(0.2)) query.cropMarker = chance.pick(['', '...', '<cut>'])
    if (query.limit === undefined && query.page === undefined && query.hitsPerPage === undefined) query.limit = 6
  }
  if (chance.is(0.15)) query.showMatchesPosition = true
}

/**
 * Languages for which several locales, or any, choose another way of cutting than the embedded engine's stay out; see
 * docs/engine-differences.md.
 */
function makeLocales(chance: Chance, { languages }: CorpusPlan): Json {
  const own = localesOf(languages)
  if (languages.includes('chinese')) return [...own]
  if (languages.includes('german')) return []
  return languages.includes('swedish') ? [chance.pick([...own, 'fr'])] : chance.some([...own, 'eng', 'fr'], 0.5)
}

function makeSort(chance: Chance): Json {
  const fields = ['price', 'rating', 'year', 'title', 'date', 'genre', 'maker.name', 'variants.stock', 'code']
  const one = () =>
    chance.is(0.2)
      ? `_geoPoint(${chance.pick(['48.85, 2.35', '0,0', '-33.8,151.2', '48.8566,2.3522'])}):${chance.pick(['asc', 'desc'])}`
      : `${chance.pick(fields)}:${chance.pick(['asc', 'desc'])}`
  return Array.from({ length: chance.pick([1, 1, 1, 2, 2, 3]) }, one)
}

const facetFields = [
  'genre',
  'tags',
  'price',
  'rating',
  'year',
  'isNew',
  'maker.name',
  'maker.country',
  'variants.colour',
  'variants.stock',
  'date',
  'code',
  'note',
  'maker.size.sites',
] as const

function makeFacets(chance: Chance): string[] {
  if (chance.is(0.12)) return ['*']
  if (chance.is(0.1)) return chance.some(['maker*', 'variants.*', '*', 'unknown', 'maker', 'g*'], 0.5)
  return Array.from({ length: chance.between(1, 4) }, () => chance.pick(facetFields))
}

function makeAttributesToSearchOn(chance: Chance): Json {
  return [
    ...chance.pick([
      ['title'],
      ['body'],
      ['title', 'body'],
      ['maker'],
      ['maker.about'],
      ['tags', 'genre'],
      ['*'],
      ['t*'],
      ['code'],
      ['unknown'],
      ['variants.colour', 'title'],
      ['b*', 'tags'],
    ]),
  ]
}

function makeFacetSearch(chance: Chance, asked: Asked): JsonObject {
  const query: Record<string, Json> = {
    facetName: chance.pick([...facetFields, 'genre', 'tags', 'genre', 'maker.name', 'unknown']),
  }
  if (chance.is(0.85))
    query.facetQuery = chance.pick([
      '',
      'a',
      'adv',
      'Adventur',
      'adventrue',
      'fant',
      'fanatsy',
      'blu',
      'navy',
      'rose',
      'é',
      'eco',
      'sci',
      'ac',
      'umbrela',
      'fra',
      'new',
      'braz',
      '20',
      'tru',
      null,
    ])
  if (chance.is(0.3)) query.q = makeWords(chance, asked)
  if (chance.is(0.3)) query.filter = makeFilter(chance, asked.plan)
  if (chance.is(0.2)) query.matchingStrategy = chance.pick(['last', 'all', 'frequency'])
  if (chance.is(0.2)) query.exhaustiveFacetCount = chance.is(0.5)
  if (chance.is(0.1)) query.attributesToSearchOn = makeAttributesToSearchOn(chance)
  if (chance.is(0.05)) query.rankingScoreThreshold = 0.5
  return query
}

const pageOptions = ['offset', 'limit', 'page', 'hitsPerPage', 'facets'] as const

function makeMultiSearch(chance: Chance, asked: Asked): JsonObject {
  const isFederated = chance.is(0.75)
  const queries = Array.from({ length: chance.between(1, 3) }, () => {
    const query: Record<string, Json> = { indexUid: asked.uid, ...makeSearch(chance, asked) }
    if (isFederated && chance.is(0.93)) for (const name of pageOptions) delete query[name]
    if (isFederated && chance.is(0.5)) query.federationOptions = { weight: chance.pick([0, 0.3, 0.9, 1, 1.5, 4]) }
    if (chance.is(0.03)) query.indexUid = 'nowhere'
    return query
  })
  if (!isFederated) return { queries }
  const federation: Record<string, Json> = {}
  if (chance.is(0.4)) federation.limit = chance.between(0, 12)
  if (chance.is(0.2)) federation.offset = chance.between(0, 5)
  if (chance.is(0.15)) {
    federation.page = chance.between(0, 3)
    federation.hitsPerPage = chance.between(0, 8)
  }
  if (chance.is(0.4)) federation.facetsByIndex = { [asked.uid]: chance.is(0.1) ? null : makeFacets(chance) }
  if (chance.is(0.2)) federation.mergeFacets = chance.is(0.5) ? {} : { maxValuesPerFacet: chance.between(1, 6) }
  if (chance.is(0.25)) federation.distinct = chance.pick(['genre', 'year', 'maker.name'])
  return { federation, queries }
}

function makeVectorQuestion(chance: Chance, asked: Asked): Question {
  const { uid, plan, documents } = asked
  const dimensions = plan.dimensions ?? 0
  if (chance.is(0.25)) {
    const body: Record<string, Json> = {
      id: chance.pick(documents).id ?? 1,
      embedder: 'manual',
      attributesToRetrieve: ['id'],
    }
    if (chance.is(0.5)) body.showRankingScore = true
    if (chance.is(0.3)) body.showRankingScoreDetails = true
    if (chance.is(0.3)) body.filter = makeFilter(chance, plan)
    if (chance.is(0.3)) body.limit = chance.between(0, 10)
    if (chance.is(0.2)) body.offset = chance.between(0, 4)
    if (chance.is(0.15)) body.rankingScoreThreshold = 0.8
    if (chance.is(0.05)) body.embedder = 'other'
    if (chance.is(0.05)) body.id = 'nobody'
    if (chance.is(0.1)) body.retrieveVectors = true
    return { path: `/indexes/${uid}/similar`, body }
  }
  const body: Record<string, Json> = {
    ...makeSearch(chance, asked),
    hybrid: { embedder: 'manual', semanticRatio: chance.pick([0, 0.2, 0.5, 0.8, 1]) },
  }
  body.vector = makeVector(chance, chance.is(0.04) ? dimensions + 1 : dimensions)
  if (chance.is(0.25)) body.rankingScoreThreshold = chance.pick([0.2, 0.5, 0.7, 0.9])
  if (chance.is(0.3)) delete body.q
  if (chance.is(0.1)) body.retrieveVectors = true
  if (chance.is(0.04)) delete body.vector
  return { path: `/indexes/${uid}/search`, body }
}
