/** Outlines of documents' shapes, and the box that a shape fits in. */
import { ApiError } from '../api/errors.ts'
import { readShape, type Shape, type ShapePart } from '../api/geojson.ts'
import type { Json } from '../lib/json.ts'
import { eachStep, type StepVisitor } from './geo-path.ts'

/** As the reference, which stores lines of documents in steps of this length. */
const stepMetres = 10_000

export function eachPartStep(part: ShapePart, visit: StepVisitor): void {
  if (part.kind === 'point') visit(...part.position, ...part.position)
  else eachStep(part.path, part.kind === 'polygon', stepMetres, visit)
}

/** West, south, east, north; undefined = the shape is empty. East may be beyond 180°. */
export type Box = readonly [west: number, south: number, east: number, north: number]

export function boxOf(shape: Shape | undefined): Box | undefined {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity]
  const visit: StepVisitor = (fromLng, fromLat, toLng, toLat) => {
    west = Math.min(west, fromLng, toLng)
    south = Math.min(south, fromLat, toLat)
    east = Math.max(east, fromLng, toLng)
    north = Math.max(north, fromLat, toLat)
  }
  for (const part of shape ?? []) eachPartStep(part, visit)
  return west <= east ? [west, south, east, north] : undefined
}

/** The shape in a stored document; undefined = it has none that can be read. */
export function storedShape(value: Json | undefined): Shape | undefined {
  if (value === undefined) return undefined
  try {
    return readShape(value)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return undefined
  }
}
