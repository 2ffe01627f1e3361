/** The lanes of one session with a node: those that are behind run, and tasks that nobody knows are told to theirs. */
import type { EngineTask } from '../engine/engine.ts'
import type { LaneState } from '../journal/ports.ts'
import { withDeadline } from './deadline.ts'
import { taskTypeOf } from './delivery.ts'
import { IndexOnNode } from './index-on-node.ts'
import { Lane } from './lane.ts'
import { askDeadlineMs, LeaseLost, type NodeSession } from './node-session.ts'

/** Longest wait for a notification of new work; a lost one costs that. */
const workPollMs = 1_000
const lanesPerLook = 256
/** How often the settings of every spread index are looked at on its nodes, and how many in one go. */
const auditMsDefault = 60_000
const auditsPerLook = 10
const auditPauseMs = 1_000
const dropPauseMs = 5_000
const dropsPerLook = 100
/** Newest tasks read at the start of a session. */
const earlierPage = 200
const earlierPagesMax = 20
/** How often the node must not show a task to be believed that it was deleted, and the pause between. */
const meetAnswers = 3
const unshownPauseMs = 250
/** Idle lanes kept for their memory of where they are. */
const idleLanesMax = 2_000

const makesIndex: ReadonlySet<string> = new Set([taskTypeOf.put, taskTypeOf.settings, taskTypeOf['create-index']])

interface Running {
  readonly lane: Lane
  readonly ended: Promise<void>
}

/** Methods that loop run until the session ends, and throw `LeaseLost` when the node is somebody else's. */
export class NodeLanes {
  readonly #session: NodeSession
  /** By physical name. */
  readonly #lanes = new Map<string, Running>()

  constructor(session: NodeSession) {
    this.#session = session
  }

  /** The running lane of an index. */
  on(physicalUid: string): Lane | undefined {
    return this.#lanes.get(physicalUid)?.lane
  }

  /** Every lane has ended. */
  async ended(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map(({ ended }) => ended))
  }

  /** Deletes what is left of indexes that were deleted while the node was away, or far behind. */
  async dropGone(): Promise<void> {
    const { journal, clock } = this.#session.deps
    while (!this.#session.signal.aborted) {
      for (const uid of await journal.dueDrops(this.#session.lease.node.id, dropsPerLook)) {
        // A lane that is still on its way there goes first.
        const lane = this.on(uid)
        if (lane !== undefined) {
          lane.retire()
          continue
        }
        await new IndexOnNode(this.#session, uid, '').drop()
        if (!(await journal.noteDropped(this.#session.lease, uid))) throw new LeaseLost()
      }
      await clock.sleep(dropPauseMs, this.#session.signal).catch(() => {})
    }
  }

  /** Goes round the node's spread indexes, so that each is audited in every interval as far as the pace allows. */
  async auditAll(): Promise<void> {
    const { journal, clock, auditMs = auditMsDefault } = this.#session.deps
    let after = ''
    while (!this.#session.signal.aborted) {
      const found = await journal.lanesToAudit(this.#session.lease.node.id, after, auditsPerLook)
      for (const { lane, print } of found) {
        if (lane.placement.applied === lane.head) this.#ensure(lane).audit(print)
      }
      const isRound = found.length < auditsPerLook
      after = isRound ? '' : (found.at(-1)?.lane.placement.physicalUid ?? '')
      await clock.sleep(isRound ? auditMs : auditPauseMs, this.#session.signal).catch(() => {})
    }
  }

  /** Finds lanes that are behind and runs them. */
  async look(): Promise<void> {
    const { journal, metrics } = this.#session.deps
    const node = this.#session.lease.node.id
    while (!this.#session.signal.aborted) {
      for (const state of await journal.lanesBehind(node, lanesPerLook)) {
        if (this.#session.signal.aborted) return
        this.#ensure(state).raiseHead(state.head)
      }
      this.#sweep()
      metrics.window(node, this.#session.window.openBytes, this.#session.window.windowBytes)
      await journal.waitForWork(node, workPollMs, this.#session.signal)
    }
  }

  /** The running lane of a placement, started if it is not. */
  #ensure(state: LaneState): Lane {
    const key = state.placement.physicalUid
    const running = this.#lanes.get(key)
    if (running !== undefined) {
      const isLeaving = state.placement.state === 'leaving'
      if (running.lane.revision !== state.placement.revision || running.lane.isLeaving !== isLeaving)
        running.lane.giveUp()
      return running.lane
    }
    const lane = new Lane(this.#session, state)
    this.#lanes.set(key, { lane, ended: lane.run().finally(() => this.#lanes.delete(key)) })
    return lane
  }

  #sweep(): void {
    if (this.#lanes.size <= idleLanesMax) return
    for (const [, running] of this.#lanes) {
      if (this.#lanes.size <= idleLanesMax) return
      if (running.lane.isIdle) running.lane.retire()
    }
  }

  /**
   * Tasks that no request was answered with: the lane whose index they are of must look where it stands. One that the node does
   * not show is asked for again before it is taken for deleted.
   */
  async meet(numbers: readonly number[]): Promise<void> {
    const { engine, signal, deps } = this.#session
    let left = numbers
    for (let answers = 0; left.length > 0 && answers < meetAnswers && !signal.aborted; ) {
      const asked = left
      const reply = await withDeadline(deps.clock, askDeadlineMs, signal, (limit) => engine.tasks(asked, limit))
      const isAnswered = reply.kind === 'answered'
      if (isAnswered) {
        answers += 1
        await this.#tell(reply.value)
        const shown = new Set(reply.value.map(({ uid }) => uid))
        left = asked.filter((number) => !shown.has(number))
      }
      if (left.length > 0) await deps.clock.sleep(isAnswered ? unshownPauseMs : 1_000, signal).catch(() => {})
    }
  }

  /**
   * Tasks behind the newest proof that were there before the session: in flight when the last one ended, or come late since.
   * Lanes that are behind find theirs by themselves; others would never look.
   */
  async meetEarlier(met: number): Promise<void> {
    const { engine, signal, deps } = this.#session
    let from: number | undefined
    for (let page = 0; page < earlierPagesMax; page += 1) {
      const reply = await withDeadline(deps.clock, askDeadlineMs, signal, (limit) =>
        engine.newestTasks(undefined, earlierPage, from, limit),
      )
      if (reply.kind !== 'answered') throw new Error('the newest tasks of the node cannot be read')
      const newer = reply.value.filter(({ uid }) => uid > met)
      await this.#tell(newer)
      if (newer.length < earlierPage) return
      from = newer.at(-1)!.uid - 1
    }
  }

  async #tell(tasks: readonly EngineTask[]): Promise<void> {
    for (const task of tasks) {
      const uid = task.indexUid
      if (uid === null) continue
      let lane = this.on(uid)
      if (lane === undefined) {
        const { deps, lease, signal } = this.#session
        const state = await deps.journal.laneOn(lease.node.id, uid)
        if (signal.aborted) continue
        if (state === undefined) {
          // A task of an index that is not ours, or not any more: then what it made goes again.
          if (makesIndex.has(task.type) && !(await deps.journal.noteLeftover(lease, uid))) throw new LeaseLost()
          continue
        }
        lane = this.#ensure(state)
      }
      lane.noteStranger(task)
    }
  }
}
