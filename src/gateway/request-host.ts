/** Whose host a request was sent to (P-03). */
import { ApiError } from '../api/errors.ts'
import type { Project } from '../store/catalogue.ts'
import type { RouteTable } from '../topology/route-table.ts'

export interface HostRules {
  /** Hosts below it are ours, and no others but those of projects; null = every host is taken. */
  readonly baseDomain: string | null
  /** Of this gateway: the label before the base domain. */
  readonly region: string
}

/**
 * The project that a host names: `<ref>.<region>.<base domain>`, or one of the project's own. Undefined = the host names
 * none, and a key of any may be used there.
 *
 * @param sent  the header `Host`.
 * @throws ApiError `misdirected_request` when the host is none of ours.
 */
export function projectOfHost(
  sent: string | undefined,
  { baseDomain, region }: HostRules,
  table: RouteTable,
): Project | undefined {
  if (sent === undefined || (baseDomain === null && !table.hasHosts)) return undefined
  const host = sent.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()
  const owner = table.projectByHost(host)
  if (owner !== undefined || baseDomain === null) return owner
  const regional = `${region}.${baseDomain}`
  if (host === regional) return undefined
  const ref = host.endsWith(`.${regional}`) ? host.slice(0, -regional.length - 1) : undefined
  const project = ref === undefined ? undefined : table.projectByRef(ref)
  if (project === undefined) throw new ApiError('misdirected_request', `Nothing is served at the host \`${host}\`.`)
  return project
}

/** The key is another project's. */
export function foreignHost(): ApiError {
  return new ApiError('misdirected_request', 'The host of the request belongs to another project than its key.')
}
