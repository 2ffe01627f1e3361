/** Lines between places on the globe, as sequences of short straight steps over the plane of longitude and latitude. */
import type { Position } from '../api/geojson.ts'
import { degrees, haversineMetres, radians } from './search/geo.ts'

export type StepVisitor = (fromLng: number, fromLat: number, toLng: number, toLat: number) => void

/** Steps that one path is cut into beyond its own corners: bounds the work per path. */
const extraStepsMax = 4096

/**
 * Visits the steps of a path along great circles, each at most `stepMetres` long, longer in paths that would need more than
 * 4,096. Longitudes go on beyond ±180° where the path crosses that meridian, so that neighbours stay neighbours. A ring is
 * closed; one around a pole is closed over the pole.
 */
export function eachStep(path: readonly Position[], isRing: boolean, stepMetres: number, visit: StepVisitor): void {
  const first = path[0]
  if (first === undefined) return
  const corners: Position[] = [first]
  let length = 0
  const go = ([lng, lat]: Position): void => {
    const last = corners.at(-1)!
    const next: Position = [last[0] + shortWay(lng - last[0]), lat]
    length += metresBetween(last, next)
    corners.push(next)
  }
  for (const position of path.slice(1)) go(position)
  const end = path.at(-1)!
  if (isRing && (end[0] !== first[0] || end[1] !== first[1])) go(first)
  const longest = Math.max(stepMetres, length / extraStepsMax)
  if (corners.length === 1) visit(first[0], first[1], first[0], first[1])
  for (let index = 1; index < corners.length; index += 1) eachPart(corners[index - 1]!, corners[index]!, longest, visit)
  const last = corners.at(-1)!
  if (isRing && Math.abs(last[0] - first[0]) > 180) {
    const pole = corners.reduce((sum, [, lat]) => sum + lat, 0) < 0 ? -90 : 90
    visit(last[0], last[1], last[0], pole)
    visit(last[0], pole, first[0], pole)
    visit(first[0], pole, first[0], first[1])
  }
}

/** Longitudes further than half a turn away are nearer the other way round. */
const shortWay = (lng: number): number => (Math.abs(lng) > 180 ? lng - 360 * Math.round(lng / 360) : lng)

const metresBetween = (from: Position, to: Position): number =>
  haversineMetres({ lat: from[1], lng: from[0] }, { lat: to[1], lng: to[0] })

function eachPart(from: Position, to: Position, longest: number, visit: StepVisitor): void {
  const parts = Math.ceil(metresBetween(from, to) / longest)
  let [lng, lat] = from
  if (parts > 1) {
    const [a, b] = [vectorOf(from), vectorOf(to)]
    const angle = Math.acos(Math.max(-1, Math.min(1, a[0] * b[0] + a[1] * b[1] + a[2] * b[2])))
    const sine = Math.sin(angle)
    for (let part = 1; part < parts && sine > 0; part += 1) {
      const left = Math.sin(angle * (1 - part / parts)) / sine
      const right = Math.sin((angle * part) / parts) / sine
      const [x, y, z] = [left * a[0] + right * b[0], left * a[1] + right * b[1], left * a[2] + right * b[2]]
      const nextLat = degrees(Math.atan2(z, Math.hypot(x, y)))
      const nextLng = lng + shortWay(degrees(Math.atan2(y, x)) - lng)
      visit(lng, lat, nextLng, nextLat)
      lng = nextLng
      lat = nextLat
    }
  }
  visit(lng, lat, to[0], to[1])
}

function vectorOf([lng, lat]: Position): readonly [number, number, number] {
  const [east, north] = [radians(lng), radians(lat)]
  return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)]
}

/** The place that one reaches from `from`, setting out at `bearing` degrees from north. */
export function destination([lng, lat]: Position, bearing: number, metres: number): Position {
  const [north, turn, angle] = [radians(lat), radians(bearing), metres / 6_371_008.8]
  const sine = Math.sin(north) * Math.cos(angle) + Math.cos(north) * Math.sin(angle) * Math.cos(turn)
  // Divided by the cosine of the latitude, so that every bearing counts at a pole too.
  const east = Math.atan2(
    Math.sin(turn) * Math.sin(angle),
    Math.cos(angle) * Math.cos(north) - Math.sin(north) * Math.sin(angle) * Math.cos(turn),
  )
  return [shortWay(lng + degrees(east)), degrees(Math.asin(Math.max(-1, Math.min(1, sine))))]
}
