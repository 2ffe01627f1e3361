/** What came late, or was left failed, as the marks on a node tell it to those who read beside its lane or take it on. Pure. */
import type { EngineTask } from '../engine/engine.ts'
import { taskTypeOf } from './delivery.ts'
import {
  type Attempt,
  attemptsOf,
  byNumber,
  isUnmarked,
  newestAt,
  positionsOf,
  readAllMarks,
  readMarks,
} from './found-marks.ts'
import { endedInVain, isPending } from './task-effect.ts'

/**
 * Positions up to `applied` that the node has more than once, the last time without success. Either the change failed, or
 * a repeat of it did and nobody noticed.
 */
export function suspects(tasks: readonly EngineTask[], applied: number, tag: string): readonly number[] {
  const times = new Map<number, number>()
  const newest = new Map<number, Attempt>()
  const ascending = byNumber(tasks)
  // An empty mark may fail behind a change that did not.
  const isMarkOfGood = ({ endsEmpty, numbers }: Attempt) => {
    const before = ascending[ascending.findIndex(({ uid }) => uid === numbers[0]) - 1]
    return (
      endsEmpty && numbers.length === 1 && before !== undefined && isUnmarked(before) && before.status === 'succeeded'
    )
  }
  for (const attempt of attemptsOf(readAllMarks(ascending, tag))) {
    for (const position of positionsOf(attempt)) {
      if (position > applied) break
      times.set(position, (times.get(position) ?? 0) + 1)
      newest.set(position, attempt)
    }
  }
  return [...newest]
    .filter(([position, attempt]) => times.get(position)! > 1 && !attempt.isGood && !isMarkOfGood(attempt))
    .map(([position]) => position)
    .sort((a, b) => a - b)
}

const changing: ReadonlySet<string> = new Set(Object.values(taskTypeOf))

/** Older tasks were looked at by the lane, which does so every ten seconds. */
export const lateTasksMax = 1_000

/**
 * Whether something that came late lies over what is applied, whoever sent it and in whichever life of the replica: a question
 * of those who read the index beside its lane, which mends it when it next looks. A change that went out again by itself hides
 * what came late within its bundle.
 *
 * @param tasks  the newest `lateTasksMax` of the index on its node.
 */
export function isDisturbed(tasks: readonly EngineTask[], applied: number): boolean {
  const marks = readMarks(tasks).filter(({ position, task }) => position <= applied && !endedInVain(task))
  // What is applied has ended: this runs a second time, late or since the disk is an older copy.
  if (marks.some(({ task }) => isPending(task))) return true
  // A lane sends a mark behind whatever cannot carry one.
  const last = byNumber(tasks).findLast(({ type }) => changing.has(type))
  if (marks.length > 0 && last !== undefined && isUnmarked(last) && !endedInVain(last)) return true
  const newest = newestAt(attemptsOf(marks))
  const inOrder = [...newest].filter(([, attempt]) => newest.get(attempt.from) === attempt).sort(([a], [b]) => a - b)
  return inOrder.some(([, attempt], at) => {
    const before = inOrder[at - 1]?.[1]
    if (attempt.part < attempt.parts) return true
    return before !== undefined && before !== attempt && attempt.numbers.at(-1)! < before.numbers.at(-1)!
  })
}
