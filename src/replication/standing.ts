/** What the marks on a node mean in the light of the journal: questions that a lane asks before it goes on. */
import type { EngineTask } from '../engine/engine.ts'
import type { LaneChange, LaneJournal } from '../journal/ports.ts'
import type { IndexId } from '../store/catalogue.ts'
import { isMarked, planDelivery } from './delivery.ts'
import { readMarks } from './found-marks.ts'
import { suspects } from './late-requests.ts'
import { parseMark } from './mark.ts'
import type { Cut } from './shard-view.ts'
import { mayBeOf } from './task-effect.ts'

/** Changes read from the journal at once, and their payload. */
export const readChangesMax = 64
export const readBytesMax = 4 * 1024 * 1024

export interface StandingView {
  readonly journal: Pick<LaneJournal, 'read'>
  readonly index: IndexId
  readonly tag: string
  readonly applied: number
  readonly head: number
  readonly cut: Cut
  /** The newest tasks of the index, newest first. */
  readonly tasks: readonly EngineTask[]
  /** Tasks up to this number were looked at before. */
  readonly seenThrough: number
  /** Something of the change at this position may have been sent without the lane's knowing its task. */
  readonly mayBeSent: (position: number) => boolean
}

/** The changes behind `applied`, as far as marks reach. */
export async function readSent({ journal, index, applied, head, tasks }: StandingView): Promise<readonly LaneChange[]> {
  const highest = Math.max(0, ...tasks.map((task) => parseMark(task.customMetadata)?.position ?? 0))
  const changes: LaneChange[] = []
  for (let after = applied; after < Math.min(highest, head); ) {
    const page = await journal.read(index, after, readChangesMax, readBytesMax)
    if (page.length === 0) break
    changes.push(...page)
    after = page.at(-1)!.change.position
  }
  return changes
}

/**
 * An unmarked task behind all marks is what was sent last, if it can be: such changes go out alone, right behind what is
 * applied, and a lane that has looked before knows whether it sent one since without an answer. It must set the same settings,
 * too: a worker that died may have had others on the way. Anything else came late and may be of any age.
 *
 * @param unmarked  what stands unmarked behind the newest mark.
 */
export async function isStrange(view: StandingView, unmarked: readonly EngineTask[]): Promise<boolean> {
  if (unmarked.length === 0) return false
  for (let after = view.applied; after < view.head; ) {
    const page = await view.journal.read(view.index, after, readChangesMax, readBytesMax)
    if (page.length === 0) break
    for (const item of page) {
      const delivery = planDelivery(item, view.cut)
      if (delivery.kind === 'skip') continue
      if (!view.mayBeSent(item.change.position)) return true
      const parts = delivery.kind === 'send' ? delivery.parts : []
      return unmarked.some((task) => !parts.some((part) => !isMarked(part) && mayBeOf(task, part)))
    }
    after = page.at(-1)!.change.position
  }
  return true
}

/**
 * Before the oldest position that a request of another life of the disk, or of the replica, brought to the node since it was
 * looked at; infinite when there is none. Nobody else may tell the lane once it has read these tasks.
 */
export function beforeForeign({ tasks, tag, seenThrough, cut }: StandingView): number {
  const first = readMarks(tasks, tag)[0]?.task.uid ?? Number.POSITIVE_INFINITY
  const own = new Set(readMarks(tasks, tag).map(({ task }) => task.uid))
  const foreign = readMarks(tasks).filter(({ task }) => task.uid > Math.max(first, seenThrough) && !own.has(task.uid))
  const oldest = Math.min(...foreign.map(({ from }) => from)) - 1
  // Where it puts documents was found out in another life.
  return cut.view?.exactTies && foreign.length > 0 ? 0 : Math.max(0, oldest)
}

/** Settings that failed may hold after all once a request for settings came late: nothing that is sent again takes them away. */
export async function mayHoldRefused({ journal, index, applied }: StandingView): Promise<boolean> {
  for (let after = 0; after < applied; ) {
    const page = await journal.read(index, after, readChangesMax, readBytesMax)
    if (page.length === 0) return false
    if (page.some(({ change }) => change.operation.kind === 'settings' && change.status === 'failed')) return true
    after = page.at(-1)!.change.position
  }
  return false
}

/** Those of `positions`, which are applied, that have nothing for the replica. */
export async function idleOf(
  { journal, index, cut }: Pick<StandingView, 'journal' | 'index' | 'cut'>,
  positions: readonly number[],
): Promise<ReadonlySet<number>> {
  const idle = new Set<number>()
  for (const position of positions) {
    const [item] = await journal.read(index, position - 1, 1, readBytesMax)
    if (item?.change.position === position && planDelivery(item, cut).kind === 'skip') idle.add(position)
  }
  return idle
}

/**
 * Before the first change that was applied once and that a repeat left failed on the node when its worker ended; `applied`
 * when there is none.
 */
export async function firstDoubtful({ journal, index, tag, applied, tasks, cut }: StandingView): Promise<number> {
  for (const position of suspects(tasks, applied, tag)) {
    const [item] = await journal.read(index, position - 1, 1, readBytesMax)
    // A bundle stands for changes, too, that have nothing for the replica.
    if (item?.change.status === 'succeeded' && planDelivery(item, cut).kind !== 'skip') return position - 1
  }
  return applied
}
