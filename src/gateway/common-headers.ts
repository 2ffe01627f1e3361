/** Headers of every answer: which browsers may read it (M-A1, P-03), and how it can be found in the log. */
import { headerNames } from '../api/names.ts'
import type { Exchange } from './exchange.ts'

const requestIdName = headerNames.requestId.toLowerCase()
const openNames = ['server', 'flapjack', 'access-control-allow-origin', '*', requestIdName] as const

/** Names and values in turn, as `writeHead` takes them; the caller adds its own. */
export function commonHeaders({ requestId, principal, hostProject, headers }: Exchange): string[] {
  const origins = (principal?.project ?? hostProject)?.settings.corsOrigins ?? null
  if (origins === null) return [...openNames, requestId]
  const origin = headers?.origin
  const allowed = origin !== undefined && origins.includes(origin) ? ['access-control-allow-origin', origin] : []
  return ['server', 'flapjack', ...allowed, 'vary', 'Origin', requestIdName, requestId]
}
