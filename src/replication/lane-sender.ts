/**
 * The sending loop of a lane: changes go out in order, one request at a time, as far ahead as the node's window allows. Small
 * changes of a backlog go out as one (`bundle.ts`).
 */
import type { LaneChange, SettingsPrint } from '../journal/ports.ts'
import { type Bundle, planBundle } from './bundle.ts'
import { BundlePayloads } from './bundle-payloads.ts'
import { type Delivery, planDelivery } from './delivery.ts'
import type { LaneCourse } from './lane-course.ts'
import { heirReach } from './lane-resumption.ts'
import { isNoOp } from './no-op.ts'
import { skipped } from './open-change.ts'
import { PartPayloads } from './part-payloads.ts'
import { recordResolution } from './recorded-resolution.ts'
import { IndexMissing } from './resolution-reads.ts'
import { type Shipment, sendShipment } from './sending.ts'
import { auditSettings } from './settings-audit.ts'
import type { Cut } from './shard-view.ts'
import { readChangesMax } from './standing.ts'

/** How often a lane looks whether other replicas are where it may go on. */
const othersPollMs = 50
/** How long a replica may take to tell what a change comes to before the others that hold its shards do. */
const resolverMsMax = 2_000

interface Planned {
  readonly item: LaneChange
  readonly delivery: Extract<Delivery, { readonly kind: 'send' }>
  /** How it was planned. */
  readonly cut: Cut
}

export class LaneSender {
  readonly #course: LaneCourse
  /** The change that waits for what it comes to. */
  #unresolved: { readonly position: number; readonly since: number } | undefined
  #audit: { readonly print: SettingsPrint | null } | undefined

  constructor(course: LaneCourse) {
    this.#course = course
  }

  /** The node's settings are compared with how it showed them before, as soon as nothing else is to do. */
  audit(print: SettingsPrint | null): void {
    this.#audit = { print }
    this.#course.sendWake.ring()
  }

  /** Runs until the lane stops. */
  async run(): Promise<void> {
    const { session, turns, ahead, sendWake, flow: stopping } = this.#course
    const flow = stopping.signal
    while (!flow.aborted) {
      await session.probe.well(flow)
      const { open, sent } = this.#course
      if (sent >= turns.position && turns.position > 0) {
        if (open.length > 0) await sendWake.wait(flow)
        else if ((await turns.end(sent, flow)) === 'rebuild') return this.#course.stop({ kind: 'rebuild' })
        ahead.forget()
        continue
      }
      const item = await ahead.first(this.#course.sent, () => this.#course.head)
      if (flow.aborted) return
      if (item === undefined) await this.#idle(flow)
      else await this.#next(item, flow)
    }
  }

  async #idle(flow: AbortSignal): Promise<void> {
    const { session, placement, onNode, applied, existence, open, sendWake } = this.#course
    const { print } = this.#audit ?? {}
    if (print === undefined || open.length > 0) return sendWake.wait(flow)
    this.#audit = undefined
    if (existence === 'sure') await auditSettings({ session, placement, onNode, applied }, print)
  }

  /** One step with the first change that was not sent. It may have to be looked at again. */
  async #next(item: LaneChange, flow: AbortSignal): Promise<void> {
    const course = this.#course
    const { position } = item.change
    const cut = { ...course.cut, isWide: course.session.window.isAlone(course.tag) }
    const delivery = planDelivery(item, cut)
    if (course.existence === 'missing' && !makesIndex(delivery, course.cut)) return course.create()
    if (course.turns.mustUndo(item)) {
      if (course.open.length > 0) await course.sendWake.wait(flow)
      else if (!(await course.turns.undo(position, course.sent))) return course.stop({ kind: 'rebuild' })
      return course.ahead.forget()
    }
    if (delivery.kind === 'lost') {
      course.log('error', { position }, 'the payload of a change that must be delivered again is not kept any more')
      if (position > course.applied) throw new Error(`position ${position} cannot be delivered again`)
      return course.take(skipped(item, null))
    }
    if (delivery.kind === 'skip') return course.take(skipped(item, delivery.ends))
    if ((await this.#toldFailed([item])).has(position)) return course.take(skipped(item, null))
    const mustWait = delivery.kind === 'resolve' || delivery.isAlone || this.#isHeldBack(position)
    if (course.open.length > 0 && (mustWait || course.open.some((entry) => entry.isSingle)))
      return course.sendWake.wait(flow)
    if (item.change.status === 'enqueued') return course.ahead.claim()
    if (delivery.kind === 'resolve') return this.#resolve(item, flow)
    if (course.existence === 'sure' && (await isNoOp(course.session.deps.journal, item))) {
      if (flow.aborted) return
      // Nothing overtakes it: what was sent behind it would look as if it had been forgotten.
      return course.take({ ...skipped(item, { error: null }), isSingle: true })
    }
    if (item.turn !== undefined && !(await course.turns.mayTake(item, item.turn, flow))) return course.ahead.forget()
    const isSingle = position <= course.singleUntil || delivery.isAlone
    return this.#ship({ item, delivery, cut }, isSingle, flow)
  }

  /** Nothing may be open when it goes out. */
  #isHeldBack(position: number): boolean {
    const { singleUntil, blindUntil, places, open } = this.#course
    const oldest = open[0]?.item.change.position
    if (position <= singleUntil) return true
    if (places === undefined || oldest === undefined) return false
    // Who took a place is looked for no further back. A bundle ends within what is read at once.
    return oldest <= blindUntil || oldest < position + readChangesMax - heirReach
  }

  /** Those that must come to nothing: a repeat comes to what the replica has told already, while others are still to tell. */
  async #toldFailed(items: readonly LaneChange[]): Promise<ReadonlySet<number>> {
    const { cut, applied, session, placement } = this.#course
    const isToBeTold = ({ change: { position, finishedAt } }: LaneChange) => position <= applied && finishedAt === null
    const positions = cut.view === null ? [] : items.filter(isToBeTold).map(({ change }) => change.position)
    return new Set(positions.length === 0 ? [] : await session.deps.journal.failedOn(placement, positions))
  }

  async #ship(planned: Planned, isSingle: boolean, flow: AbortSignal): Promise<void> {
    const { item } = planned
    const course = this.#course
    const { session, placement, ahead, setbacks } = course
    const { version } = ahead
    const isOutdated = () => ahead.version !== version
    course.primaryKey = item.primaryKey ?? ''
    const bundle = isSingle ? undefined : await this.#bundle()
    const members = bundle?.members ?? [{ item, ends: undefined }]
    const shipment = this.#shipmentOf(planned, bundle)
    const ended = await sendShipment({ session, placement, flow, isOutdated }, shipment)
    if (ended.kind === 'halted' || ended.kind === 'outdated') return
    const isRefused = ended.kind === 'sent' && ended.open.ends !== undefined
    if (ended.kind !== 'sent' || (isRefused && bundle !== undefined)) {
      const isPart = ended.kind !== 'sent' || ended.open.parts.length > 0
      if (isPart) for (const { item } of members) setbacks.noteUncertain(item.change.position)
      if (ended.kind === 'failed') session.probe.suspect()
      // Which of its changes was refused shows one by one.
      if (isRefused && bundle !== undefined) course.singleUntil = Math.max(course.singleUntil, bundle.through)
      const reason = ended.kind === 'sent' ? 'a bundle was refused' : ended.reason
      return course.stop({ kind: 'resume', isIll: ended.kind === 'failed', reason })
    }
    if (course.existence === 'missing') course.existence = 'asked'
    for (const { item, ends } of members)
      course.take(ends === undefined ? { ...ended.open, item, isSingle } : skipped(item, ends))
  }

  /** The first change that was not sent, with those behind it that may go out with it; `undefined` = alone. */
  async #bundle(): Promise<Bundle | undefined> {
    const { ahead, cut } = this.#course
    const items = ahead.changes
    const told = await this.#toldFailed(items)
    const end = items.findIndex(({ change }) => told.has(change.position))
    return planBundle(end < 0 ? items : items.slice(0, end), cut)
  }

  #shipmentOf({ item, delivery, cut }: Planned, bundle: Bundle | undefined): Shipment {
    const { places, session } = this.#course
    if (bundle !== undefined) {
      const payloads = new BundlePayloads(bundle, { isSpread: cut.view !== null, places })
      return { item, range: bundle, delivery: bundle.delivery, payloads }
    }
    const { position } = item.change
    const payloads = new PartPayloads(session.deps.journal, cut, item, places)
    return { item, range: { from: position, through: position }, delivery, payloads }
  }

  async #resolve(item: LaneChange, flow: AbortSignal): Promise<void> {
    const { session, placement, tag, cut, setbacks, ahead } = this.#course
    const { clock } = session.deps
    const { position } = item.change
    const isSecondTry = setbacks.timesGoneBack(position, 'internal') > 0
    if (this.#unresolved?.position !== position) this.#unresolved = { position, since: clock.monotonic() }
    const isOverdue = clock.monotonic() - this.#unresolved.since >= resolverMsMax
    const resolved = await recordResolution(session, placement, item, {
      ...{ tag, isSecondTry, isOverdue, flow },
      view: cut.view,
    })
    if (resolved.kind === 'outdated') return
    if (resolved.kind === 'waiting') {
      await clock.sleep(othersPollMs, flow).catch(() => {})
      return ahead.refresh()
    }
    // Read again rather than trusted: another delivery may have recorded its own before.
    if (resolved.kind === 'recorded') return ahead.refresh()
    setbacks.noteGoneBack(position, 'internal')
    if (resolved.error instanceof IndexMissing) {
      // On a disk that is ours, an index that is gone was deleted behind our back.
      await session.verify()
      this.#course.mustRebuild = true
    }
    throw resolved.error
  }
}

/** The index exists when this has succeeded, or need not. A spread one must have our settings before anything else. */
function makesIndex(delivery: Delivery, { view }: Cut): boolean {
  const kind = delivery.kind === 'send' ? delivery.parts[0]?.kind : undefined
  if (view !== null) return kind === 'delete-index'
  return kind === 'put' || kind === 'create-index' || kind === 'settings' || kind === 'delete-index'
}
