/**
 * One per node and lease: makes sure that the disk is ours, then runs the lanes of the node.
 *
 * Before: the worker holds the node's lease. During: lanes share the node's window, its task watch and the account of its
 * task numbers; the disk is checked again every ten seconds and after every silence. After: all lanes have ended and
 * nothing of this dispatcher is in flight.
 */
import type { Engine, EngineTask } from '../engine/engine.ts'
import { markerName } from '../engine/node-marker.ts'
import type { LaneProof, LaneState, NodeLease } from '../journal/ports.ts'
import { assert } from '../lib/assert.ts'
import { backoffMs, manyWaiting, withDeadline } from './deadline.ts'
import type { ReplicationDeps } from './dependencies.ts'
import { IndexOnNode } from './index-on-node.ts'
import { Lane } from './lane.ts'
import { findDisk, keylessMarker, newestNumber } from './node-identity.ts'
import { NodePulse } from './node-pulse.ts'
import { askDeadlineMs, LeaseLost, type NodeSession } from './node-session.ts'
import { NumberLedger } from './number-ledger.ts'
import { SendWindow } from './send-window.ts'
import { TaskCleaning } from './task-cleaning.ts'
import { TaskWatch } from './task-watch.ts'
import { WriteProbe } from './write-probe.ts'

export const identityCheckMs = 10_000
const cleaningMs = 10_000
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
/** Idle lanes kept for their memory of where they are. */
const idleLanesMax = 2_000

interface KnownDisk {
  readonly marker: string
  readonly newest: number
  readonly proof: LaneProof | null
  /** Tasks up to this number are accounted for. */
  readonly met: number
}

interface Running {
  readonly lane: Lane
  readonly ended: Promise<void>
}

export class Dispatcher {
  readonly #deps: ReplicationDeps
  readonly #lease: NodeLease
  readonly #stop = manyWaiting()
  readonly #ended: Promise<void>
  #isLeaseLost = false
  /** As the store has it; `undefined` = as it was left by whoever held the lease before. */
  #isSilent: boolean | undefined

  constructor(deps: ReplicationDeps, lease: NodeLease) {
    this.#deps = deps
    this.#lease = lease
    this.#ended = this.#run()
  }

  get lease(): NodeLease {
    return this.#lease
  }

  /** The store gave the node to another worker. */
  get isLeaseLost(): boolean {
    return this.#isLeaseLost
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the dispatcher stops'))
    await this.#ended
  }

  async #run(): Promise<void> {
    const { engineOf, clock } = this.#deps
    const engine = engineOf(this.#lease.node)
    const pulse = new NodePulse(engine, clock)
    const listening = this.#listen(pulse)
    await this.#serve(engine, pulse)
    this.#stop.abort(new Error('the dispatcher ends'))
    await listening
  }

  /** Tells when the node falls silent; that it is back is told by who knows its disk. */
  async #listen(pulse: NodePulse): Promise<void> {
    const { journal, clock, random, log } = this.#deps
    for (let failures = 1; !this.#stop.signal.aborted; failures += 1) {
      try {
        await pulse.run(this.#stop.signal, async () => {
          if (!pulse.isSilent || this.#isSilent === true) return
          log.warn({ node: this.#lease.node.id }, 'the node is silent; its replicas hold nobody up')
          // Told or not, if the answer is lost: the node is called well again in either case.
          this.#isSilent = undefined
          if (await journal.noteSilence(this.#lease, true)) this.#isSilent = true
        })
      } catch (error) {
        if (this.#stop.signal.aborted) return
        log.warn({ node: this.#lease.node.id, error: String(error) }, 'the silence of the node was not told')
        await clock.sleep(backoffMs(failures, random), this.#stop.signal).catch(() => {})
      }
    }
  }

  async #serve(engine: Engine, pulse: NodePulse): Promise<void> {
    const { clock, random, log } = this.#deps
    let failures = 0
    while (!this.#stop.signal.aborted) {
      try {
        const disk = await this.#knowDisk(engine)
        if (disk.kind === 'known') {
          failures = 0
          await this.#deps.credentials?.settle(this.#lease.node, this.#stop.signal)
          await this.#work(engine, disk, pulse)
        } else {
          failures += 1
          log.warn({ node: this.#lease.node.id, reason: disk.reason }, 'the node does not answer')
        }
      } catch (error) {
        if (this.#stop.signal.aborted) return
        if (error instanceof LeaseLost) this.#isLeaseLost = true
        failures += 1
        log.warn({ node: this.#lease.node.id, error: String(error) }, 'the dispatcher tries again')
      }
      if (this.#isLeaseLost) return
      if (failures > 0) await clock.sleep(backoffMs(failures, random), this.#stop.signal).catch(() => {})
    }
  }

  // ---- The disk ----

  /** Finds the node's disk to be ours, or makes it ours: then every lane of the node starts from the journal's beginning. */
  async #knowDisk(
    engine: Engine,
  ): Promise<({ readonly kind: 'known' } & KnownDisk) | { readonly kind: 'silent'; readonly reason: string }> {
    const { journal, clock, random, log, metrics } = this.#deps
    const ask = <T>(call: (signal: AbortSignal) => Promise<T>) =>
      withDeadline(clock, askDeadlineMs, this.#stop.signal, call)
    const identity = await journal.identity(this.#lease)
    if (identity === false) throw new LeaseLost()
    const disk = await findDisk(engine, ask, identity, -1)
    if (disk.kind === 'silent') return disk
    if (disk.kind === 'ours') {
      const { marker, proof } = identity
      assert(marker !== null, 'a disk that is ours has a marker')
      return { kind: 'known', marker, newest: disk.newest, proof, met: proof?.task ?? -1 }
    }
    const node = this.#lease.node.id
    if (disk.reason === 'new') log.info({ node }, 'the node is taken into use')
    else
      log.error(
        { node, reason: disk.reason },
        'the disk of the node is not the one we wrote to; its indexes are rebuilt',
      )
    const current = await ask((signal) => engine.readMarker(signal))
    const isKeyless = current.kind === 'refused'
    const marker = isKeyless ? `${keylessMarker} ${random.uuid()}` : random.uuid()
    // The store first: a crash between the two finds a stranger again and starts over.
    if (!(await journal.adopt(this.#lease, marker))) throw new LeaseLost()
    metrics.adopted(node)
    if (!isKeyless) {
      const written = await ask((signal) => engine.writeMarker(markerName(node), marker, signal))
      if (written.kind === 'refused') return { kind: 'silent', reason: written.error.message }
      if (written.kind !== 'answered') return { kind: 'silent', reason: written.reason }
    }
    const newest = await newestNumber(engine, ask)
    if (newest.kind !== 'answered') return { kind: 'silent', reason: newest.reason }
    return { kind: 'known', marker, newest: newest.value, proof: null, met: newest.value }
  }

  // ---- The work ----

  async #work(engine: Engine, disk: KnownDisk, pulse: NodePulse): Promise<void> {
    const { clock, log } = this.#deps
    const over = manyWaiting()
    const stop = () => over.abort(new Error('the session ends'))
    this.#stop.signal.addEventListener('abort', stop, { once: true })
    if (this.#stop.signal.aborted) stop()
    const indexes = await withDeadline(clock, askDeadlineMs, over.signal, (signal) => engine.indexes(signal))
    if (indexes.kind !== 'answered') throw new Error('the indexes of the node cannot be listed')

    const lanes = new Map<string, Running>()
    let proof = disk.proof
    let isSilent = false
    let mustCheck = false
    let isEarlierMet = false
    const strangers: number[] = []
    const ledger = new NumberLedger(disk.newest, (numbers) => strangers.push(...numbers))
    const watch = new TaskWatch({
      engine,
      clock,
      onAnswer: (isWell) => {
        if (isWell && isSilent) mustCheck = true
        isSilent = !isWell
      },
      onLost: () => {
        mustCheck = true
      },
    })
    const probe = new WriteProbe(clock, (trouble) => this.#noteTrouble(trouble))
    const session: NodeSession = {
      deps: this.#deps,
      lease: this.#lease,
      engine,
      marker: disk.marker,
      leftovers: new Set(indexes.value.map((index) => index.uid)),
      window: new SendWindow(clock, this.#lease.node.engine, over.signal),
      watch,
      ledger,
      probe,
      signal: over.signal,
      verify: async () => {
        const found = await check()
        if (found.kind !== 'ours') throw new Error(`the disk of the node: ${found.reason}`)
        await ledger.claimed(found.newest, over.signal)
        await meetStrangers()
      },
      end: (reason) => {
        if (reason === 'lease-lost') this.#isLeaseLost = true
        stop()
      },
      prove: (next) => {
        if (proof === null || next.task > proof.task) proof = next
      },
    }

    const check = async () => {
      mustCheck = false
      const ask = <T>(call: (signal: AbortSignal) => Promise<T>) =>
        withDeadline(clock, askDeadlineMs, over.signal, call)
      const identity = await this.#deps.journal.identity(this.#lease)
      if (identity === false) throw new LeaseLost()
      const found = await findDisk(engine, ask, { marker: identity.marker, proof }, ledger.highest)
      if (found.kind === 'stranger') stop()
      if (found.kind === 'silent') isSilent = true
      if (found.kind === 'ours') ledger.observe(found.newest)
      return found
    }
    let meeting: Promise<void> | undefined
    const meetStrangers = () => {
      meeting ??= (async () => {
        while (strangers.length > 0 && !over.signal.aborted) {
          // They stay until their lanes know of them.
          const numbers = [...strangers]
          await this.#meet(session, lanes, numbers)
          strangers.splice(0, numbers.length)
        }
      })().finally(() => {
        meeting = undefined
      })
      return meeting
    }
    const checkAgain = async () => {
      let checkedAt = clock.monotonic()
      while (!over.signal.aborted) {
        await clock.sleep(250, over.signal).catch(() => {})
        if (over.signal.aborted) return
        await meetStrangers()
        if (this.#isSilent !== false && pulse.isWell) mustCheck = true
        if (!mustCheck && clock.monotonic() - checkedAt < identityCheckMs) continue
        checkedAt = clock.monotonic()
        const found = await check()
        if (found.kind === 'ours' && this.#isSilent !== false && pulse.isWell) {
          if (!(await this.#deps.journal.noteSilence(this.#lease, false))) throw new LeaseLost()
          this.#isSilent = false
        }
      }
    }
    const cleaning = new TaskCleaning(session, (uid) => laneOn(lanes, uid))
    this.#noteTrouble(null)
    const loops = [
      this.#untilOver(over, () => probe.run(session)),
      this.#untilOver(over, async () => {
        await clock.sleep(cleaningMs, over.signal)
        await cleaning.clean()
      }),
      this.#untilOver(over, () => watch.run(over.signal)),
      this.#untilOver(over, () => this.#auditAll(session, lanes)),
      this.#untilOver(over, () => this.#dropGone(session, lanes)),
      this.#untilOver(over, checkAgain),
      this.#untilOver(over, async () => {
        if (!isEarlierMet) await this.#meetEarlier(session, lanes, disk.met)
        isEarlierMet = true
        await this.#look(session, lanes)
      }),
    ]
    await Promise.all(loops)
    stop()
    await Promise.all([...lanes.values()].map(({ ended }) => ended))
    this.#stop.signal.removeEventListener('abort', stop)
    log.debug({ node: this.#lease.node.id }, 'the session with the node ended')
  }

  /** Runs a loop until the session is over; what fails in it is tried again after a pause. */
  async #untilOver(over: AbortController, loop: () => Promise<void>): Promise<void> {
    const { clock, random, log } = this.#deps
    for (let failures = 1; !over.signal.aborted; failures += 1) {
      try {
        await loop()
      } catch (error) {
        if (over.signal.aborted) return
        if (error instanceof LeaseLost) {
          this.#isLeaseLost = true
          return over.abort(error)
        }
        log.warn({ node: this.#lease.node.id, error: String(error) }, 'a part of the dispatcher tries again')
        await clock.sleep(backoffMs(failures, random), over.signal).catch(() => {})
      }
    }
  }

  #noteTrouble(trouble: string | null): void {
    const { journal, log, metrics } = this.#deps
    const node = this.#lease.node.id
    metrics.refusing(node, trouble !== null)
    if (trouble !== null) log.error({ node, trouble }, 'the disk of the node takes no writes; its lanes pause')
    journal.noteTrouble(this.#lease, trouble).catch((error: unknown) => {
      log.warn({ node, error: String(error) }, 'operators are not shown how the node is')
    })
  }

  /** Deletes what is left of indexes that were deleted while the node was away, or far behind. */
  async #dropGone(session: NodeSession, lanes: Map<string, Running>): Promise<void> {
    const { journal, clock } = this.#deps
    while (!session.signal.aborted) {
      for (const uid of await journal.dueDrops(this.#lease.node.id, dropsPerLook)) {
        // A lane that is still on its way there goes first.
        const lane = laneOn(lanes, uid)
        if (lane !== undefined) {
          lane.retire()
          continue
        }
        await new IndexOnNode(session, uid, '').drop()
        if (!(await journal.noteDropped(this.#lease, uid))) throw new LeaseLost()
      }
      await clock.sleep(dropPauseMs, session.signal).catch(() => {})
    }
  }

  /** Goes round the node's spread indexes, so that each is audited in every interval as far as the pace allows. */
  async #auditAll(session: NodeSession, lanes: Map<string, Running>): Promise<void> {
    const { journal, clock, auditMs = auditMsDefault } = this.#deps
    let after = ''
    while (!session.signal.aborted) {
      const found = await journal.lanesToAudit(this.#lease.node.id, after, auditsPerLook)
      for (const { lane, print } of found) {
        if (lane.placement.applied === lane.head) this.#ensure(session, lanes, lane).audit(print)
      }
      const isRound = found.length < auditsPerLook
      after = isRound ? '' : (found.at(-1)?.lane.placement.physicalUid ?? '')
      await clock.sleep(isRound ? auditMs : auditPauseMs, session.signal).catch(() => {})
    }
  }

  /** Finds lanes that are behind and runs them. */
  async #look(session: NodeSession, lanes: Map<string, Running>): Promise<void> {
    const { journal, metrics } = this.#deps
    const node = this.#lease.node.id
    while (!session.signal.aborted) {
      for (const state of await journal.lanesBehind(node, lanesPerLook)) {
        if (session.signal.aborted) return
        this.#ensure(session, lanes, state).raiseHead(state.head)
      }
      this.#sweep(lanes)
      metrics.window(node, session.window.openBytes, session.window.windowBytes)
      await journal.waitForWork(node, workPollMs, session.signal)
    }
  }

  /** The running lane of a placement, started if it is not. */
  #ensure(session: NodeSession, lanes: Map<string, Running>, state: LaneState): Lane {
    const key = state.placement.physicalUid
    const running = lanes.get(key)
    if (running !== undefined) {
      const isLeaving = state.placement.state === 'leaving'
      if (running.lane.revision !== state.placement.revision || running.lane.isLeaving !== isLeaving)
        running.lane.giveUp()
      return running.lane
    }
    const lane = new Lane(session, state)
    lanes.set(key, { lane, ended: lane.run().finally(() => lanes.delete(key)) })
    return lane
  }

  #sweep(lanes: Map<string, Running>): void {
    if (lanes.size <= idleLanesMax) return
    for (const [, running] of lanes) {
      if (lanes.size <= idleLanesMax) return
      if (running.lane.isIdle) running.lane.retire()
    }
  }

  /** Tasks that no request was answered with: the lane whose index they are of must look where it stands. */
  async #meet(session: NodeSession, lanes: Map<string, Running>, numbers: readonly number[]): Promise<void> {
    const { engine, signal, deps } = session
    const reply = await withDeadline(deps.clock, askDeadlineMs, signal, (limit) => engine.tasks(numbers, limit))
    if (reply.kind !== 'answered') {
      await deps.clock.sleep(1_000, signal).catch(() => {})
      if (!signal.aborted) await this.#meet(session, lanes, numbers)
      return
    }
    await this.#tell(session, lanes, reply.value)
  }

  /**
   * Tasks behind the newest proof that were there before the session: in flight when the last one ended, or come late since.
   * Lanes that are behind find theirs by themselves; others would never look.
   */
  async #meetEarlier(session: NodeSession, lanes: Map<string, Running>, met: number): Promise<void> {
    const { engine, signal, deps } = session
    let from: number | undefined
    for (let page = 0; page < earlierPagesMax; page += 1) {
      const reply = await withDeadline(deps.clock, askDeadlineMs, signal, (limit) =>
        engine.newestTasks(undefined, earlierPage, from, limit),
      )
      if (reply.kind !== 'answered') throw new Error('the newest tasks of the node cannot be read')
      const newer = reply.value.filter(({ uid }) => uid > met)
      await this.#tell(session, lanes, newer)
      if (newer.length < earlierPage) return
      from = newer.at(-1)!.uid - 1
    }
  }

  async #tell(session: NodeSession, lanes: Map<string, Running>, tasks: readonly EngineTask[]): Promise<void> {
    for (const task of tasks) {
      const uid = task.indexUid
      if (uid === null) continue
      let lane = laneOn(lanes, uid)
      if (lane === undefined) {
        const state = await this.#deps.journal.laneOn(this.#lease.node.id, uid)
        // A task of an index that is not ours, or not any more.
        if (state === undefined || session.signal.aborted) continue
        lane = this.#ensure(session, lanes, state)
      }
      lane.noteStranger(task)
    }
  }
}

function laneOn(lanes: ReadonlyMap<string, Running>, physicalUid: string): Lane | undefined {
  for (const { lane } of lanes.values()) if (lane.physicalUid === physicalUid) return lane
  return undefined
}
