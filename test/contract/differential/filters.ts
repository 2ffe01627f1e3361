/** Filters by the whole grammar: strings, and lists of strings and lists. */
import type { Json } from '../../../src/lib/json.ts'
import type { Chance } from './chance.ts'
import { type CorpusPlan, genres } from './corpora.ts'

const numberFields = [
  'price',
  'rating',
  'year',
  'variants.stock',
  'maker.size.employees',
  'maker.size.sites',
  'code',
] as const
const textFields = [
  'genre',
  'tags',
  'maker.name',
  'maker.country',
  'date',
  'isNew',
  'variants.colour',
  'title',
  'note',
  'variants.size',
] as const
const anyFields = [...numberFields, ...textFields, 'maker', 'variants', 'maker.size', 'unknown', '_geo', 'id']

export function makeFilter(chance: Chance, plan?: CorpusPlan): Json {
  const special = plan && makeSpecial(chance, plan)
  if (special !== undefined && chance.is(0.6))
    return chance.is(0.5) ? special : `${special} ${chance.pick(['AND', 'OR', 'AND NOT'])} ${makeTree(chance, 1)}`
  if (chance.is(0.2)) {
    return Array.from({ length: chance.between(0, 3) }, () =>
      chance.is(0.4) ? Array.from({ length: chance.between(1, 3) }, () => makeCondition(chance)) : makeTree(chance, 1),
    )
  }
  return makeTree(chance, chance.between(0, 3))
}

/** A condition that only such a corpus answers. */
function makeSpecial(chance: Chance, { dimensions, hasShapes, hasPeople }: CorpusPlan): string | undefined {
  if (hasShapes === true) return makeGeo(chance)
  if (hasPeople === true)
    return `_foreign(author, ${chance.pick(['country = France', 'age > 40', 'name EXISTS', 'country IN [USA, Brazil] AND age < 60', 'NOT country = Japan', 'unknown = 1'])})`
  if (dimensions === undefined) return undefined
  const part = chance.pick([
    '',
    '.manual',
    '.manual.userProvided',
    '.manual.regenerate',
    '.manual.documentTemplate',
    '.manual.fragments.x',
    '.other',
  ])
  return `_vectors${part} ${chance.pick(['EXISTS', 'NOT EXISTS'])}`
}

function makeTree(chance: Chance, depth: number): string {
  if (depth === 0 || chance.is(0.25)) return makeCondition(chance)
  const kind = chance.between(0, 4)
  if (kind === 0) return `NOT ${makeTree(chance, depth - 1)}`
  if (kind === 1) return `(${makeTree(chance, depth - 1)})`
  return `${makeTree(chance, depth - 1)} ${chance.pick(['AND', 'OR', 'AND', 'OR'])} ${makeTree(chance, depth - 1)}`
}

function makeCondition(chance: Chance): string {
  const share = chance.random.float()
  if (share < 0.25)
    return `${chance.pick(numberFields)} ${chance.pick(['=', '!=', '>', '>=', '<', '<='])} ${makeNumber(chance)}`
  if (share < 0.32) return `${chance.pick(numberFields)} ${makeNumber(chance)} TO ${makeNumber(chance)}`
  if (share < 0.55) return `${chance.pick(textFields)} ${chance.pick(['=', '=', '!=', '>', '<='])} ${makeValue(chance)}`
  if (share < 0.66) {
    const values = Array.from({ length: chance.between(0, 4) }, () => makeValue(chance)).join(chance.pick([',', ', ']))
    return `${chance.pick(anyFields)} ${chance.is(0.3) ? 'NOT IN' : 'IN'} [${values}${values !== '' && chance.is(0.2) ? ',' : ''}]`
  }
  if (share < 0.8) {
    const test = chance.pick(['EXISTS', 'NOT EXISTS', 'IS NULL', 'IS NOT NULL', 'IS EMPTY', 'IS NOT EMPTY'])
    return `${chance.pick(anyFields)} ${test}`
  }
  if (share < 0.9) {
    const test = chance.pick(['CONTAINS', 'NOT CONTAINS', 'STARTS WITH', 'NOT STARTS WITH'])
    return `${chance.pick(textFields)} ${test} ${chance.pick(['a', 'ad', 'e', '"S"', 'sci', '2023', '"É"', 'ro', '"new "', '-', '20'])}`
  }
  return makeGeo(chance)
}

function makeNumber(chance: Chance): string {
  return chance.pick([
    '0',
    '1',
    '5',
    '10',
    '12.5',
    '20',
    '-1',
    '1990',
    '2000',
    '2010.0',
    '3.5',
    '4',
    '1e3',
    String(chance.between(0, 40)),
  ])
}

function makeValue(chance: Chance): string {
  const value = chance.pick([
    ...genres,
    'red',
    'GREEN',
    'navy blue',
    'Acme',
    'Umbrella Corp',
    'Brazil',
    'true',
    'false',
    '2023-05-05',
    '12',
    '0.5',
    'Plain',
    'spaced',
    '',
  ])
  if (/^[\w-]+$/.test(value) && chance.is(0.6)) return value
  return chance.is(0.5) ? `"${value}"` : `'${value}'`
}

function makeGeo(chance: Chance): string {
  const place = () => `${chance.between(4700, 5000) / 100}, ${chance.between(100, 400) / 100}`
  const kind = chance.between(0, 2)
  if (kind === 0)
    return `_geoRadius(${place()}, ${chance.pick(['1000', '20000', '80000', '500000', '1e6'])}${chance.is(0.1) ? ', 50' : ''})`
  if (kind === 1)
    return `_geoBoundingBox([${chance.between(48, 60)}, ${chance.between(2, 30)}], [${chance.between(20, 48)}, ${chance.between(-20, 2)}])`
  return `_geoPolygon([${place()}], [${place()}], [${place()}])`
}
