/** The marks that are found among the tasks of an index on a node, and the sendings that they are of. Pure. */
import type { EngineTask } from '../engine/engine.ts'
import { taskTypeOf } from './delivery.ts'
import { parseMark } from './mark.ts'
import { endedInVain } from './task-effect.ts'

const dropType = taskTypeOf['delete-index']

export interface FoundMark {
  readonly position: number
  readonly from: number
  readonly part: number
  readonly parts: number
  readonly task: EngineTask
}

/**
 * The marks of a lane that count, oldest first: what stood before a deletion of the index is not on the node any more.
 * @param tag  absent = also those that came late from another life of the disk.
 */
export function readMarks(tasks: readonly EngineTask[], tag?: string): readonly FoundMark[] {
  const ascending = byNumber(tasks)
  const dropped = newestDrop(ascending)
  return readAllMarks(ascending, tag).filter(({ task }) => dropped === undefined || task.uid >= dropped.uid)
}

export function readAllMarks(ascending: readonly EngineTask[], tag: string | undefined): readonly FoundMark[] {
  return ascending.flatMap((task): readonly FoundMark[] => {
    const mark = parseMark(task.customMetadata)
    if (mark === undefined || (tag !== undefined && mark.tag !== tag) || mark.part === 0) return []
    return [{ position: mark.position, from: mark.from, part: mark.part, parts: mark.parts, task }]
  })
}

export function byNumber(tasks: readonly EngineTask[]): readonly EngineTask[] {
  return [...tasks].sort((a, b) => a.uid - b.uid)
}

export function newestDrop(ascending: readonly EngineTask[]): EngineTask | undefined {
  return ascending.findLast((task) => task.type === dropType && !endedInVain(task))
}

/** Every change that a mark stands for. */
export function positionsOf({ from, position }: Pick<FoundMark, 'from' | 'position'>): readonly number[] {
  return Array.from({ length: position - from + 1 }, (_, at) => from + at)
}

export const isUnmarked = ({ customMetadata }: EngineTask): boolean => parseMark(customMetadata) === undefined

/** One sending of a change or of a bundle, as far as it is on the node. */
export interface Attempt {
  readonly from: number
  readonly position: number
  readonly parts: number
  /** The last part that is there. */
  part: number
  readonly numbers: number[]
  /** All its tasks succeeded. */
  isGood: boolean
  /** Its last part is a deletion, and may be one of nothing that marks what cannot carry a mark. Never so of a bundle. */
  endsEmpty: boolean
}

/** By the number of their first part. @param found  oldest first. */
export function attemptsOf(found: readonly FoundMark[]): readonly Attempt[] {
  const attempts: Attempt[] = []
  const newest = new Map<string, Attempt>()
  for (const { from, position, part, parts, task } of found) {
    const key = `${from}-${position}.${parts}`
    const known = newest.get(key)
    const isGood = task.status === 'succeeded'
    const endsEmpty = task.type === taskTypeOf.delete && from === position
    if (known !== undefined && known.part === part - 1) {
      known.part = part
      known.numbers.push(task.uid)
      known.isGood &&= isGood
      known.endsEmpty = endsEmpty
      continue
    }
    const attempt = { from, position, parts, part, numbers: [task.uid], isGood, endsEmpty }
    newest.set(key, attempt)
    attempts.push(attempt)
  }
  return attempts
}

/** The sending that lies on top at each position. */
export function newestAt(attempts: readonly Attempt[]): ReadonlyMap<number, Attempt> {
  const newest = new Map<number, Attempt>()
  const lastOf = ({ numbers }: Attempt) => numbers.at(-1)!
  for (const attempt of [...attempts].sort((a, b) => lastOf(a) - lastOf(b))) {
    for (const position of positionsOf(attempt)) newest.set(position, attempt)
  }
  return newest
}
