/**
 * How far a node is with one lane, learnt from the marks among the node's own tasks (NF-41, NF-43). Pure.
 *
 * The last task of an index decides its state, so what counts is the order in which the node numbered our tasks: a change
 * that the node has twice counts where it stands last, and everything that stood between must then be sent again.
 */
import type { EngineTask } from '../engine/engine.ts'
import type { LaneChange } from '../journal/ports.ts'
import type { BundleRange } from './bundle.ts'
import { isMarked, type Part, planDelivery, planSent, taskTypeOf } from './delivery.ts'
import {
  type Attempt,
  attemptsOf,
  byNumber,
  type FoundMark,
  isUnmarked,
  newestAt,
  newestDrop,
  positionsOf,
  readMarks,
} from './found-marks.ts'
import type { Cut } from './shard-view.ts'
import { endedInVain, mayBeOf } from './task-effect.ts'

export interface SentChange {
  readonly position: number
  /** Numbers of its parts, in order. */
  readonly parts: readonly number[]
  /** The empty mark behind a part that cannot carry one. */
  readonly emptyMark: number | null
  /** It was sent as one with others, which are in the list too. */
  readonly bundle: BundleRange | null
}

export interface Resumption {
  /** Everything up to here is on the node, in order; the lane goes on behind it. May be less than what is applied. */
  readonly sent: number
  /** Those of them that are not applied yet. */
  readonly open: readonly SentChange[]
  /** No task of this lane is on this disk, or a deletion of the index is behind all of them. */
  readonly isBlank: boolean
  /** The newest task of the index is an unmarked one: an empty mark must come before anything else (NF-24). */
  readonly endsUnmarked: boolean
  /** A rebuild of the index began and was cut short. */
  readonly mustRebuild: boolean
  /** What stands unmarked behind the newest mark and did something, or still may. */
  readonly unmarked: readonly EngineTask[]
  /** Number of the newest mark; infinite when there is none. */
  readonly newest: number
  /** The lane's own deletion of the index, in its place behind everything else: nothing before it matters. */
  readonly drop: EngineTask | undefined
}

export interface NodeMarks {
  /** The newest tasks of the index on the node, newest first, back to the last applied mark at least. */
  readonly tasks: readonly EngineTask[]
  readonly applied: number
  readonly tag: string
  /** The lane went back to `position`: what it had sent of it and behind it before task `number` does not count. */
  readonly wentBack?: { readonly position: number; readonly number: number } | undefined
}

/**
 * @param changes  the journal from `applied` on, as far as marks reach.
 * @param idle     those of `mayBeIdle` that have nothing for the replica.
 */
export function resumeFrom(
  options: NodeMarks & {
    readonly changes: readonly LaneChange[]
    readonly cut: Cut
    readonly idle?: ReadonlySet<number>
  },
): Resumption {
  const { applied, changes, idle = new Set() } = options
  const ascending = byNumber(options.tasks)
  const found = countedMarks(options)
  const dropped = newestDrop(ascending)
  // Position 0: a rebuild began, and the deletion of the index that belongs to it is not there.
  const mustRebuild = found.some(({ position }) => position === 0)
  const newest = found.at(-1)
  const lastTask = ascending.at(-1)
  const endsUnmarked = lastTask !== undefined && isUnmarked(lastTask)
  const unmarked =
    newest === undefined
      ? []
      : ascending.filter((task) => task.uid > newest.task.uid && isUnmarked(task) && !endedInVain(task))
  const tail = {
    endsUnmarked,
    unmarked,
    mustRebuild,
    newest: newest?.task.uid ?? Number.POSITIVE_INFINITY,
    drop: undefined,
  }
  if (newest === undefined) {
    return { sent: dropped === undefined ? applied : 0, open: [], isBlank: true, ...tail }
  }
  const attempts = attemptsOf(found)
  const newestAttempts = newestAt(attempts)
  const late = lateFrom(newestAttempts, attempts, applied, idle)
  if (late !== undefined && late <= applied) return { sent: late - 1, open: [], isBlank: false, ...tail }
  const open: SentChange[] = []
  let sent = applied
  let last = lastNumberOf(found, applied) ?? -1
  let bundle: Attempt | undefined
  for (const item of changes) {
    const { position } = item.change
    if (position <= applied) continue
    if (position > newest.position) break
    const attempt = newestAttempts.get(position)
    const delivery = planSent(item, options.cut, attempt?.parts)
    if (delivery.kind === 'skip') {
      sent = position
      continue
    }
    if (bundle !== undefined && position <= bundle.position) {
      open.push(partOfBundle(position, bundle))
      sent = position
      continue
    }
    if (attempt !== undefined && attempt.position > attempt.from) {
      const isOnTop = positionsOf(attempt).every((one) => newestAttempts.get(one) === attempt)
      const isThere = attempt.from === position && isWhole(attempt) && isOnTop && attempt.numbers[0]! > last
      if (!isThere || !isBundle(attempt, changes, options.cut)) break
      bundle = attempt
      open.push(partOfBundle(position, bundle))
      sent = position
      last = bundle.numbers.at(-1)!
      continue
    }
    if (delivery.kind !== 'send') break
    const match = matchParts(delivery.parts, position, found, ascending, last)
    if (match === undefined) break
    open.push(match.sent)
    sent = position
    last = match.last
  }
  const isOwnDrop = dropped !== undefined && open.at(-1)?.parts.includes(dropped.uid)
  return { sent, open, isBlank: false, ...tail, drop: isOwnDrop ? dropped : undefined }
}

function countedMarks({ tasks, tag, wentBack }: NodeMarks): readonly FoundMark[] {
  return readMarks(tasks, tag).filter(
    ({ position, task }) => wentBack === undefined || position < wentBack.position || task.uid >= wentBack.number,
  )
}

/**
 * Positions up to `applied` that may have nothing for the replica, and then do not have to stand in order; only the journal knows.
 * Those of bundles whose first change was sent again by itself, and these were not: or it came late and lies over them. And those that
 * failed, and in front of which something was sent again: or they were to go out again as well.
 */
export function mayBeIdle(marks: NodeMarks): readonly number[] {
  const newest = newestAt(attemptsOf(countedMarks(marks)))
  const inOrder = [...newest].filter(([position]) => position <= marks.applied).sort(([a], [b]) => a - b)
  let highest = -1
  return inOrder.flatMap(([position, attempt]) => {
    const number = attempt.numbers.at(-1)!
    const isBehind = number < highest
    highest = Math.max(highest, number)
    return newest.get(attempt.from) !== attempt || (isBehind && !attempt.isGood) ? [position] : []
  })
}

/** All parts of a change, each behind the other and behind `after`; `undefined` when one is missing or out of order. */
function matchParts(
  parts: readonly Part[],
  position: number,
  found: readonly FoundMark[],
  tasks: readonly EngineTask[],
  after: number,
): { readonly sent: SentChange; readonly last: number } | undefined {
  const numbers: number[] = []
  let emptyMark: number | null = null
  let last = after
  for (const [index, part] of parts.entries()) {
    const mark = found.findLast(
      (one) =>
        one.from === position && one.position === position && one.part === index + 1 && one.parts === parts.length,
    )
    if (mark === undefined || mark.task.uid <= last) return undefined
    if (isMarked(part)) {
      numbers.push(mark.task.uid)
    } else {
      const low = last
      const change = tasks.findLast(
        ({ uid, type }) => uid > low && uid < mark.task.uid && type === taskTypeOf[part.kind],
      )
      // Its mark may have come late, behind something else.
      if (change === undefined || (change.details !== null && !mayBeOf(change, part))) return undefined
      numbers.push(change.uid)
      emptyMark = mark.task.uid
    }
    last = mark.task.uid
  }
  return { sent: { position, parts: numbers, emptyMark, bundle: null }, last }
}

const isWhole = ({ part, parts, numbers }: Attempt): boolean => part === parts && numbers.length === parts

/** What its changes come to now is what it was made of, or nothing. */
function isBundle({ position, from }: Attempt, changes: readonly LaneChange[], cut: Cut): boolean {
  const within = changes.filter(({ change }) => change.position >= from && change.position <= position)
  const isOfIt = (item: LaneChange) => ['send', 'skip'].includes(planDelivery(item, cut).kind)
  return within.length === position - from + 1 && within.every(isOfIt)
}

function partOfBundle(position: number, { from, position: through, numbers }: Attempt): SentChange {
  return { position, parts: numbers, emptyMark: null, bundle: { from, through } }
}

/**
 * The first position that is covered by an older one: a request for an earlier change came late and lies over it. It and
 * everything behind it must be sent again. A lane that went back leaves no such place once it is forward again.
 *
 * Of a change in parts all must stand behind each other. A part whose successor is missing lies over it, too: the node's
 * older tasks may have been deleted.
 */
function lateFrom(
  newest: ReadonlyMap<number, Attempt>,
  attempts: readonly Attempt[],
  applied: number,
  idle: ReadonlySet<number>,
): number | undefined {
  // A bundle that failed went out again one by one: what is applied and was not among that had nothing for the replica.
  const isNothing = (position: number, attempt: Attempt) =>
    idle.has(position) || (position <= applied && !attempt.isGood && newest.get(attempt.from) !== attempt)
  const inOrder = [...newest].filter(([at, attempt]) => !isNothing(at, attempt)).sort(([a], [b]) => a - b)
  const liesOverOthers = (one: Attempt) =>
    one.part < one.parts &&
    attempts.some((other) => other !== one && other.from <= one.position && one.from <= other.position)
  for (const [at, [, attempt]] of inOrder.entries()) {
    if (liesOverOthers(attempt)) return attempt.from
    const before = inOrder[at - 1]
    if (before === undefined || before[1] === attempt) continue
    const [position, over] = before
    if (attempt.numbers.at(-1)! > over.numbers.at(-1)!) continue
    // An empty mark says nothing of what stands in front of it: that may have come late by itself.
    return over.part === over.parts && !over.endsEmpty ? position + 1 : over.from
  }
  return undefined
}

/** Where the newest change up to `position` stands last. */
function lastNumberOf(found: readonly FoundMark[], position: number): number | undefined {
  return found.findLast((one) => one.position <= position)?.task.uid
}
