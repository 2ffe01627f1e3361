/** Which part of a list of hits is asked for, and how its counts are told (M-F18). */
import type { JsonObject } from '../lib/json.ts'

/** Which part of the ranked list is asked for. */
export interface PageRequest {
  readonly skip: number
  readonly take: number
  /** Page mode: counts are exact. */
  readonly isExhaustive: boolean
}

export interface Paging {
  readonly offset: number
  readonly limit: number
  readonly page: number | null
  readonly hitsPerPage: number | null
}

const defaultHitsPerPage = 20

export function pageRequest({ offset, limit, page, hitsPerPage }: Paging): PageRequest {
  if (page === null && hitsPerPage === null) return { skip: offset, take: limit, isExhaustive: false }
  const size = hitsPerPage ?? defaultHitsPerPage
  return page === 0
    ? { skip: 0, take: 0, isExhaustive: true }
    : { skip: ((page ?? 1) - 1) * size, take: size, isExhaustive: true }
}

/** The counts of an answer, in the mode that was asked for. */
export function pageInfo({ offset, limit, page, hitsPerPage }: Paging, totalHits: number): JsonObject {
  if (page === null && hitsPerPage === null) return { limit, offset, estimatedTotalHits: totalHits }
  const size = hitsPerPage ?? defaultHitsPerPage
  const totalPages = size === 0 ? 0 : Math.ceil(totalHits / size)
  return { hitsPerPage: size, page: page ?? 1, totalPages, totalHits }
}
