/**
 * F3 of the merge findings: an engine takes places within a metre of each other for equally far, counted from the first of
 * them, and shows that one's place and distance for all. Nodes begin their groups at other documents than one node would,
 * so distances are taken from the documents and groups are made anew.
 */
import { haversineMetres, type Point } from '../embedded/search/geo.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { splitMembers } from '../lib/json-cut.ts'
import { changedHit, type Hit } from './hit.ts'
import { compareHits } from './merge-order.ts'
import { compareKeys, geoKey, isAscending, isGeo, keysOf, type ScoreDetail } from './score-keys.ts'

const bucketMetres = 1

/** All hits in order, with the distances that one node would show. */
export function withPlaceBuckets(hits: readonly Hit[]): readonly Hit[] {
  const names = new Set(hits.flatMap(({ details }) => details.map(({ name }) => name).filter(isGeo)))
  return [...[...names].reduce(bucketed, hits)].sort(compareHits)
}

interface Placed {
  readonly hit: Hit
  readonly before: readonly ScoreDetail[]
  readonly distance: number | null
  readonly place: Json
}

function bucketed(hits: readonly Hit[], name: string): readonly Hit[] {
  const target = pointOf(name)
  if (target === null) return hits
  const ascending = isAscending(name)
  const far = ({ distance }: Placed) => geoKey(distance, ascending)
  const placed = hits.map((hit) => placedHit(hit, name, target))
  const compareBefore = (a: Placed, b: Placed) => compareKeys(keysOf(a.before), keysOf(b.before))
  placed.sort((a, b) => compareBefore(a, b) || (far(a) === far(b) ? 0 : far(b) - far(a)))
  let first: Placed | undefined
  return placed.map((item) => {
    if (first === undefined || compareBefore(first, item) !== 0 || !isNear(first, item)) first = item
    return withPlace(item.hit, name, first)
  })
}

function isNear({ distance: first }: Placed, { distance: second }: Placed): boolean {
  if (first === null || second === null) return first === second
  return Math.abs(first - second) <= bucketMetres
}

function placedHit(hit: Hit, name: string, target: Point): Placed {
  const at = hit.details.findIndex((detail) => detail.name === name)
  const before = at < 0 ? hit.details : hit.details.slice(0, at)
  const place = at < 0 ? null : placeOf(hit.text)
  return {
    hit,
    before,
    place: place === null ? null : { ...place },
    distance: place === null ? null : haversineMetres(target, place),
  }
}

export function placeOf(document: string): Point | null {
  const text = splitMembers(document).get('_geo')
  const place = text === undefined ? null : (JSON.parse(text) as Json)
  if (!isObject(place)) return null
  const [lat, lng] = [Number(place.lat), Number(place.lng)]
  return Number.isFinite(lat) && Number.isFinite(lng) ? { lat, lng } : null
}

/** `_geoPoint(48.85, 2.35):asc`. */
function pointOf(name: string): Point | null {
  const [, lat, lng] = /^_geoPoint\(([^,]+),([^)]+)\)/.exec(name) ?? []
  return lat === undefined || lng === undefined ? null : { lat: Number(lat), lng: Number(lng) }
}

function withPlace(hit: Hit, name: string, { distance, place }: Placed): Hit {
  const at = hit.details.findIndex((detail) => detail.name === name)
  const known = hit.details[at]
  if (known === undefined || known.fields.distance === distance) return hit
  const fields: JsonObject = { ...known.fields, value: place, distance }
  const details = hit.details.map((detail, index) => (index === at ? { name, fields } : detail))
  return changedHit(hit, { details, detailsText: null, keys: keysOf(details) })
}
