/**
 * How many requests of one project a gateway answers at once (P-19): a noisy project is refused before it takes the
 * connections that its neighbours need.
 */
import { ApiError } from '../api/errors.ts'
import type { ProjectId } from '../store/catalogue.ts'

/** Of one project; its requests in flight hold it. */
export interface ProjectLoad {
  openRequests: number
}

export interface FairShare {
  /** @throws ApiError `too_many_requests`, which is not counted. The caller gives back what it gets, once. */
  enter(project: ProjectId): ProjectLoad
  leave(load: ProjectLoad): void
}

/** Loads of projects that are idle are forgotten above this. */
const loadsMax = 10_000

export function createFairShare(requestsMax: number, onRefusal: () => void = () => undefined): FairShare {
  const loads = new Map<ProjectId, ProjectLoad>()

  function loadOf(project: ProjectId): ProjectLoad {
    const known = loads.get(project)
    if (known !== undefined) return known
    if (loads.size >= loadsMax) {
      for (const [id, { openRequests }] of loads) if (openRequests === 0) loads.delete(id)
    }
    const load = { openRequests: 0 }
    loads.set(project, load)
    return load
  }

  return {
    enter(project) {
      const load = loadOf(project)
      if (load.openRequests >= requestsMax) {
        onRefusal()
        throw new ApiError(
          'too_many_requests',
          `Too many requests: ${requestsMax} requests of this project are being answered at the same time. Retry after 1s.`,
          { headers: { 'retry-after': '1' } },
        )
      }
      load.openRequests += 1
      return load
    },
    leave(load) {
      load.openRequests -= 1
    },
  }
}
