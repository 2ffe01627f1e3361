/** What can go wrong between us and a node, sorted by what the caller may do about it. */

export type UpstreamFailure =
  /** The node was not reached: nothing was sent. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  /** The connection ended before the answer did. */
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'timed-out'; readonly reason: string }
  /** An answer that is no HTTP, or is larger than what was asked for. */
  | { readonly kind: 'bad-answer'; readonly reason: string }
  /** We ended it ourselves: the client went away, or we shut down. */
  | { readonly kind: 'aborted'; readonly reason: string }

/** Whether a read may be sent again: a write never is. */
export function mayRepeatRead(failure: UpstreamFailure): boolean {
  return failure.kind === 'unreachable' || failure.kind === 'lost'
}
