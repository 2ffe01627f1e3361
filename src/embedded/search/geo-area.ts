/** The area that a geographic filter asks for, and whether shapes of documents meet it. */
import type { Position, Shape, ShapePart } from '../../api/geojson.ts'
import { eachStep } from '../geo-path.ts'
import { type Box, eachPartStep } from '../shape-box.ts'

const stepMetres = 1000
/** Steps of the outline per box that is looked at first. */
const chunkSize = 64
const turns = [-360, 0, 360]

/** Built once per filter: at most some 4,096 steps and the outline's own corners, 32 bytes each. */
export class GeoArea {
  /** Of each step in turn: from longitude, from latitude, to longitude, to latitude. */
  readonly #steps: Float64Array
  readonly #chunks: readonly Box[]
  readonly #box: Box

  constructor(outline: readonly Position[]) {
    const steps: number[] = []
    eachStep(outline, true, stepMetres, (...step) => steps.push(...step))
    this.#steps = Float64Array.from(steps)
    const size = chunkSize * 4
    this.#chunks = Array.from({ length: Math.ceil(steps.length / size) }, (_, chunk) =>
      boxAround(this.#steps.subarray(chunk * size, (chunk + 1) * size)),
    )
    this.#box = boxAround(Float64Array.from(this.#chunks.flat()))
  }

  /** False = no shape in this box can meet the area. */
  mayMeet(box: Box): boolean {
    return turns.some((turn) => this.#meetsBox(box, turn))
  }

  /** `box`: around the shape. */
  meets(shape: Shape, box: Box): boolean {
    const near = turns.filter((turn) => this.#meetsBox(box, turn))
    return shape.some((part) => near.some((turn) => this.#meetsPart(part, turn)))
  }

  #meetsBox([west, south, east, north]: Box, turn: number): boolean {
    return overlaps(this.#box, west + turn, south, east + turn, north)
  }

  #meetsPart(part: ShapePart, turn: number): boolean {
    if (part.kind === 'point') return this.#holds(part.position[0] + turn, part.position[1])
    const start = part.path[0]
    if (start !== undefined && this.#holds(start[0] + turn, start[1])) return true
    const [lng, lat] = [this.#steps[0]!, this.#steps[1]!]
    let isMet = false
    let isWithin = false
    eachPartStep(part, (fromLng, fromLat, toLng, toLat) => {
      if (isMet) return
      const [x0, x1] = [fromLng + turn, toLng + turn]
      isMet = this.#crosses(x0, fromLat, x1, toLat)
      if (isLeftOf(lng, lat, x0, fromLat, x1, toLat)) isWithin = !isWithin
    })
    return isMet || (part.kind === 'polygon' && isWithin)
  }

  #crosses(x0: number, y0: number, x1: number, y1: number): boolean {
    const [west, south, east, north] = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)]
    if (!overlaps(this.#box, west, south, east, north)) return false
    for (const [chunk, box] of this.#chunks.entries()) {
      if (!overlaps(box, west, south, east, north)) continue
      const end = Math.min((chunk + 1) * chunkSize * 4, this.#steps.length)
      for (let at = chunk * chunkSize * 4; at < end; at += 4)
        if (intersect(this.#steps, at, x0, y0, x1, y1)) return true
    }
    return false
  }

  /** Corners of the outline are not held. */
  #holds(lng: number, lat: number): boolean {
    if (!overlaps(this.#box, lng, lat, lng, lat)) return false
    let isInside = false
    for (const [chunk, box] of this.#chunks.entries()) {
      if (lat < box[1] || lat > box[3] || lng > box[2]) continue
      const end = Math.min((chunk + 1) * chunkSize * 4, this.#steps.length)
      for (let at = chunk * chunkSize * 4; at < end; at += 4) {
        const [x0, y0] = [this.#steps[at]!, this.#steps[at + 1]!]
        if (lng === x0 && lat === y0) return false
        if (isLeftOf(lng, lat, x0, y0, this.#steps[at + 2]!, this.#steps[at + 3]!)) isInside = !isInside
      }
    }
    return isInside
  }
}

function boxAround(coordinates: Float64Array): Box {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity]
  for (let at = 0; at < coordinates.length; at += 2) {
    west = Math.min(west, coordinates[at]!)
    south = Math.min(south, coordinates[at + 1]!)
    east = Math.max(east, coordinates[at]!)
    north = Math.max(north, coordinates[at + 1]!)
  }
  return [west, south, east, north]
}

const overlaps = (box: Box, west: number, south: number, east: number, north: number): boolean =>
  west <= box[2] && east >= box[0] && south <= box[3] && north >= box[1]

/** A ray to the east crosses the step; of a corner's two steps one counts. */
function isLeftOf(lng: number, lat: number, x0: number, y0: number, x1: number, y1: number): boolean {
  if (y0 < lat === y1 < lat) return false
  return lng < ((x1 - x0) * (lat - y0)) / (y1 - y0) + x0
}

/** Touching counts. */
function intersect(steps: Float64Array, at: number, x0: number, y0: number, x1: number, y1: number): boolean {
  const [a0, b0, a1, b1] = [steps[at]!, steps[at + 1]!, steps[at + 2]!, steps[at + 3]!]
  if (Math.max(a0, a1) < Math.min(x0, x1) || Math.max(x0, x1) < Math.min(a0, a1)) return false
  if (Math.max(b0, b1) < Math.min(y0, y1) || Math.max(y0, y1) < Math.min(b0, b1)) return false
  const side = (px: number, py: number, qx: number, qy: number, rx: number, ry: number): number =>
    Math.sign((qx - px) * (ry - py) - (qy - py) * (rx - px))
  return (
    side(a0, b0, a1, b1, x0, y0) * side(a0, b0, a1, b1, x1, y1) <= 0 &&
    side(x0, y0, x1, y1, a0, b0) * side(x0, y0, x1, y1, a1, b1) <= 0
  )
}
