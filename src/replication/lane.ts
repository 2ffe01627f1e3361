/**
 * A lane: brings the journal of one index to one replica, in order, and tracks how far it is.
 *
 * Two loops run side by side. One sends (`lane-sender.ts`): changes go out in order, one request at a time, as far ahead as
 * the node's window allows. The other settles (`lane-settler.ts`): it watches the tasks end, judges what came of them and
 * advances `applied` in the store. When anything is unclear (no answer, a late request, a crash before us), both stop and the
 * lane learns from the marks on the node where it stands (`lane-resumption.ts`); when a batch failed, it goes back and
 * delivers one by one (`lane-rewind.ts`).
 *
 * What always holds: a position is sent only after all before it were sent, `applied` moves only over positions that ended
 * on the node or are skipped, and what the node holds in the end is what it numbered last.
 */

import type { EngineTask } from '../engine/engine.ts'
import type { LaneState, SettingsPrint } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import { shardClause } from '../search/shard-clause.ts'
import type { ProjectId } from '../store/catalogue.ts'
import { backoffMs, manyWaiting, notNeeded } from './deadline.ts'
import { type Halt, LaneCourse } from './lane-course.ts'
import { type LateRequest, resumeLane } from './lane-resumption.ts'
import { rewind } from './lane-rewind.ts'
import { LaneSender } from './lane-sender.ts'
import { settleAll } from './lane-settler.ts'
import { parseMark } from './mark.ts'
import { LeaseLost, type NodeSession } from './node-session.ts'
import { untilRoutesTaken } from './routes-taken.ts'

export class Lane {
  readonly #session: NodeSession
  readonly #project: ProjectId
  readonly #course: LaneCourse
  readonly #sender: LaneSender
  /** Newest task of the index that the marks were read up to. */
  #seenThrough = -1
  /** A late request was noticed and the marks were not read since, whatever else the lane is doing. */
  #hasStranger = false
  /** Requests of the lane that came late, up to what is applied, since the marks were read. */
  readonly #late: LateRequest[] = []
  /** Documents of shards that the replica gave up may be on its node. */
  #hasLeftovers: boolean
  /** A request of somebody else came late. */
  #isDisturbed = false
  readonly #primaryKey: string | null
  /** Numbers of unmarked tasks that no request was answered with: of what was sent last, or late and of any age. */
  readonly #unmarked: number[] = []

  constructor(session: NodeSession, state: LaneState) {
    this.#session = session
    this.#project = state.project
    this.#hasLeftovers = state.placement.hasLeftovers === true
    this.#primaryKey = state.primaryKey
    this.#course = new LaneCourse(session, state)
    this.#sender = new LaneSender(this.#course)
  }

  get tag(): string {
    return this.#course.tag
  }

  get physicalUid(): string {
    return this.#course.placement.physicalUid
  }

  /** What the node holds for certain; less than is applied while the lane repeats. */
  get settled(): number {
    return this.#course.settled
  }

  /** Nothing is open and nothing waits. */
  get isIdle(): boolean {
    const { applied, head, open, halt, turns } = this.#course
    return applied >= head && open.length === 0 && halt === undefined && turns.position === 0
  }

  get revision(): number {
    return this.#course.placement.revision
  }

  /** It takes the index off its node instead of delivering to it. */
  get isLeaving(): boolean {
    return this.#course.placement.state === 'leaving'
  }

  /** Ends an idle lane; the next change of its index starts another. */
  retire(): void {
    this.#course.stop({ kind: 'ended' })
  }

  /** The store put the replica back to the beginning: another lane builds it anew. */
  giveUp(): void {
    this.#course.giveUp()
  }

  /** The node's settings are compared with how it showed them before, as soon as nothing else is to do. */
  audit(print: SettingsPrint | null): void {
    this.#sender.audit(print)
  }

  raiseHead(head: number): void {
    if (head <= this.#course.head) return
    this.#course.head = head
    this.#course.sendWake.ring()
  }

  /** A task of this lane's index came that no request of ours was answered with. */
  noteStranger(task: EngineTask): void {
    const course = this.#course
    const mark = parseMark(task.customMetadata)
    if (task.uid <= this.#seenThrough || course.open.some((entry) => entry.numbers.includes(task.uid))) return
    // Put between others by a lane whose answer was lost: it is no change, and does nothing.
    if (mark?.part === 0) return
    // A mark of another life of the disk still tells the position. Where it puts documents was found out on another disk, and
    // how long ago they were inserted here is not known any more.
    // It may have brought back documents of shards that the replica has given up.
    if (mark?.tag !== course.tag) this.#isDisturbed = true
    if (mark === undefined) this.#unmarked.push(task.uid)
    else if (mark.tag !== course.tag)
      course.settled = course.places === undefined ? Math.min(course.settled, Math.max(0, mark.from - 1)) : 0
    else if (mark.from <= course.applied) this.#late.push({ position: mark.from, number: task.uid })
    this.#hasStranger = true
    course.stop({ kind: 'resume', isIll: false, reason: 'a request came late' })
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
        if (this.#hasLeftovers) await this.#trim()
        else if (this.#isDisturbed) await this.#removeForeign()
        this.#isDisturbed = false
        mustResume ||= this.#hasStranger
        // Whatever went wrong, an older copy of the disk may be there now: its marks tell of what is not on it any more.
        if (mustResume && (failures > 0 || this.#seenThrough >= 0)) await this.#session.verify()
        if (mustResume) await this.#resume()
        mustResume = true
        const halt = await this.#deliver()
        if (halt.kind === 'ended') this.#course.giveBack()
        if (signal.aborted || halt.kind === 'ended') return
        switch (halt.kind) {
          case 'resume':
            failures = halt.isIll ? failures + 1 : 0
            this.#course.log('info', { reason: halt.reason }, 'the lane reads its marks')
            break
          case 'rewind':
            if (halt.verdict.isTrouble) failures += 1
            mustResume = !(await rewind(this.#course, halt.verdict))
            break
          case 'rebuild':
            // At once: a part of what was refused can be read until then.
            failures = 0
            this.#course.mustRebuild = true
            break
          default:
            unreachable(halt)
        }
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof LeaseLost) return end('lease-lost')
        failures += 1
        this.#course.log('warn', { error: String(error) }, 'the lane stopped and tries again')
      }
      if (failures > 0) await deps.clock.sleep(backoffMs(failures, deps.random), signal).catch(() => {})
    }
  }

  /**
   * Takes documents of shards that the replica gave up off its node. Before: the store knows the replica under a new revision,
   * so that nothing that an earlier lane sent bears this one's marks. What that lane had sent beyond `applied` is cancelled, or
   * delivered again. Twice: safe.
   */
  async #trim(): Promise<void> {
    const { journal } = this.#session.deps
    const course = this.#course
    await course.onNode.settle()
    await this.#removeForeign()
    // Position 0 is the mark of a rebuild, and a lane that begins there needs none.
    if (course.applied > 0) {
      this.#session.prove(await course.onNode.beginAt(course.applied))
      // What came late to the lane before is none of ours: this one knows only what comes behind its own first mark.
      if (await course.onNode.isDisturbed(course.applied)) {
        course.mustRebuild = true
        await this.#startAnew()
      }
    }
    if (!(await journal.noteTrimmed(this.#session.lease, course.placement))) throw new LeaseLost()
    this.#hasLeftovers = false
  }

  async #removeForeign(): Promise<void> {
    const { cut, onNode, applied } = this.#course
    const primaryKey = this.#primaryKey
    if (cut.view === null || primaryKey === null) return
    const { own, shards: count } = cut.view
    const shards = Array.from({ length: count }, (_, shard) => shard).filter((shard) => !own.has(shard))
    const filter = shards.length === 0 ? null : shardClause({ shards, isWhole: false }, count)
    if (filter !== null) await onNode.remove(filter, primaryKey, applied)
  }

  /** Twice: safe. */
  async #leave(): Promise<void> {
    const { journal } = this.#session.deps
    const course = this.#course
    await course.onNode.drop()
    if (!(await journal.removeReplica(this.#session.lease, course.placement))) throw new LeaseLost()
  }

  // ---- Learning where the node stands ----

  async #resume(): Promise<void> {
    const course = this.#course
    course.giveBack()
    course.halt = undefined
    this.#hasStranger = false
    if (course.mustRebuild) return this.#startAnew()
    const late = [...this.#late]
    const unmarked = [...this.#unmarked]
    const found = await resumeLane(course, {
      applied: course.applied,
      settled: course.settled,
      head: course.head,
      seenThrough: this.#seenThrough,
      wentBack: course.wentBack,
      late,
      unmarked,
      isUncertain: (position) => course.setbacks.isUncertain(position),
      relies: (position) => course.places?.relies(position) === true,
    })
    if (found === 'rebuild') {
      course.mustRebuild = true
      return this.#startAnew()
    }
    this.#late.splice(0, late.length)
    this.#unmarked.splice(0, unmarked.length)
    course.sent = found.sent
    for (const position of found.held) course.setbacks.noteUncertain(position)
    // Never more: a late request may have been noticed meanwhile.
    course.settled = Math.min(course.settled, found.settled)
    this.#seenThrough = found.seenThrough
    course.open = [...found.open]
    course.blindUntil = course.open.at(-1)?.item.change.position ?? 0
    for (const entry of course.open) course.turns.note(entry)
    course.repeatUntil = Math.max(course.repeatUntil, course.head, found.reached)
    for (const number of course.open.flatMap(({ numbers }) => numbers)) this.#session.watch.follow(number)
    course.existence = found.existence
  }

  /**
   * Builds the index anew. What was applied once is refused now, because settings that came later do not fit it; or a change
   * failed and left some of itself behind: only from the beginning do all changes meet what they met before.
   *
   * Before: `mustRebuild`. First the mark of position 0 goes to the node, so that a successor does the same; then the
   * store learns, and every gateway, so that nobody reads the index while it is incomplete; then it is dropped. Twice: safe.
   */
  async #startAnew(): Promise<void> {
    const { deps, lease } = this.#session
    const course = this.#course
    course.log('error', {}, 'the index is built anew on its node')
    deps.metrics.rewound(course.placement.node, 'rebuild')
    const [lateCount, unmarkedCount] = [this.#late.length, this.#unmarked.length]
    await course.onNode.announceRebuild()
    if (!(await deps.journal.restart(lease, course.placement))) throw new LeaseLost()
    course.applied = 0
    course.settled = 0
    course.sent = 0
    course.turns.forget()
    course.existence = 'missing'
    await untilRoutesTaken(deps, this.#session.signal)
    await course.onNode.drop()
    // What came before the deletion went with the index.
    this.#late.splice(0, lateCount)
    this.#unmarked.splice(0, unmarkedCount)
    course.wentBack = undefined
    course.mustRebuild = false
  }

  // ---- Delivering ----

  async #deliver(): Promise<Halt> {
    const course = this.#course
    if (course.halt !== undefined) return course.halt
    course.flow = manyWaiting()
    const stopWithSession = () => course.flow.abort(notNeeded)
    this.#session.signal.addEventListener('abort', stopWithSession, { once: true })
    if (this.#session.signal.aborted) stopWithSession()
    const guarded = (loop: Promise<void>) =>
      loop.finally(() => {
        course.flow.abort(notNeeded)
      })
    try {
      const ends = await Promise.allSettled([guarded(this.#sender.run()), guarded(settleAll(course))])
      for (const end of ends) if (end.status === 'rejected') throw end.reason
    } finally {
      this.#session.signal.removeEventListener('abort', stopWithSession)
    }
    return course.halt ?? { kind: 'resume', isIll: false, reason: 'the session ends' }
  }
}
