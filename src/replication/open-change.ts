/** A change between sending and settling. */
import type { ErrorBody } from '../api/errors.ts'
import type { EngineTask } from '../engine/engine.ts'
import type { LaneChange, LaneProof } from '../journal/ports.ts'
import type { BundleRange } from './bundle.ts'
import { type Delivery, type Part, taskTypeOf } from './delivery.ts'
import type { SentChange } from './resume.ts'

export interface OpenChange {
  readonly item: LaneChange
  /** What was sent, with the node's number of each. */
  readonly parts: readonly { readonly part: Pick<Part, 'kind'>; readonly number: number }[]
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
  /** The changes that were sent as one with it; null = it was sent by itself. Each of them is open, with the same parts. */
  readonly bundle: BundleRange | null
  /** It must be alone in its batch. */
  readonly isSingle: boolean
  /** Monotonic. */
  readonly sentAt: number
}

/** @param ends  as in `OpenChange`. */
export function skipped(item: LaneChange, ends: { readonly error: ErrorBody | null } | null): OpenChange {
  return { item, parts: [], numbers: [], proof: null, ends, documents: 0, bundle: null, isSingle: false, sentAt: 0 }
}

/** A change that was found on the node by its marks. */
export function adoptSent(
  item: LaneChange,
  delivery: Extract<Delivery, { readonly kind: 'send' }>,
  sent: SentChange,
  tasks: readonly EngineTask[],
  now: number,
): OpenChange {
  const last = sent.emptyMark ?? sent.parts.at(-1)!
  const mark = tasks.find((task) => task.uid === last)?.customMetadata ?? ''
  const kindOf = (number: number): Part['kind'] =>
    tasks.find(({ uid }) => uid === number)?.type === taskTypeOf.delete ? 'delete' : 'put'
  const parts = sent.bundle === null ? delivery.parts : sent.parts.map((number) => ({ kind: kindOf(number) }))
  return {
    item,
    parts: parts.map((part, at) => ({ part, number: sent.parts[at]! })),
    numbers: sent.emptyMark === null ? sent.parts : [...sent.parts, sent.emptyMark],
    proof: { task: last, mark },
    ends: undefined,
    // How many were in a bundle is not known any more.
    documents: sent.bundle === null ? delivery.documents : 0,
    bundle: sent.bundle,
    isSingle: delivery.isAlone,
    sentAt: now,
  }
}
