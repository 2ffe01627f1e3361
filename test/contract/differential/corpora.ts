/**
 * Corpora for the differential test: made from a seed, so that both engines and every run get the same documents. They have
 * what real ones have: nested fields, numbers as numbers and as text, dates, places, lists, missing, null and empty values.
 */
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import type { Chance } from './chance.ts'
import { type Language, separators, unspaced, words } from './words.ts'

export interface CorpusPlan {
  readonly name: string
  readonly languages: readonly Language[]
  readonly size: number
  /** Dimensions of the vectors that documents carry for the embedder `manual`; absent = none. */
  readonly dimensions?: number
  /** The vectors are kept as bits. */
  readonly isQuantised?: boolean
  /** Documents have shapes in `_geojson`. */
  readonly hasShapes?: boolean
  /** Documents name people of another index in `author`, and hits show them. */
  readonly hasPeople?: boolean
  /** Dynamic search rules pin documents. */
  readonly hasPins?: boolean
  /** Under how many settings at most: few for text that is known to be cut differently. Default all. */
  readonly settingsMax?: number
  /** Words of a body at most. Default 24. */
  readonly wordsMax?: number
}

export const genres = [
  'Adventure',
  'adventure',
  'Fantasy',
  'Sci-Fi',
  'sci fi',
  'Romance',
  'Économie',
  'Poésie',
  'true',
  '42',
  'history',
  'Cooking',
] as const
const colours = ['red', 'green', 'blue', 'Black', 'white', 'navy blue', 'Rouge', 'rosé'] as const
const countries = ['France', 'Japan', 'brazil', 'Brazil', 'New Zealand', 'Côte d’Ivoire', 'USA', 'Österreich'] as const
const makers = ['Acme', 'Globex', 'Initech', 'Umbrella Corp', 'Stark & Sons', 'acme'] as const

export function makeCorpus(chance: Chance, plan: CorpusPlan): readonly JsonObject[] {
  return Array.from({ length: plan.size }, (_, at) => makeDocument(chance, plan, at))
}

/** A text of some words; several languages may meet in one text. */
export function makeText(chance: Chance, languages: readonly Language[], count: number): string {
  let text = ''
  let language = chance.pick(languages)
  for (let at = 0; at < count; at += 1) {
    if (chance.is(0.15)) language = chance.pick(languages)
    const word = chance.pickEarly(words[language])
    const cased = chance.is(0.15) ? word.charAt(0).toUpperCase() + word.slice(1) : word
    text += at === 0 ? cased : (unspaced.has(language) && chance.is(0.85) ? '' : chance.pick(separators)) + cased
  }
  return chance.is(0.2) ? `${text}${chance.pick(['.', '!', '?', '…', ' '])}` : text
}

function makeDocument(chance: Chance, plan: CorpusPlan, at: number): JsonObject {
  const { languages, wordsMax = 24 } = plan
  const text = (from: number, to: number) => makeText(chance, languages, chance.between(from, to))
  const document: Record<string, Json> = { id: at + 1, title: text(1, 6) }
  if (chance.is(0.85)) document.body = text(3, wordsMax)
  if (chance.is(0.08)) document.body = null
  if (chance.is(0.6)) document.tags = Array.from({ length: chance.between(0, 4) }, () => chance.pick(colours))
  document.genre = makeGenre(chance)
  if (document.genre === 'absent') delete document.genre
  if (chance.is(0.85)) document.price = makePrice(chance)
  if (chance.is(0.9)) document.rating = chance.between(0, 10) / 2
  if (chance.is(0.9)) document.year = chance.between(1950, 2025)
  if (chance.is(0.7)) document.isNew = chance.is(0.5)
  if (chance.is(0.8)) document.date = makeDate(chance)
  if (chance.is(0.75)) document.maker = makeMaker(chance, languages)
  if (chance.is(0.35)) document.variants = Array.from({ length: chance.between(0, 3) }, () => makeVariant(chance))
  if (chance.is(0.6)) document._geo = makePlace(chance)
  if (chance.is(0.3)) document.note = chance.pick(['', [], {}, null, 'plain', 'Plain', ' spaced '])
  if (chance.is(0.5)) document.code = makeCode(chance)
  if (plan.hasShapes === true && chance.is(0.8)) document._geojson = makeShape(chance)
  if (plan.hasPeople === true && chance.is(0.85)) document.author = makeAuthor(chance)
  if (plan.dimensions !== undefined) document._vectors = makeVectors(chance, plan.dimensions)
  return document
}

function makeGenre(chance: Chance): Json {
  if (chance.is(0.1)) return 'absent'
  if (chance.is(0.08)) return null
  if (chance.is(0.2)) return [chance.pick(genres), chance.pick(genres)]
  return chance.pick(genres)
}

function makePrice(chance: Chance): Json {
  if (chance.is(0.08)) return null
  if (chance.is(0.08)) return chance.pick(['12.5', '20', 'free', 'Sold out'])
  if (chance.is(0.1)) return [chance.between(1, 30), chance.between(1, 30)]
  return chance.is(0.5) ? chance.between(-5, 40) : chance.between(0, 4000) / 100
}

function makeDate(chance: Chance): string {
  const two = (value: number) => String(value).padStart(2, '0')
  const day = `${chance.between(2019, 2025)}-${two(chance.between(1, 12))}-${two(chance.between(1, 28))}`
  return chance.is(0.3) ? `${day}T${two(chance.between(0, 23))}:30:00Z` : day
}

function makeMaker(chance: Chance, languages: readonly Language[]): Json {
  const maker: Record<string, Json> = { name: chance.pick(makers) }
  if (chance.is(0.8)) maker.country = chance.pick(countries)
  if (chance.is(0.5)) maker.about = makeText(chance, languages, chance.between(1, 6))
  if (chance.is(0.5))
    maker.size = { employees: chance.between(1, 500), sites: [chance.between(1, 9), chance.between(1, 9)] }
  return maker
}

function makeVariant(chance: Chance): Json {
  const variant: Record<string, Json> = { colour: chance.pick(colours) }
  if (chance.is(0.7)) variant.stock = chance.between(0, 20)
  if (chance.is(0.3)) variant.size = chance.pick(['S', 'M', 'L', 'XL', null])
  return variant
}

/** Around Paris, with some far away and some at the very same place. */
function makePlace(chance: Chance): Json {
  if (chance.is(0.1)) return { lat: 48.8566, lng: 2.3522 }
  if (chance.is(0.15)) return { lat: chance.between(-8500, 8500) / 100, lng: chance.between(-17999, 17999) / 100 }
  const near = { lat: chance.between(480_000, 500_000) / 10_000, lng: chance.between(15_000, 35_000) / 10_000 }
  return chance.is(0.2) ? { lat: String(near.lat), lng: String(near.lng) } : near
}

/** Small, around Paris: what areas of some hundred kilometres meet or miss. */
function makeShape(chance: Chance): Json {
  const [west, south] = [chance.between(100, 400) / 100, chance.between(4700, 5000) / 100]
  // Few digits: what more of them show as is a difference of its own.
  const further = (from: number) => Math.round(from * 100 + chance.between(2, 60)) / 100
  const corners = [
    [west, south],
    [further(west), south],
    [further(west), further(south)],
    [west, further(south)],
  ]
  const kind = chance.between(0, 3)
  if (kind === 0) return { type: 'Point', coordinates: [west, south] }
  if (kind === 1) return { type: 'LineString', coordinates: corners.slice(0, 3) }
  if (kind === 2) return { type: 'MultiPoint', coordinates: corners }
  return { type: 'Polygon', coordinates: [[...corners, [west, south]]] }
}

const peopleCount = 12

function makeAuthor(chance: Chance): Json {
  const one = (): Json =>
    chance.pick<Json>([chance.between(1, peopleCount + 2), chance.between(1, peopleCount), '3', 'no one!'])
  return chance.is(0.3) ? Array.from({ length: chance.between(0, 3) }, one) : chance.is(0.1) ? null : one()
}

/** The documents that `author` names: some names lead nowhere. */
export function makePeople(chance: Chance): readonly JsonObject[] {
  return Array.from({ length: peopleCount }, (_, at) => ({
    id: at + 1,
    name: makeText(chance, ['english'], 2),
    country: chance.pick(countries),
    age: chance.between(20, 80),
  }))
}

function makeCode(chance: Chance): Json {
  const letters = 'ABCDEF'
  const letter = () => letters.charAt(chance.between(0, letters.length - 1))
  return chance.pick([
    `${letter()}${letter()}-${chance.between(1, 200)}`,
    chance.between(1, 2000),
    `${letter()}${chance.between(1, 99)}`,
    `${chance.between(1, 30)}.${chance.between(0, 99)}`,
    `item_${chance.between(1, 50)}@shop`,
  ])
}

export function makeVector(chance: Chance, dimensions: number): number[] {
  return Array.from({ length: dimensions }, () => chance.between(-100, 100) / 100 || 0.01)
}

function makeVectors(chance: Chance, dimensions: number): Json {
  if (chance.is(0.15)) return { manual: null }
  if (chance.is(0.1)) return { manual: [makeVector(chance, dimensions), makeVector(chance, dimensions)] }
  return { manual: makeVector(chance, dimensions) }
}
