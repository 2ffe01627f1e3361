/** A lane goes back: what it has sent of a change and behind it is taken off the node's queue, and delivered again. */
import type { Verdict } from './judgement.ts'
import type { LaneCourse } from './lane-course.ts'
import { send } from './node-session.ts'
import { removedBy } from './outcome.ts'

/** Starts again at the failed change. `false` = the marks must be read first. */
export async function rewind(
  course: LaneCourse,
  verdict: Extract<Verdict, { readonly kind: 'again' }>,
): Promise<boolean> {
  const { session, placement, setbacks } = course
  const { engine, watch, signal, deps } = session
  const { position, reason } = verdict
  course.log('warn', { position, reason, singleUntil: verdict.singleUntil }, 'the lane goes back and delivers again')
  deps.metrics.rewound(placement.node, reason)
  if (reason === 'node-trouble') session.probe.suspect()
  if (reason === 'failed-replay') {
    setbacks.noteGoneBack(position, reason)
    course.mustRebuild = true
    return false
  }
  course.repeatUntil = Math.max(course.repeatUntil, course.sent)
  const reply = await send(session, 0, (limit) => engine.cancelTasks(placement.physicalUid, limit))
  if (reply.kind !== 'answered') return false
  // Not before: what the node said once would otherwise count again and again, until it was believed.
  setbacks.noteGoneBack(position, reason)
  course.wentBack = { position, number: reply.value }
  const numbers = course.open.flatMap((entry) => entry.numbers)
  await watch.settled([reply.value, ...numbers], signal)
  if (signal.aborted) return false
  for (const entry of course.open) {
    const tasks = entry.parts.flatMap(({ number }) => watch.ended(number) ?? [])
    setbacks.noteRemoved(entry.item.change.position, removedBy(tasks))
    // What was good once and fails now is on the node all the same.
    const isGood = tasks.some(({ status }) => status === 'succeeded')
    if (isGood && reason === 'failed-place') setbacks.noteUncertain(entry.item.change.position)
  }
  watch.forget([reply.value])
  course.giveBack()
  course.halt = undefined
  course.sent = position - 1
  course.turns.goBack(position - 1)
  course.settled = Math.min(course.settled, position - 1)
  course.singleUntil = Math.max(course.singleUntil, verdict.singleUntil)
  course.redoFrom = Number.POSITIVE_INFINITY
  // Other replicas may have ended meanwhile as failed what has left a part of itself here.
  return course.cut.view === null
}
