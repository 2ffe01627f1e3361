/** What can go wrong between us and a node, sorted by what the caller may do about it. */

export type UpstreamFailure =
  /** The node was not reached: nothing was sent. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  /** The connection ended before an answer began. */
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'timed-out'; readonly reason: string }
  /** An answer that is no HTTP, is cut off, or is larger than what was asked for. */
  | { readonly kind: 'bad-answer'; readonly reason: string }
  /** We ended it ourselves: the client went away, or we shut down. */
  | { readonly kind: 'aborted'; readonly reason: string }

const unreachableCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
])
const lostCodes: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'ETIMEDOUT'])

export function toFailure(error: unknown): UpstreamFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = code === '' ? String(error) : code
  if (unreachableCodes.has(code)) return { kind: 'unreachable', reason }
  if (lostCodes.has(code)) return { kind: 'lost', reason }
  if (code.includes('TIMEOUT')) return { kind: 'timed-out', reason }
  if (code === 'UND_ERR_ABORTED' || (error instanceof Error && error.name === 'AbortError')) {
    return { kind: 'aborted', reason }
  }
  return { kind: 'bad-answer', reason }
}

/** Whether a read may be sent again: a write never is. */
export function mayRepeatRead(failure: UpstreamFailure): boolean {
  return failure.kind === 'unreachable' || failure.kind === 'lost'
}
