/**
 * Names of requests: UUIDs of version 4 in form, a random beginning for each series and a count at the end. Unique as far as
 * the beginning is; whoever knows one can guess its neighbours, so that they grant nothing.
 */
import type { Random } from './random.ts'

/** Length of what a series has in common: all but the last eight digits. */
const commonLength = 28
const seriesMax = 2 ** 32

/** A source of names. A random UUID for each request would cost more than the rest of its book-keeping. */
export function createRequestIds(random: Pick<Random, 'uuid' | 'integer'>): () => string {
  let common = random.uuid().slice(0, commonLength)
  let next = random.integer(seriesMax)
  return () => {
    next += 1
    if (next >= seriesMax) {
      common = random.uuid().slice(0, commonLength)
      next = 0
    }
    return common + next.toString(16).padStart(8, '0')
  }
}
