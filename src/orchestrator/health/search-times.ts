/** How fast searches were, from the histograms that Meilisearch shows (`meilisearch_http_response_time_seconds`). Pure. */

/** Requests so far that took no longer than a bound in seconds; the last bound is infinite. */
export type SearchTimes = ReadonlyMap<number, number>

const bucketLine = /^meilisearch_http_response_time_seconds_bucket\{(.*)\}\s+(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/
const searchPath = /\bpath="[^"]*\/(?:multi-)?search"/
const boundLabel = /\ble="([^"]+)"/

/** Sums the routes that search. */
export function searchTimes(text: string): SearchTimes {
  const times = new Map<number, number>()
  for (const line of text.split('\n')) {
    const [, labels, count] = bucketLine.exec(line) ?? []
    if (labels === undefined || !searchPath.test(labels)) continue
    const bound = boundLabel.exec(labels)?.[1]
    if (bound === undefined) continue
    const seconds = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound)
    times.set(seconds, (times.get(seconds) ?? 0) + Number(count))
  }
  return times
}

/**
 * What became of searches between two looks; null = nothing is known.
 * @param before  absent, or of an engine that was started anew since: what came since its start counts.
 */
export function searchFigures(
  before: SearchTimes | undefined,
  now: SearchTimes,
  pastMs: number,
): { readonly searchesPerSecond: number | null; readonly searchMsP95: number | null } {
  if (before === undefined || pastMs <= 0) return { searchesPerSecond: null, searchMsP95: null }
  const infinite = Number.POSITIVE_INFINITY
  const isAnew = (now.get(infinite) ?? 0) < (before.get(infinite) ?? 0)
  const bounds = [...now.keys()].sort((a, b) => a - b)
  const counts = bounds.map((bound) => (now.get(bound) ?? 0) - (isAnew ? 0 : (before.get(bound) ?? 0)))
  const total = counts.at(-1) ?? 0
  const searchesPerSecond = total / (pastMs / 1000)
  if (total <= 0) return { searchesPerSecond: 0, searchMsP95: null }
  const place = counts.findIndex((count) => count >= total * 0.95)
  const bound = bounds[place] ?? infinite
  const below = place > 0 ? (bounds[place - 1] ?? 0) : 0
  // Longer than the longest bound: at least that.
  if (bound === infinite) return { searchesPerSecond, searchMsP95: below * 1000 }
  const from = place > 0 ? (counts[place - 1] ?? 0) : 0
  const within = (counts[place] ?? 0) - from
  const share = within <= 0 ? 1 : (total * 0.95 - from) / within
  return { searchesPerSecond, searchMsP95: (below + (bound - below) * share) * 1000 }
}
