/** Places on the globe. */

export interface Point {
  /** Degrees, -90 to 90. */
  readonly lat: number
  /** Degrees, -180 to 180. */
  readonly lng: number
}

const earthRadiusMetres = 6_371_000

/** Distance on a sphere, in metres, rounded to the millimetre. */
export function haversineMetres(from: Point, to: Point): number {
  const lat1 = radians(from.lat)
  const lat2 = radians(to.lat)
  const chord =
    haversine(lat2 - lat1) + Math.cos(lat1) * Math.cos(lat2) * haversine(radians(to.lng) - radians(from.lng))
  return Math.round(2 * earthRadiusMetres * Math.asin(Math.min(1, Math.sqrt(chord))) * 1000) / 1000
}

function haversine(angle: number): number {
  return (1 - Math.cos(angle)) / 2
}

export function radians(angle: number): number {
  return (angle * Math.PI) / 180
}

export function degrees(angle: number): number {
  return (angle * 180) / Math.PI
}

export function badLatitude(lat: number): string {
  return `Bad latitude \`${lat}\`. Latitude must be contained between -90 and 90 degrees.`
}

export function badLongitude(lng: number): string {
  const turned = (((lng + 180) % 360) + 360) % 360
  return `Bad longitude \`${lng}\`. Longitude must be contained between -180 and 180 degrees. Hint: try using \`${turned - 180}\` instead.`
}
