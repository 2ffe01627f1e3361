/**
 * Names of reserved fields in requests. For clients these fields do not exist: a name of theirs is given to nodes in another
 * case, as that of a field which no document has, so that it is refused or finds nothing in the engine's own way. Values
 * that are equal but for case are equal to filters, so conditions on such texts mean what they meant; lengths stay, so
 * places in error messages are right.
 */

import type { IndexSettings } from '../api/index-settings.ts'
import { reservedFields } from '../api/reserved-fields.ts'
import { isObject, type Json } from '../lib/json.ts'
import { aliasOf, hiddenDistinct, withAlias } from './hidden-distinct.ts'

const disguises = reservedFields.map((name) => [name, `${name.slice(0, -1)}${name.slice(-1).toUpperCase()}`] as const)
const reservedName = new RegExp(reservedFields.join('|'))
const disguisedName = new RegExp(disguises.map(([, disguise]) => disguise).join('|'), 'g')
const original = new Map(disguises.map(([name, disguise]) => [disguise, name]))

export const isReservedName = (name: string): boolean => reservedFields.includes(name)

/** The same value with no reserved name in any of its texts. */
export function disguise<T extends Json>(value: T): T {
  return (reservedName.test(JSON.stringify(value)) ? mapTexts(value) : value) as T
}

function mapTexts(value: Json): Json {
  if (typeof value === 'string') return disguises.reduce((text, [name, other]) => text.replaceAll(name, other), value)
  if (Array.isArray(value)) return value.map((item: Json) => mapTexts(item))
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTexts(item)]))
}

/** What of a request names fields. */
export interface NamingFields {
  readonly filter: Json
  readonly sort?: readonly string[] | null
  readonly facets?: readonly string[] | null
  readonly distinct?: string | null
  readonly attributesToSearchOn?: readonly string[] | null
  readonly facetName?: string
}

/** The request without names of fields that are not the client's. */
export function withClientNames<T extends NamingFields>(query: T, settings: IndexSettings): T {
  const { filter, sort, facets, distinct, attributesToSearchOn, facetName } = query
  const hidden = hiddenDistinct(settings)
  const alias = (name: string) => (name === hidden ? aliasOf(name) : disguise(name))
  const named = disguise(filter)
  return {
    ...query,
    filter: hidden === null ? named : withAlias(named, hidden),
    ...(sort == null ? {} : { sort: sort.map((rule) => disguise(rule)) }),
    ...(facets == null ? {} : { facets: facets.map(alias) }),
    ...(distinct == null ? {} : { distinct: alias(distinct) }),
    ...(attributesToSearchOn == null
      ? {}
      : { attributesToSearchOn: attributesToSearchOn.map((name) => disguise(name)) }),
    ...(facetName === undefined ? {} : { facetName: alias(facetName) }),
  }
}

/** A node's words with the names as the client wrote them. */
export function reveal(text: string, settings: IndexSettings): string {
  const hidden = hiddenDistinct(settings)
  const known = text.replace(disguisedName, (name) => original.get(name) ?? name)
  return hidden === null ? known : known.replaceAll(aliasOf(hidden), hidden)
}
