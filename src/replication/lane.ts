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
import type { EngineTask } from '../engine/engine.ts'
import type { ChangeOutcome, LaneChange, LaneProof, LaneState } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { Placement } from '../store/catalogue.ts'
import { backoffMs, manyWaiting } from './deadline.ts'
import { type Delivery, planDelivery } from './delivery.ts'
import { sliceBytes } from './dependencies.ts'
import { IndexOnNode } from './index-on-node.ts'
import { type GoBackReason, judge, type Verdict } from './judgement.ts'
import { laneTag, parseMark } from './mark.ts'
import { ask, LeaseLost, type NodeSession, send, sendAndWait } from './node-session.ts'
import { adoptSent, type OpenChange, skipped } from './open-change.ts'
import { outcomeOf, removedBy } from './outcome.ts'
import { resolveChange } from './resolution.ts'
import { IndexMissing } from './resolution-reads.ts'
import { resumeFrom } from './resume.ts'
import { sendChange } from './sending.ts'
import {
  firstDoubtful,
  isStrange,
  isTainted,
  readBytesMax,
  readChangesMax,
  readSent,
  type StandingView,
} from './standing.ts'
import { Wake } from './wake.ts'

/** Why both loops stop. */
type Halt =
  | { readonly kind: 'ended' }
  /** Learn from the marks again; `isIll` = after a pause. */
  | { readonly kind: 'resume'; readonly isIll: boolean; readonly reason: string }
  | { readonly kind: 'rebuild' }
  | { readonly kind: 'rewind'; readonly verdict: Extract<Verdict, { readonly kind: 'again' }> }

export class Lane {
  readonly #session: NodeSession
  readonly #placement: Placement
  readonly #tag: string
  readonly #onNode: IndexOnNode
  #head: number
  /** As the store has it. */
  #applied: number
  /** Everything up to here was sent or skipped. */
  #sent: number
  /** Sent or skipped, not settled; by position. */
  #open: OpenChange[] = []
  /** Read from the journal, behind `sent`. */
  #ahead: LaneChange[] = []
  /** Raised when what was read ahead may be outdated. */
  #aheadVersion = 0
  /** Up to here changes go out alone, each in a batch of its own. */
  #singleUntil = 0
  /** The physical index is dropped before anything else is sent. */
  #mustRebuild = false
  /** How often the lane went back, by position and reason. */
  readonly #goneBack = new Map<number, Map<GoBackReason, number>>()
  readonly #removed = new Map<number, number>()
  readonly #sendWake = new Wake()
  readonly #settleWake = new Wake()
  #halt: Halt | undefined
  #flow = manyWaiting()
  /** Of the index on the node; `asked` = something was sent that creates it unless it fails. */
  #existence: 'missing' | 'asked' | 'sure' = 'missing'
  /** Positions of which a request ended without an answer: an attempt that nobody counts may be on the node. */
  readonly #uncertain = new Set<number>()
  /** Newest task of the index that the marks were read up to. */
  #seenThrough = -1
  #wentBack: { readonly position: number; readonly number: number } | undefined
  /** What the node holds for certain: `applied`, or less while the lane repeats what a late request lies over. */
  #settled: number

  constructor(session: NodeSession, { placement, head }: LaneState) {
    this.#session = session
    this.#placement = placement
    this.#tag = laneTag(placement, session.marker)
    this.#onNode = new IndexOnNode(session, placement.physicalUid, this.#tag)
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

  /** Nothing is open and nothing waits. */
  get isIdle(): boolean {
    return this.#applied >= this.#head && this.#open.length === 0 && this.#halt === undefined
  }

  get #sliceBytes(): number {
    return sliceBytes(this.#session.deps, this.#session.lease.node)
  }

  /** Ends an idle lane; the next change of its index starts another. */
  retire(): void {
    this.#stop({ kind: 'ended' })
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
    // A mark of another life of the disk still tells the position; without one it may be any.
    if (mark?.tag !== this.#tag) this.#settled = Math.min(this.#settled, Math.max(0, (mark?.position ?? 1) - 1))
    this.#stop({ kind: 'resume', isIll: false, reason: 'a request came late' })
  }

  /** Runs until the session ends or the index is deleted. */
  async run(): Promise<void> {
    const { signal, deps, end } = this.#session
    let failures = 0
    let mustResume = true
    while (!signal.aborted) {
      try {
        if (mustResume) await this.#resume()
        mustResume = true
        const halt = await this.#deliver()
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
    this.#flow.abort()
  }

  // ---- Learning where the node stands ----

  async #resume(): Promise<void> {
    const { deps, leftovers } = this.#session
    this.#giveBack()
    this.#halt = undefined
    if (this.#mustRebuild) return this.#startAnew()
    const tasks = await this.#onNode.newestTasks(this.#applied)
    const view = this.#view(tasks)
    const changes = await readSent(view)
    const found = resumeFrom({
      tasks,
      changes,
      applied: this.#applied,
      tag: this.#tag,
      sliceBytes: this.#sliceBytes,
      wentBack: this.#wentBack,
    })
    if (found.mustRebuild || (await isTainted(view))) {
      this.#mustRebuild = true
      return this.#startAnew()
    }
    if (await isStrange(view, found.unmarkedTypes)) this.#settled = 0
    this.#seenThrough = tasks[0]?.uid ?? this.#seenThrough
    this.#settled = Math.min(this.#settled, found.sent, await firstDoubtful(view))
    const isBehind = this.#settled < this.#applied
    const sent = isBehind ? this.#settled : found.sent
    const open = isBehind ? [] : found.open
    this.#sent = sent
    const numbersOf = new Map(open.map((entry) => [entry.position, entry]))
    for (const item of changes) {
      const { position } = item.change
      if (position > sent) break
      const delivery = planDelivery(item, this.#sliceBytes)
      const entry = numbersOf.get(position)
      if (delivery.kind === 'skip') this.#open.push(skipped(item, delivery.ends))
      if (delivery.kind !== 'send' || entry === undefined) continue
      const adopted = adoptSent(item, delivery, entry, tasks, deps.clock.monotonic())
      this.#open.push(adopted)
      for (const number of adopted.numbers) this.#session.watch.follow(number)
    }
    const isFresh = found.isBlank && sent === 0
    if (isFresh && leftovers.has(this.physicalUid)) {
      // Whatever an earlier life of the disk or of the name left behind is none of this index.
      await this.#onNode.drop()
      leftovers.delete(this.physicalUid)
    }
    this.#existence = isFresh ? 'missing' : this.#applied > 0 ? 'sure' : 'asked'
    if (!isFresh && found.endsUnmarked) {
      await this.#onNode.separate(this.#sent)
    }
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
    this.#existence = 'missing'
    await this.#onNode.drop()
    this.#wentBack = undefined
    this.#mustRebuild = false
  }

  #view(tasks: readonly EngineTask[]): StandingView {
    return {
      journal: this.#session.deps.journal,
      index: this.#placement.index,
      tag: this.#tag,
      applied: this.#applied,
      head: this.#head,
      sliceBytes: this.#sliceBytes,
      tasks,
      seenThrough: this.#seenThrough,
    }
  }

  /** An index exists from its first position on, even when nothing of it is a write that would create it. */
  async #create(): Promise<void> {
    await this.#onNode.create()
    this.#existence = 'sure'
  }

  // ---- Delivering ----

  async #deliver(): Promise<Halt> {
    if (this.#halt !== undefined) return this.#halt
    this.#flow = manyWaiting()
    const stopWithSession = () => this.#flow.abort()
    this.#session.signal.addEventListener('abort', stopWithSession, { once: true })
    const guarded = (loop: Promise<void>) =>
      loop.finally(() => {
        this.#flow.abort()
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
      const item = await this.#next()
      if (flow.aborted) return
      if (item === undefined) {
        await this.#sendWake.wait(flow)
        continue
      }
      const { position } = item.change
      const delivery = planDelivery(item, this.#sliceBytes)
      if (this.#existence === 'missing' && !makesIndex(delivery)) {
        await this.#create()
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
      const isSingle = position <= this.#singleUntil
      const mustWait = delivery.kind === 'resolve' || delivery.isAlone || isSingle
      if (this.#open.length > 0 && (mustWait || this.#open.some((entry) => entry.isSingle))) {
        await this.#sendWake.wait(flow)
        continue
      }
      if (item.change.status === 'enqueued') {
        await this.#claim()
        continue
      }
      if (delivery.kind === 'resolve') {
        await this.#resolve(item)
        continue
      }
      const version = this.#aheadVersion
      const isOutdated = () => this.#aheadVersion !== version
      const deps = { session: this.#session, placement: this.#placement, flow, isOutdated }
      const ended = await sendChange(deps, item, delivery)
      if (ended.kind === 'halted') return
      if (ended.kind === 'outdated') continue
      if (ended.kind !== 'sent') {
        this.#uncertain.add(position)
        const isIll = ended.kind === 'failed'
        return this.#stop({ kind: 'resume', isIll, reason: ended.reason })
      }
      if (this.#existence === 'missing') this.#existence = 'asked'
      this.#take({ ...ended.open, isSingle: isSingle || delivery.isAlone })
    }
  }

  #take(entry: OpenChange): void {
    this.#sent = entry.item.change.position
    this.#ahead = this.#ahead.filter(({ change }) => change.position > this.#sent)
    this.#open.push(entry)
    this.#settleWake.ring()
  }

  /** The next change to send, read ahead; `undefined` at the head. */
  async #next(): Promise<LaneChange | undefined> {
    while (this.#ahead.length === 0 && this.#sent < this.#head) {
      const { journal } = this.#session.deps
      const version = this.#aheadVersion
      const page = await journal.read(this.#placement.index, this.#sent, readChangesMax, readBytesMax)
      if (this.#aheadVersion !== version) continue
      this.#ahead = [...page]
      if (page.length === 0) break
    }
    return this.#ahead[0]
  }

  /** Marks what was read ahead as sent, so that it cannot be cancelled any more. */
  async #claim(): Promise<void> {
    const { deps, lease } = this.#session
    const positions = this.#ahead
      .filter(({ change }) => change.status === 'enqueued')
      .map(({ change }) => change.position)
    const allowed = await deps.journal.markSent(lease, this.#placement.index, positions, deps.clock.now())
    if (allowed === false) throw new LeaseLost()
    const claimed = new Set(allowed)
    if (positions.some((position) => !claimed.has(position))) {
      // Without the cancelled ones, what the others deliver may be another: read again.
      this.#forgetAhead()
      return
    }
    this.#ahead = this.#ahead.map((item) =>
      claimed.has(item.change.position) ? { ...item, change: { ...item.change, status: 'processing' } } : item,
    )
  }

  #forgetAhead(): void {
    this.#ahead = []
    this.#aheadVersion += 1
  }

  async #resolve(item: LaneChange): Promise<void> {
    const { deps, lease, engine } = this.#session
    const { index } = this.#placement
    const { position } = item.change
    const resolving = resolveChange(
      {
        engine,
        journal: deps.journal,
        physicalUid: this.physicalUid,
        scratchUid: `fjscratch_${this.#tag}`,
        isSecondTry: this.#timesGoneBack(item.change.position, 'internal') > 0,
        ask: (call) => ask(this.#session, call),
        run: (call) => sendAndWait(this.#session, call),
      },
      item,
    )
    const resolution = await resolving.catch(async (error) => {
      this.#noteGoneBack(position, 'internal')
      if (error instanceof IndexMissing) await this.#missIndex()
      throw error
    })
    // What was read counts only if the disk that it was read from is still ours: it is recorded for good.
    await this.#session.verify()
    const isKept = await deps.journal.recordResolution(lease, index, position, resolution)
    if (!isKept) throw new LeaseLost()
    // Read again rather than trusted: another delivery may have recorded its own before.
    this.#forgetAhead()
  }

  /** On a disk that is ours, an index that is gone was deleted behind our back. */
  async #missIndex(): Promise<void> {
    await this.#session.verify()
    this.#mustRebuild = true
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
      await watch.settled(first.numbers, flow)
      if (flow.aborted) return
      const done: { readonly entry: OpenChange; readonly verdict: Extract<Verdict, { readonly kind: 'done' }> }[] = []
      let problem: Extract<Verdict, { readonly kind: 'again' }> | undefined
      for (const entry of this.#open) {
        const verdict = await this.#judge(entry)
        if (verdict.kind === 'done') done.push({ entry, verdict })
        if (verdict.kind === 'again') problem = verdict
        if (verdict.kind !== 'done') break
      }
      if (done.length > 0 && this.#existence === 'asked') {
        const isMade = done.some(({ entry, verdict }) => verdict.error === null && entry.parts.length > 0)
        if (isMade) this.#existence = 'sure'
        else await this.#create()
      }
      const isUncertain = ({ entry, verdict }: (typeof done)[number]) =>
        verdict.error !== null && entry.parts.length > 0 && this.#uncertain.has(entry.item.change.position)
      const isPartial = done.some((one) => one.verdict.isPartial || isUncertain(one))
      // Before it is told, so that a successor knows as well.
      if (isPartial) await this.#onNode.announceRebuild()
      if (done.length > 0) await this.#advance(done)
      // A part of what was refused is on the node: only without it from the beginning is the index as it must be.
      if (isPartial) return this.#stop({ kind: 'rebuild' })
      if (problem !== undefined) return this.#stop({ kind: 'rewind', verdict: problem })
    }
  }

  async #judge(entry: OpenChange): Promise<Verdict> {
    const { watch } = this.#session
    const { position } = entry.item.change
    const view = {
      taskOf: (number: number) => watch.ended(number),
      goneBack: (reason: GoBackReason) => this.#timesGoneBack(position, reason),
      around: undefined,
    }
    const verdict = judge(entry, view)
    return verdict.kind === 'unsure'
      ? judge(entry, { ...view, around: await this.#onNode.around(entry.numbers) })
      : verdict
  }

  async #advance(
    done: readonly { readonly entry: OpenChange; readonly verdict: Extract<Verdict, { readonly kind: 'done' }> }[],
  ): Promise<void> {
    const { deps, lease, watch, marker, prove } = this.#session
    const { node, index, physicalUid } = this.#placement
    const now = deps.clock.now()
    const outcomes: ChangeOutcome[] = []
    let proof: LaneProof | null = null
    for (const { entry, verdict } of done) {
      const { change } = entry.item
      proof = entry.proof ?? proof
      if (change.position <= this.#applied || change.status === 'succeeded' || !verdict.isTold) continue
      const removed = Math.max(removedBy(verdict.tasks), this.#removed.get(change.position) ?? 0)
      const { batch } = verdict
      const batchKey = batch === null ? `${index}:${change.position}` : `${node}:${marker}:${batch}`
      outcomes.push(
        outcomeOf(entry.item, { error: verdict.error, tasks: verdict.tasks, removed, physicalUid, batchKey, now }),
      )
    }
    const applied = done.at(-1)!.entry.item.change.position
    if (applied > this.#applied || outcomes.length > 0) {
      const target = Math.max(applied, this.#applied)
      if (!(await deps.journal.advance(lease, this.#placement, target, outcomes, proof))) throw new LeaseLost()
      this.#applied = target
      if (proof !== null) prove(proof)
    }
    // A failure changes what later ones deliver (settings folded without it): what was read ahead is read again.
    if (outcomes.some(({ status }) => status === 'failed')) this.#forgetAhead()
    this.#settled = Math.max(this.#settled, applied)
    this.#open.splice(0, done.length)
    for (const { entry } of done) {
      watch.forget(entry.numbers)
      this.#goneBack.delete(entry.item.change.position)
      this.#uncertain.delete(entry.item.change.position)
      this.#removed.delete(entry.item.change.position)
    }
    const oldest = done[0]!.entry.sentAt
    deps.metrics.applied(node, done.length, deps.clock.monotonic() - oldest)
    this.#sendWake.ring()
    const last = done.at(-1)!.entry.item.change
    const isDeleted = last.operation.kind === 'index-delete' && done.at(-1)!.verdict.error === null
    if (isDeleted && last.position >= this.#head) this.#stop({ kind: 'ended' })
  }

  // ---- Going back ----

  /** Takes the rest off the node's queue and starts again at the failed change. `false` = the node did not answer. */
  async #goBack(verdict: Extract<Verdict, { readonly kind: 'again' }>): Promise<boolean> {
    const { engine, watch, signal, deps } = this.#session
    const { position, reason } = verdict
    this.#log('warn', { position, reason, singleUntil: verdict.singleUntil }, 'the lane goes back and delivers again')
    deps.metrics.rewound(this.#placement.node, reason)
    this.#noteGoneBack(position, reason)
    if (reason === 'failed-replay') {
      this.#mustRebuild = true
      return false
    }
    const reply = await send(this.#session, 0, (limit) => engine.cancelTasks(this.physicalUid, limit))
    if (reply.kind !== 'answered') return false
    this.#wentBack = { position, number: reply.value }
    const numbers = this.#open.flatMap((entry) => entry.numbers)
    await watch.settled([reply.value, ...numbers], signal)
    if (signal.aborted) return false
    for (const entry of this.#open) {
      const tasks = entry.parts.flatMap(({ number }) => watch.ended(number) ?? [])
      const at = entry.item.change.position
      this.#removed.set(at, Math.max(removedBy(tasks), this.#removed.get(at) ?? 0))
    }
    watch.forget([reply.value])
    this.#giveBack()
    this.#halt = undefined
    this.#sent = position - 1
    this.#settled = Math.min(this.#settled, position - 1)
    this.#singleUntil = Math.max(this.#singleUntil, verdict.singleUntil)
    return true
  }

  #timesGoneBack(position: number, reason: GoBackReason): number {
    return this.#goneBack.get(position)?.get(reason) ?? 0
  }

  #noteGoneBack(position: number, reason: GoBackReason): void {
    const counts = this.#goneBack.get(position) ?? new Map<GoBackReason, number>()
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
    this.#goneBack.set(position, counts)
  }

  /** Forgets what is open; the node or the marks on it know it. */
  #giveBack(): void {
    for (const entry of this.#open) this.#session.watch.forget(entry.numbers)
    this.#open = []
    this.#forgetAhead()
  }
}

/** The index exists when this has succeeded, or need not. */
function makesIndex(delivery: Delivery): boolean {
  const kind = delivery.kind === 'send' ? delivery.parts[0]?.kind : undefined
  return kind === 'put' || kind === 'create-index' || kind === 'settings' || kind === 'delete-index'
}
