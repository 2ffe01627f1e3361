/** Headers of every answer: any browser may read it (M-A1), and it can be found in the log. */
import { headerNames } from '../api/names.ts'

const requestIdName = headerNames.requestId.toLowerCase()

/** Names and values in turn, as `writeHead` takes them; the caller adds its own. */
export function commonHeaders(requestId: string): string[] {
  return ['server', 'flapjack', 'access-control-allow-origin', '*', requestIdName, requestId]
}
