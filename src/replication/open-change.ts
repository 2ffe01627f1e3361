/** A change between sending and settling. */
import type { ErrorBody } from '../api/errors.ts'
import type { LaneChange, LaneProof } from '../journal/ports.ts'
import type { Part } from './delivery.ts'

export interface OpenChange {
  readonly item: LaneChange
  /** What was sent, with the node's number of each. */
  readonly parts: readonly { readonly part: Part; readonly number: number }[]
  /** Every number to wait for, empty marks included. */
  readonly numbers: readonly number[]
  /** The task with the last mark; null when nothing was sent. */
  readonly proof: LaneProof | null
  /**
   * For what does not wait for the node: refused or empty changes end with this (`error` null = done); null = it ended
   * before and is passed over; `undefined` = the node decides.
   */
  readonly ends: { readonly error: ErrorBody | null } | null | undefined
  /** Distinct documents in its puts. */
  readonly documents: number
  /** It must be alone in its batch. */
  readonly isSingle: boolean
  /** Monotonic. */
  readonly sentAt: number
}
