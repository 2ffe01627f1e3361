/**
 * A lane: brings the journal of one index to one replica, in order, and tracks how far it is.
 *
 * Two loops run side by side. One sends: changes go out in order, one request at a time, as far ahead as the node's window
 * allows. The other settles: it watches the tasks end, judges what came of them and advances `applied` in the store. When
 * anything is unclear (no answer, a late request, a crash before us), both stop and the lane learns from the marks on the
 * node where it stands; when a batch failed, it goes back and delivers one by one.
 *
 * What always holds: a position is sent only after all before it were sent, `applied` moves only over positions that ended
 * on the node or are skipped, and what the node holds in the end is what it numbered last.
 */

import { positionOf } from '../api/reserved-fields.ts'
import type { EngineTask } from '../engine/engine.ts'
import type { LaneChange, LaneState, SettingsPrint } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { Placement, ProjectId } from '../store/catalogue.ts'
import { backoffMs, manyWaiting, notNeeded } from './deadline.ts'
import { type Delivery, planDelivery } from './delivery.ts'
import { sliceBytes } from './dependencies.ts'
import { DocumentPlaces } from './document-places.ts'
import { IndexOnNode } from './index-on-node.ts'
import { type GoBackReason, judge, type Verdict } from './judgement.ts'
import { type Existence, heirReach, resumeLane } from './lane-resumption.ts'
import { LaneTurns } from './lane-turns.ts'
import { laneTag, parseMark } from './mark.ts'
import { isNoOp } from './no-op.ts'
import { LeaseLost, type NodeSession, send } from './node-session.ts'
import { freshNodeSettings } from './node-settings.ts'
import { type OpenChange, skipped } from './open-change.ts'
import { removedBy } from './outcome.ts'
import { ReadAhead } from './read-ahead.ts'
import { recordResolution } from './recorded-resolution.ts'
import { IndexMissing } from './resolution-reads.ts'
import { sendChange } from './sending.ts'
import { Setbacks } from './setbacks.ts'
import { auditSettings } from './settings-audit.ts'
import { isPartial, newestProof, outcomesOf, type Settled, settlesIndex } from './settlement.ts'
import { type Cut, viewOf } from './shard-view.ts'
import { Wake } from './wake.ts'

/** Why both loops stop. */
type Halt =
  | { readonly kind: 'ended' }
  /** Learn from the marks again; `isIll` = after a pause. */
  | { readonly kind: 'resume'; readonly isIll: boolean; readonly reason: string }
  | { readonly kind: 'rebuild' }
  | { readonly kind: 'rewind'; readonly verdict: Extract<Verdict, { readonly kind: 'again' }> }

/** How often a lane looks whether other replicas are where it may go on. */
const othersPollMs = 50
/** How long a replica may take to tell what a change comes to before the others that hold its shards do. */
const resolverMsMax = 2_000

export class Lane {
  readonly #session: NodeSession
  readonly #placement: Placement
  readonly #tag: string
  readonly #onNode: IndexOnNode
  readonly #cut: Cut
  readonly #turns: LaneTurns
  /** Of an index whose documents keep the place of their first insertion. */
  readonly #places: DocumentPlaces | undefined
  #primaryKey = ''
  /** The change that waits for what it comes to. */
  #unresolved: { readonly position: number; readonly since: number } | undefined
  /** What was sent up to here by somebody else is on the way, and where it puts documents is not known. */
  #blindUntil = 0
  /** From here on changes took places of one that failed: they are delivered again. */
  #redoFrom = Number.POSITIVE_INFINITY
  /** Changes up to here may be on the node already, in places of changes that failed. */
  #repeatUntil = 0
  #audit: { readonly print: SettingsPrint | null } | undefined
  readonly #project: ProjectId
  #head: number
  /** As the store has it. */
  #applied: number
  /** Everything up to here was sent or skipped. */
  #sent: number
  /** Sent or skipped, not settled; by position. */
  #open: OpenChange[] = []
  readonly #ahead: ReadAhead
  /** Up to here changes go out alone, each in a batch of its own. */
  #singleUntil = 0
  /** The physical index is dropped before anything else is sent. */
  #mustRebuild = false
  readonly #setbacks = new Setbacks()
  readonly #sendWake = new Wake()
  readonly #settleWake = new Wake()
  #halt: Halt | undefined
  #flow = manyWaiting()
  #existence: Existence = 'missing'
  /** Newest task of the index that the marks were read up to. */
  #seenThrough = -1
  /** A late request was noticed and the marks were not read since, whatever else the lane is doing. */
  #hasStranger = false
  /** Of requests of the lane that came late, up to what is applied, since the marks were read. */
  readonly #latePositions: number[] = []
  /** Numbers of unmarked tasks that no request was answered with: of what was sent last, or late and of any age. */
  readonly #unmarked: number[] = []
  #wentBack: { readonly position: number; readonly number: number } | undefined
  /** What the node holds for certain: `applied`, or less while the lane repeats what a late request lies over. */
  #settled: number

  constructor(session: NodeSession, { placement, spread, project, head }: LaneState) {
    this.#session = session
    this.#placement = placement
    this.#tag = laneTag(placement, session.marker)
    this.#ahead = new ReadAhead(session, placement)
    this.#onNode = new IndexOnNode(session, placement.physicalUid, this.#tag)
    this.#turns = new LaneTurns(session, placement, this.#onNode)
    this.#project = project
    this.#cut = { sliceBytes: sliceBytes(session.deps, session.lease.node), view: viewOf(spread, placement) }
    this.#places = this.#cut.view?.exactTies ? new DocumentPlaces((ids) => this.#readPlaces(ids)) : undefined
    this.#head = head
    this.#applied = placement.applied
    this.#sent = placement.applied
    this.#settled = placement.applied
  }

  get tag(): string {
    return this.#tag
  }

  get physicalUid(): string {
    return this.#placement.physicalUid
  }

  /** What the node holds for certain; less than is applied while the lane repeats. */
  get settled(): number {
    return this.#settled
  }

  /** Nothing is open and nothing waits. */
  get isIdle(): boolean {
    return (
      this.#applied >= this.#head && this.#open.length === 0 && this.#halt === undefined && this.#turns.position === 0
    )
  }

  get revision(): number {
    return this.#placement.revision
  }

  /** It takes the index off its node instead of delivering to it. */
  get isLeaving(): boolean {
    return this.#placement.state === 'leaving'
  }

  /** Ends an idle lane; the next change of its index starts another. */
  retire(): void {
    this.#stop({ kind: 'ended' })
  }

  /** The store put the replica back to the beginning: another lane builds it anew. */
  giveUp(): void {
    this.#session.leftovers.add(this.physicalUid)
    this.#stop({ kind: 'ended' })
  }

  /** The node's settings are compared with how it showed them before, as soon as nothing else is to do. */
  audit(print: SettingsPrint | null): void {
    this.#audit = { print }
    this.#sendWake.ring()
  }

  raiseHead(head: number): void {
    if (head <= this.#head) return
    this.#head = head
    this.#sendWake.ring()
  }

  /** A task of this lane's index came that no request of ours was answered with. */
  noteStranger(task: EngineTask): void {
    const mark = parseMark(task.customMetadata)
    if (task.uid <= this.#seenThrough || this.#open.some((entry) => entry.numbers.includes(task.uid))) return
    // A mark of another life of the disk still tells the position. Where it puts documents was found out on another disk, and
    // how long ago they were inserted here is not known any more.
    if (mark === undefined) this.#unmarked.push(task.uid)
    else if (mark.tag !== this.#tag)
      this.#settled = this.#places === undefined ? Math.min(this.#settled, Math.max(0, mark.position - 1)) : 0
    else if (mark.position <= this.#applied) this.#latePositions.push(mark.position)
    this.#hasStranger = true
    this.#stop({ kind: 'resume', isIll: false, reason: 'a request came late' })
  }

  /** Runs until the session ends or the index is deleted. */
  async run(): Promise<void> {
    const { signal, deps, end } = this.#session
    let failures = 0
    let mustResume = true
    while (!signal.aborted) {
      try {
        // Whoever is told that the index is there can read it.
        if (this.isLeaving) return await this.#leave()
        await deps.credentials?.ensure(this.#session.lease.node, this.#project, signal)
        mustResume ||= this.#hasStranger
        // Whatever went wrong, an older copy of the disk may be there now: its marks tell of what is not on it any more.
        if (mustResume && (failures > 0 || this.#seenThrough >= 0)) await this.#session.verify()
        if (mustResume) await this.#resume()
        mustResume = true
        const halt = await this.#deliver()
        if (halt.kind === 'ended') this.#giveBack()
        if (signal.aborted || halt.kind === 'ended') return
        switch (halt.kind) {
          case 'resume':
            failures = halt.isIll ? failures + 1 : 0
            this.#log('info', { reason: halt.reason }, 'the lane reads its marks')
            break
          case 'rewind':
            if (halt.verdict.isTrouble) failures += 1
            mustResume = !(await this.#goBack(halt.verdict))
            break
          case 'rebuild':
            // At once: a part of what was refused can be read until then.
            failures = 0
            this.#mustRebuild = true
            break
          default:
            unreachable(halt)
        }
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof LeaseLost) return end('lease-lost')
        failures += 1
        this.#log('warn', { error: String(error) }, 'the lane stopped and tries again')
      }
      if (failures > 0) await deps.clock.sleep(backoffMs(failures, deps.random), signal).catch(() => {})
    }
  }

  #log(level: 'info' | 'warn' | 'error', fields: object, message: string): void {
    const { index, node } = this.#placement
    this.#session.deps.log[level]({ index, node, applied: this.#applied, ...fields }, message)
  }

  #stop(halt: Halt): void {
    this.#halt ??= halt
    this.#flow.abort(notNeeded)
  }

  /** Twice: safe. */
  async #leave(): Promise<void> {
    const { journal } = this.#session.deps
    await this.#onNode.drop()
    if (!(await journal.removeReplica(this.#session.lease, this.#placement))) throw new LeaseLost()
  }

  // ---- Learning where the node stands ----

  async #resume(): Promise<void> {
    this.#giveBack()
    this.#halt = undefined
    this.#hasStranger = false
    if (this.#mustRebuild) return this.#startAnew()
    const latePositions = [...this.#latePositions]
    const unmarked = [...this.#unmarked]
    const found = await resumeLane(
      {
        session: this.#session,
        onNode: this.#onNode,
        placement: this.#placement,
        tag: this.#tag,
        cut: this.#cut,
      },
      {
        applied: this.#applied,
        settled: this.#settled,
        head: this.#head,
        seenThrough: this.#seenThrough,
        wentBack: this.#wentBack,
        latePositions,
        unmarked,
        isUncertain: (position) => this.#setbacks.isUncertain(position),
        relies: (position) => this.#places?.relies(position) === true,
      },
    )
    if (found === 'rebuild') {
      this.#mustRebuild = true
      return this.#startAnew()
    }
    this.#latePositions.splice(0, latePositions.length)
    this.#unmarked.splice(0, unmarked.length)
    this.#sent = found.sent
    // Never more: a late request may have been noticed meanwhile.
    this.#settled = Math.min(this.#settled, found.settled)
    this.#seenThrough = found.seenThrough
    this.#open = [...found.open]
    this.#blindUntil = this.#open.at(-1)?.item.change.position ?? 0
    for (const entry of this.#open) this.#turns.note(entry)
    this.#repeatUntil = Math.max(this.#repeatUntil, this.#head, found.reached)
    for (const number of this.#open.flatMap(({ numbers }) => numbers)) this.#session.watch.follow(number)
    this.#existence = found.existence
  }

  /**
   * Builds the index anew. What was applied once is refused now, because settings that came later do not fit it; or a change
   * failed and left some of itself behind: only from the beginning do all changes meet what they met before.
   *
   * Before: `#mustRebuild`. First the mark of position 0 goes to the node, so that a successor does the same; then the
   * store learns, so that nobody reads the index while it is incomplete; then it is dropped. Twice: safe.
   */
  async #startAnew(): Promise<void> {
    const { deps, lease } = this.#session
    this.#log('error', {}, 'the index is built anew on its node')
    deps.metrics.rewound(this.#placement.node, 'rebuild')
    await this.#onNode.announceRebuild()
    if (!(await deps.journal.restart(lease, this.#placement))) throw new LeaseLost()
    this.#applied = 0
    this.#settled = 0
    this.#sent = 0
    this.#turns.forget()
    this.#existence = 'missing'
    await this.#onNode.drop()
    this.#wentBack = undefined
    this.#mustRebuild = false
  }

  /** An index exists from its first position on, even when nothing of it is a write that would create it. */
  async #create(): Promise<void> {
    await this.#onNode.create()
    if (this.#cut.view !== null) await this.#onNode.configure(freshNodeSettings)
    this.#existence = 'sure'
  }

  // ---- Delivering ----

  async #deliver(): Promise<Halt> {
    if (this.#halt !== undefined) return this.#halt
    this.#flow = manyWaiting()
    const stopWithSession = () => this.#flow.abort(notNeeded)
    this.#session.signal.addEventListener('abort', stopWithSession, { once: true })
    if (this.#session.signal.aborted) stopWithSession()
    const guarded = (loop: Promise<void>) =>
      loop.finally(() => {
        this.#flow.abort(notNeeded)
      })
    try {
      const ends = await Promise.allSettled([guarded(this.#sendAll()), guarded(this.#settleAll())])
      for (const end of ends) if (end.status === 'rejected') throw end.reason
    } finally {
      this.#session.signal.removeEventListener('abort', stopWithSession)
    }
    return this.#halt ?? { kind: 'resume', isIll: false, reason: 'the session ends' }
  }

  async #sendAll(): Promise<void> {
    const flow = this.#flow.signal
    while (!flow.aborted) {
      await this.#session.probe.well(flow)
      if (this.#sent >= this.#turns.position && this.#turns.position > 0) {
        if (this.#open.length > 0) await this.#sendWake.wait(flow)
        else if ((await this.#turns.end(this.#sent, flow)) === 'rebuild') return this.#stop({ kind: 'rebuild' })
        this.#ahead.forget()
        continue
      }
      const item = await this.#ahead.first(this.#sent, () => this.#head)
      if (flow.aborted) return
      if (item === undefined) {
        const { print } = this.#audit ?? {}
        if (print === undefined || this.#open.length > 0) await this.#sendWake.wait(flow)
        else {
          this.#audit = undefined
          const [session, placement, onNode] = [this.#session, this.#placement, this.#onNode]
          if (this.#existence === 'sure')
            await auditSettings({ session, placement, onNode, applied: this.#applied }, print)
        }
        continue
      }
      const { position } = item.change
      const delivery = planDelivery(item, this.#cut)
      if (this.#existence === 'missing' && !makesIndex(delivery, this.#cut)) {
        await this.#create()
        continue
      }
      if (this.#turns.mustUndo(item)) {
        if (this.#open.length > 0) await this.#sendWake.wait(flow)
        else if (!(await this.#turns.undo(position, this.#sent))) return this.#stop({ kind: 'rebuild' })
        this.#ahead.forget()
        continue
      }
      if (delivery.kind === 'lost') {
        this.#log('error', { position }, 'the payload of a change that must be delivered again is not kept any more')
        if (position > this.#applied) throw new Error(`position ${position} cannot be delivered again`)
        this.#take(skipped(item, null))
        continue
      }
      if (delivery.kind === 'skip') {
        this.#take(skipped(item, delivery.ends))
        continue
      }
      if (await this.#isToldFailed(item)) {
        this.#take(skipped(item, null))
        continue
      }
      const isSingle = position <= this.#singleUntil
      const isBlind =
        this.#places !== undefined && (this.#open[0]?.item.change.position ?? Infinity) <= this.#blindUntil
      // Who took a place is looked for no further back.
      const isFar =
        this.#places !== undefined && (this.#open[0]?.item.change.position ?? position) < position - heirReach
      const mustWait = delivery.kind === 'resolve' || delivery.isAlone || isSingle || isBlind || isFar
      if (this.#open.length > 0 && (mustWait || this.#open.some((entry) => entry.isSingle))) {
        await this.#sendWake.wait(flow)
        continue
      }
      if (item.change.status === 'enqueued') {
        await this.#ahead.claim()
        continue
      }
      if (delivery.kind === 'resolve') {
        await this.#resolve(item)
        continue
      }
      if (this.#existence === 'sure' && (await isNoOp(this.#session.deps.journal, item))) {
        if (flow.aborted) return
        // Nothing overtakes it: what was sent behind it would look as if it had been forgotten.
        this.#take({ ...skipped(item, { error: null }), isSingle: true })
        continue
      }
      if (item.turn !== undefined && !item.turn.takers.includes(this.#placement.node)) {
        await this.#turns.wait(item, item.turn, flow)
        this.#ahead.forget()
        continue
      }
      const { version } = this.#ahead
      const isOutdated = () => this.#ahead.version !== version
      const deps = {
        session: this.#session,
        placement: this.#placement,
        flow,
        isOutdated,
        cut: this.#cut,
        places: this.#places,
      }
      this.#primaryKey = item.primaryKey ?? ''
      const ended = await sendChange(deps, item, delivery)
      if (ended.kind === 'halted') return
      if (ended.kind === 'outdated') continue
      if (ended.kind !== 'sent') {
        this.#setbacks.noteUncertain(position)
        if (ended.kind === 'failed') this.#session.probe.suspect()
        const isIll = ended.kind === 'failed'
        return this.#stop({ kind: 'resume', isIll, reason: ended.reason })
      }
      if (this.#existence === 'missing') this.#existence = 'asked'
      this.#take({ ...ended.open, isSingle: isSingle || delivery.isAlone })
    }
  }

  /** A repeat must come to what the replica has told already, while others are still to tell what it came to there. */
  async #isToldFailed({ change: { position, finishedAt } }: LaneChange): Promise<boolean> {
    if (this.#cut.view === null || position > this.#applied || finishedAt !== null) return false
    return (await this.#session.deps.journal.failedOn(this.#placement, [position])).length > 0
  }

  /** Where documents stand on the node; a place of a change that failed is none. */
  async #readPlaces(ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const places = await this.#onNode.places(ids, this.#primaryKey)
    if (this.#sent >= this.#repeatUntil) return places
    const named = [...new Set([...places.values()].map(positionOf))]
    const failed = new Set(await this.#session.deps.journal.failedOn(this.#placement, named))
    return new Map([...places].filter(([, place]) => !failed.has(positionOf(place))))
  }

  #take(entry: OpenChange): void {
    this.#sent = entry.item.change.position
    this.#turns.note(entry)
    this.#open.push(entry)
    this.#settleWake.ring()
  }

  async #resolve(item: LaneChange): Promise<void> {
    const { position } = item.change
    const isSecondTry = this.#setbacks.timesGoneBack(position, 'internal') > 0
    const [tag, flow, { clock }] = [this.#tag, this.#flow.signal, this.#session.deps]
    if (this.#unresolved?.position !== position) this.#unresolved = { position, since: clock.monotonic() }
    const isOverdue = clock.monotonic() - this.#unresolved.since >= resolverMsMax
    const terms = { tag, isSecondTry, isOverdue, flow, view: this.#cut.view }
    const resolved = await recordResolution(this.#session, this.#placement, item, terms)
    if (resolved.kind === 'outdated') return
    if (resolved.kind === 'waiting') {
      await clock.sleep(othersPollMs, flow).catch(() => {})
      return this.#ahead.refresh()
    }
    // Read again rather than trusted: another delivery may have recorded its own before.
    if (resolved.kind === 'recorded') return this.#ahead.refresh()
    this.#setbacks.noteGoneBack(position, 'internal')
    if (resolved.error instanceof IndexMissing) {
      // On a disk that is ours, an index that is gone was deleted behind our back.
      await this.#session.verify()
      this.#mustRebuild = true
    }
    throw resolved.error
  }

  // ---- Settling ----

  async #settleAll(): Promise<void> {
    const flow = this.#flow.signal
    const { watch } = this.#session
    while (!flow.aborted) {
      const first = this.#open[0]
      if (first === undefined) {
        await this.#settleWake.wait(flow)
        continue
      }
      if (first.item.change.position < this.#redoFrom) await watch.settled(first.numbers, flow)
      if (flow.aborted) return
      const done: Settled[] = []
      let problem: Extract<Verdict, { readonly kind: 'again' }> | undefined
      let isUnfounded = false
      for (const entry of this.#open) {
        const { position } = entry.item.change
        if (position >= this.#redoFrom) {
          problem = { kind: 'again', position, singleUntil: 0, reason: 'failed-place', isTrouble: false }
          break
        }
        const verdict = await this.#judge(entry)
        if (verdict.kind === 'done') done.push({ entry, verdict })
        if (verdict.kind === 'done' && verdict.error !== null) isUnfounded = this.#disinherit(entry) || isUnfounded
        if (verdict.kind === 'again') problem = verdict
        if (verdict.kind !== 'done') break
      }
      if (done.length > 0 && this.#existence === 'asked') {
        if (done.some(settlesIndex)) this.#existence = 'sure'
        else await this.#create()
      }
      const mustRebuild = isUnfounded || done.some((one) => isPartial(one, this.#setbacks))
      // Before it is told, so that a successor knows as well.
      if (mustRebuild) await this.#onNode.announceRebuild()
      if (done.length > 0) await this.#advance(done)
      // A part of what was refused is on the node: only without it from the beginning is the index as it must be.
      if (mustRebuild) return this.#stop({ kind: 'rebuild' })
      if (problem !== undefined) return this.#stop({ kind: 'rewind', verdict: problem })
    }
  }

  /**
   * A change failed: those that took its places are delivered again, all that are on the node from somebody else as well.
   *
   * @returns true = where they would have to go instead is on the node no more.
   */
  #disinherit({ item, parts }: OpenChange): boolean {
    const { position } = item.change
    if (this.#places === undefined) return false
    const heir =
      position < this.#blindUntil
        ? this.#open.find((entry) => entry.item.change.position > position && entry.parts.length > 0)?.item.change
            .position
        : this.#places.fail(position)
    if (heir === undefined) return false
    this.#redoFrom = Math.min(this.#redoFrom, heir)
    return parts.some(({ part }) => part.kind === 'delete')
  }

  async #judge(entry: OpenChange): Promise<Verdict> {
    const { watch } = this.#session
    const { position } = entry.item.change
    const view = {
      taskOf: (number: number) => watch.ended(number),
      goneBack: (reason: GoBackReason) => this.#setbacks.timesGoneBack(position, reason),
      around: undefined,
      isApplied: position <= this.#applied,
    }
    const verdict = judge(entry, view)
    return verdict.kind === 'unsure'
      ? judge(entry, { ...view, around: await this.#onNode.around(entry.numbers) })
      : verdict
  }

  async #advance(done: readonly Settled[]): Promise<void> {
    const { deps, lease, watch, marker, prove } = this.#session
    const placement = this.#placement
    const now = deps.clock.now()
    const outcomes = outcomesOf(done, { placement, marker, applied: this.#applied, setbacks: this.#setbacks, now })
    const applied = done.at(-1)!.entry.item.change.position
    const newest = newestProof(done)
    if (applied > this.#applied || outcomes.length > 0) {
      const target = Math.max(applied, this.#applied)
      const proof = await this.#onNode.proof(target, newest)
      const kept = await deps.journal.advance(lease, placement, target, outcomes, proof)
      if (kept === false) throw new LeaseLost()
      if (kept === 'restarted') return this.giveUp()
      this.#applied = target
      if (proof !== null) {
        prove(proof)
        this.#onNode.noteProven(proof)
      }
    }
    // A failure changes what later ones deliver (settings folded without it): what was read ahead is read again.
    if (outcomes.some(({ status }) => status === 'failed')) this.#ahead.forget()
    this.#settled = Math.max(this.#settled, applied)
    this.#places?.settle(applied)
    this.#open.splice(0, done.length)
    for (const { entry } of done) {
      watch.forget(entry.numbers)
      this.#setbacks.settle(entry.item.change.position)
    }
    if (newest !== null) this.#session.probe.noteWrite()
    const oldest = done[0]!.entry.sentAt
    deps.metrics.applied(placement.node, done.length, deps.clock.monotonic() - oldest)
    this.#sendWake.ring()
    const last = done.at(-1)!.entry.item.change
    const isDeleted = last.operation.kind === 'index-delete' && done.at(-1)!.verdict.error === null
    if (isDeleted && last.position >= this.#head) this.#stop({ kind: 'ended' })
  }

  // ---- Going back ----

  /** Takes the rest off the node's queue and starts again at the failed change. `false` = the marks must be read first. */
  async #goBack(verdict: Extract<Verdict, { readonly kind: 'again' }>): Promise<boolean> {
    const { engine, watch, signal, deps } = this.#session
    const { position, reason } = verdict
    this.#log('warn', { position, reason, singleUntil: verdict.singleUntil }, 'the lane goes back and delivers again')
    deps.metrics.rewound(this.#placement.node, reason)
    if (reason === 'node-trouble') this.#session.probe.suspect()
    this.#setbacks.noteGoneBack(position, reason)
    if (reason === 'failed-replay') {
      this.#mustRebuild = true
      return false
    }
    this.#repeatUntil = Math.max(this.#repeatUntil, this.#sent)
    const reply = await send(this.#session, 0, (limit) => engine.cancelTasks(this.physicalUid, limit))
    if (reply.kind !== 'answered') return false
    this.#wentBack = { position, number: reply.value }
    const numbers = this.#open.flatMap((entry) => entry.numbers)
    await watch.settled([reply.value, ...numbers], signal)
    if (signal.aborted) return false
    for (const entry of this.#open) {
      const tasks = entry.parts.flatMap(({ number }) => watch.ended(number) ?? [])
      this.#setbacks.noteRemoved(entry.item.change.position, removedBy(tasks))
      // What was good once and fails now is on the node all the same.
      const isGood = tasks.some(({ status }) => status === 'succeeded')
      if (isGood && reason === 'failed-place') this.#setbacks.noteUncertain(entry.item.change.position)
    }
    watch.forget([reply.value])
    this.#giveBack()
    this.#halt = undefined
    this.#sent = position - 1
    this.#turns.goBack(position - 1)
    this.#settled = Math.min(this.#settled, position - 1)
    this.#singleUntil = Math.max(this.#singleUntil, verdict.singleUntil)
    this.#redoFrom = Number.POSITIVE_INFINITY
    // Other replicas may have ended meanwhile as failed what has left a part of itself here.
    return this.#cut.view === null
  }

  /** Forgets what is open; the node or the marks on it know it. */
  #giveBack(): void {
    this.#places?.clear()
    this.#blindUntil = 0
    this.#redoFrom = Number.POSITIVE_INFINITY
    for (const entry of this.#open) this.#session.watch.forget(entry.numbers)
    this.#open = []
    this.#ahead.forget()
  }
}

/** The index exists when this has succeeded, or need not. A spread one must have our settings before anything else. */
function makesIndex(delivery: Delivery, { view }: Cut): boolean {
  const kind = delivery.kind === 'send' ? delivery.parts[0]?.kind : undefined
  if (view !== null) return kind === 'delete-index'
  return kind === 'put' || kind === 'create-index' || kind === 'settings' || kind === 'delete-index'
}
