/** The settling loop of a lane: watches the tasks end, judges what came of them and advances `applied` in the store. */
import { type GoBackReason, judge, type Verdict } from './judgement.ts'
import type { LaneCourse } from './lane-course.ts'
import { LeaseLost } from './node-session.ts'
import type { OpenChange } from './open-change.ts'
import { isPartial, newestProof, outcomesOf, type Settled, settlesIndex } from './settlement.ts'

/** Runs until the lane stops. */
export async function settleAll(course: LaneCourse): Promise<void> {
  const flow = course.flow.signal
  const { watch } = course.session
  while (!flow.aborted) {
    const first = course.open[0]
    if (first === undefined) {
      await course.settleWake.wait(flow)
      continue
    }
    if (first.item.change.position < course.redoFrom) await watch.settled(first.numbers, flow)
    if (flow.aborted) return
    const done: Settled[] = []
    let problem: Extract<Verdict, { readonly kind: 'again' }> | undefined
    let isUnfounded = false
    for (const entry of course.open) {
      const { position } = entry.item.change
      if (position >= course.redoFrom) {
        problem = { kind: 'again', position, singleUntil: 0, reason: 'failed-place', isTrouble: false }
        break
      }
      const verdict = await judgeOpen(course, entry)
      if (verdict.kind === 'done') done.push({ entry, verdict })
      if (verdict.kind === 'done' && verdict.error !== null) isUnfounded = disinherit(course, entry) || isUnfounded
      if (verdict.kind === 'again') problem = verdict
      if (verdict.kind !== 'done') break
    }
    if (done.length > 0 && course.existence === 'asked') {
      if (done.some(settlesIndex)) course.existence = 'sure'
      else await course.create()
    }
    const mustRebuild = isUnfounded || done.some((one) => isPartial(one, course.setbacks))
    // Before it is told, so that a successor knows as well.
    if (mustRebuild) await course.onNode.announceRebuild()
    if (done.length > 0) await advance(course, done)
    // A part of what was refused is on the node: only without it from the beginning is the index as it must be.
    if (mustRebuild) return course.stop({ kind: 'rebuild' })
    if (problem !== undefined) return course.stop({ kind: 'rewind', verdict: problem })
  }
}

/**
 * A change failed: those that took its places are delivered again, all that are on the node from somebody else as well.
 *
 * @returns true = where they would have to go instead is on the node no more.
 */
function disinherit(course: LaneCourse, { item, parts }: OpenChange): boolean {
  const { position } = item.change
  if (course.places === undefined) return false
  const heir =
    position < course.blindUntil
      ? course.open.find((entry) => entry.item.change.position > position && entry.parts.length > 0)?.item.change
          .position
      : course.places.fail(position)
  if (heir === undefined) return false
  course.redoFrom = Math.min(course.redoFrom, heir)
  return parts.some(({ part }) => part.kind === 'delete')
}

async function judgeOpen(course: LaneCourse, entry: OpenChange): Promise<Verdict> {
  const { session, setbacks, applied, onNode, cut, placement } = course
  const { watch, deps } = session
  const { position } = entry.item.change
  const view = {
    taskOf: (number: number) => watch.ended(number),
    goneBack: (reason: GoBackReason) => setbacks.timesGoneBack(position, reason),
    around: undefined,
    isApplied: position <= applied,
    isShared: cut.view !== null,
  }
  const verdict = judge(entry, view)
  if (verdict.kind !== 'unsure') return verdict
  const known = { ...view, around: await onNode.around(entry.numbers) }
  const sure = judge(entry, known)
  if (sure.kind !== 'again' || sure.reason !== 'refused-replay') return sure
  // Asked only now: it is rare, and replicas come and go while a lane runs. An only copy would be out of service for ever.
  return judge(entry, { ...known, isShared: await deps.journal.isHeldElsewhere(placement) })
}

async function advance(course: LaneCourse, done: readonly Settled[]): Promise<void> {
  const { session, placement, setbacks } = course
  const { deps, lease, watch, marker, prove } = session
  const now = deps.clock.now()
  const outcomes = outcomesOf(done, { placement, marker, applied: course.applied, setbacks, now })
  const applied = done.at(-1)!.entry.item.change.position
  const newest = newestProof(done)
  if (applied > course.applied || outcomes.length > 0) {
    const target = Math.max(applied, course.applied)
    const proof = await course.onNode.proof(target, newest)
    const kept = await deps.journal.advance(lease, placement, target, outcomes, proof)
    if (kept === false) throw new LeaseLost()
    if (kept === 'restarted') return course.giveUp()
    course.applied = target
    if (proof !== null) {
      prove(proof)
      course.onNode.noteProven(proof)
    }
  }
  // A failure changes what later ones deliver (settings folded without it): what was read ahead is read again.
  if (outcomes.some(({ status }) => status === 'failed')) course.ahead.forget()
  course.settled = Math.max(course.settled, applied)
  course.places?.settle(applied)
  course.open.splice(0, done.length)
  for (const { entry } of done) {
    watch.forget(entry.numbers)
    setbacks.settle(entry.item.change.position)
  }
  if (newest !== null) session.probe.noteWrite()
  const oldest = done[0]!.entry.sentAt
  deps.metrics.applied(placement.node, done.length, deps.clock.monotonic() - oldest)
  course.sendWake.ring()
  const last = done.at(-1)!.entry.item.change
  const isDeleted = last.operation.kind === 'index-delete' && done.at(-1)!.verdict.error === null
  if (isDeleted && last.position >= course.head) course.stop({ kind: 'ended' })
}
