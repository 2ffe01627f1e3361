/**
 * Keeps the task list of a node short (NF-42): an engine stops taking writes when its task store is full, and at a million
 * tasks it deletes the oldest by itself, the marks of idle lanes among them.
 *
 * A lane learns where it stands from its newest marks alone. So of each index a beginning of its tasks goes, never one
 * behind another that stays, and never the newest mark that the store knows, nor anything behind it.
 */
import type { EngineTask } from '../engine/engine.ts'
import type { PlacementStanding } from '../journal/ports.ts'
import { scratchPrefix } from './edit-resolution.ts'
import { parseMark } from './mark.ts'
import { ask, type NodeSession, sendAndWait } from './node-session.ts'
import { probeUid } from './write-probe.ts'

/** Tasks of a node from which on finished ones are deleted, down to about a half. */
export const nodeTasksMax = 100_000
/** Tasks read and deleted at once: their numbers fit into the head of a request. */
const pageMax = 1_000

/** A lane that runs, as far as its tasks are concerned. */
export interface CleanedLane {
  /** What the node holds for certain; less than is applied while the lane repeats. */
  readonly settled: number
}

export class TaskCleaning {
  readonly #session: NodeSession
  readonly #laneOf: (physicalUid: string) => CleanedLane | undefined
  readonly #max: number
  /** Newest number when the list was last gone through. */
  #cleanedAt = Number.NEGATIVE_INFINITY

  constructor(session: NodeSession, laneOf: (physicalUid: string) => CleanedLane | undefined) {
    this.#session = session
    this.#laneOf = laneOf
    this.#max = session.deps.nodeTasksMax ?? nodeTasksMax
  }

  /** Costs nothing until the node has numbered many tasks more. @throws when the node does not answer. */
  async clean(): Promise<void> {
    const { engine, ledger, signal } = this.#session
    const { highest } = ledger
    if (highest < this.#max || highest - this.#cleanedAt < this.#max / 10) return
    const staying = new Set<string | null>()
    for (let from = 0; !signal.aborted; ) {
      const reply = await ask(this.#session, (limit) => engine.endedTasks(from, pageMax, limit))
      if (reply.kind !== 'answered') throw new Error('the finished tasks of the node cannot be read')
      const { tasks, total } = reply.value
      if (from === 0 && total < this.#max) break
      const through = Math.min(highest - Math.floor(this.#max / 2), this.#session.watch.lowest - 1)
      const old = tasks.filter(({ uid }) => uid <= through)
      await this.#delete(await this.#unneeded(old, staying))
      if (old.length < pageMax) break
      from = old.at(-1)!.uid + 1
    }
    this.#cleanedAt = highest
  }

  async #unneeded(old: readonly EngineTask[], staying: Set<string | null>): Promise<readonly number[]> {
    const { deps, lease } = this.#session
    const uids = [...new Set(old.flatMap(({ indexUid }) => indexUid ?? []))]
    if (uids.length === 0) return []
    const found = await deps.journal.standingsOn(lease.node.id, uids)
    const standings = new Map(found.map((standing) => [standing.physicalUid, standing]))
    return old.flatMap((task) => {
      const { uid, indexUid } = task
      const isNeeded =
        indexUid === null || staying.has(indexUid) || !mayGo(task, standings.get(indexUid), this.#laneOf(indexUid))
      if (isNeeded) staying.add(indexUid)
      return isNeeded ? [] : [uid]
    })
  }

  async #delete(numbers: readonly number[]): Promise<void> {
    if (numbers.length === 0) return
    const { engine, deps, lease } = this.#session
    const reply = await sendAndWait(this.#session, (limit) => engine.deleteTasks(numbers, limit))
    if (reply.kind !== 'answered' || reply.value.status !== 'succeeded')
      throw new Error('finished tasks of the node cannot be deleted')
    deps.log.debug({ node: lease.node.id, count: numbers.length }, 'finished tasks of the node were deleted')
  }
}

/** Of an index that is gone, or that never was one of ours, only what we marked. */
function mayGo(
  { uid, indexUid, customMetadata }: EngineTask,
  standing: PlacementStanding | undefined,
  lane: CleanedLane | undefined,
): boolean {
  if (indexUid === probeUid || indexUid?.startsWith(scratchPrefix)) return true
  const mark = parseMark(customMetadata)
  if (standing === undefined) return mark !== undefined
  const { applied, proof } = standing
  if (proof === null || uid >= proof || (lane !== undefined && lane.settled < applied)) return false
  return mark === undefined || mark.position <= applied
}
