/**
 * Where a lane is, and what both its loops share. `applied` is as the store has it, `sent` is how far the lane has gone; what
 * lies between is open, in order.
 */
import { positionOf } from '../api/reserved-fields.ts'
import type { LaneState } from '../journal/ports.ts'
import type { Placement } from '../store/catalogue.ts'
import { manyWaiting, notNeeded } from './deadline.ts'
import { sliceBytes } from './dependencies.ts'
import { DocumentPlaces } from './document-places.ts'
import { IndexOnNode } from './index-on-node.ts'
import type { Verdict } from './judgement.ts'
import type { Existence } from './lane-resumption.ts'
import { LaneTurns } from './lane-turns.ts'
import { laneTag } from './mark.ts'
import type { NodeSession } from './node-session.ts'
import { freshNodeSettings } from './node-settings.ts'
import type { OpenChange } from './open-change.ts'
import { ReadAhead } from './read-ahead.ts'
import { Setbacks } from './setbacks.ts'
import { type Cut, viewOf } from './shard-view.ts'
import { Wake } from './wake.ts'

/** Why both loops stop. */
export type Halt =
  | { readonly kind: 'ended' }
  /** Learn from the marks again; `isIll` = after a pause. */
  | { readonly kind: 'resume'; readonly isIll: boolean; readonly reason: string }
  | { readonly kind: 'rebuild' }
  | { readonly kind: 'rewind'; readonly verdict: Extract<Verdict, { readonly kind: 'again' }> }

export class LaneCourse {
  readonly session: NodeSession
  readonly placement: Placement
  readonly tag: string
  readonly onNode: IndexOnNode
  readonly cut: Cut
  readonly turns: LaneTurns
  /** Of an index whose documents keep the place of their first insertion. */
  readonly places: DocumentPlaces | undefined
  readonly ahead: ReadAhead
  readonly setbacks = new Setbacks()
  readonly sendWake = new Wake()
  readonly settleWake = new Wake()
  /** Of the documents of what is sent now. */
  primaryKey = ''
  head: number
  /** As the store has it. */
  applied: number
  /** Everything up to here was sent or skipped. */
  sent: number
  /** What the node holds for certain: `applied`, or less while the lane repeats what a late request lies over. */
  settled: number
  /** Sent or skipped, not settled; by position. */
  open: OpenChange[] = []
  existence: Existence = 'missing'
  /** Up to here changes go out alone, each in a batch of its own. */
  singleUntil = 0
  /** What was sent up to here by somebody else is on the way, and where it puts documents is not known. */
  blindUntil = 0
  /** From here on changes took places of one that failed: they are delivered again. */
  redoFrom = Number.POSITIVE_INFINITY
  /** Changes up to here may be on the node already, in places of changes that failed. */
  repeatUntil = 0
  /** The physical index is dropped before anything else is sent. */
  mustRebuild = false
  wentBack: { readonly position: number; readonly number: number } | undefined
  halt: Halt | undefined
  flow = manyWaiting()

  constructor(session: NodeSession, { placement, spread, head }: LaneState) {
    this.session = session
    this.placement = placement
    this.tag = laneTag(placement, session.marker)
    this.ahead = new ReadAhead(session, placement)
    this.onNode = new IndexOnNode(session, placement.physicalUid, this.tag)
    this.turns = new LaneTurns(session, placement, this.onNode)
    this.cut = { sliceBytes: sliceBytes(session.deps, session.lease.node), view: viewOf(spread, placement) }
    this.places = this.cut.view?.exactTies ? new DocumentPlaces((ids) => this.#readPlaces(ids)) : undefined
    this.head = head
    this.applied = placement.applied
    this.sent = placement.applied
    this.settled = placement.applied
  }

  log(level: 'info' | 'warn' | 'error', fields: object, message: string): void {
    const { index, node } = this.placement
    this.session.deps.log[level]({ index, node, applied: this.applied, ...fields }, message)
  }

  /** Both loops end; the first reason counts. */
  stop(halt: Halt): void {
    this.halt ??= halt
    this.flow.abort(notNeeded)
  }

  /** The store put the replica back to the beginning: another lane builds it anew. */
  giveUp(): void {
    this.session.leftovers.add(this.placement.physicalUid)
    this.stop({ kind: 'ended' })
  }

  /** It was sent, or is passed over. */
  take(entry: OpenChange): void {
    this.sent = entry.item.change.position
    this.turns.note(entry)
    this.open.push(entry)
    this.settleWake.ring()
  }

  /** Forgets what is open; the node or the marks on it know it. */
  giveBack(): void {
    this.places?.clear()
    this.blindUntil = 0
    this.redoFrom = Number.POSITIVE_INFINITY
    for (const entry of this.open) this.session.watch.forget(entry.numbers)
    this.open = []
    this.ahead.forget()
  }

  /** An index exists from its first position on, even when nothing of it is a write that would create it. */
  async create(): Promise<void> {
    await this.onNode.create()
    if (this.cut.view !== null) await this.onNode.configure(freshNodeSettings)
    this.existence = 'sure'
  }

  /** Where documents stand on the node; a place of a change that failed is none. */
  async #readPlaces(ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const places = await this.onNode.places(ids, this.primaryKey)
    if (this.sent >= this.repeatUntil) return places
    const named = [...new Set([...places.values()].map(positionOf))]
    const failed = new Set(await this.session.deps.journal.failedOn(this.placement, named))
    return new Map([...places].filter(([, place]) => !failed.has(positionOf(place))))
  }
}
