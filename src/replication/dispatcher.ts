/**
 * One per node and lease: makes sure that the disk is ours, then runs the lanes of the node.
 *
 * Before: the worker holds the node's lease. During: lanes share the node's window, its task watch and the account of its
 * task numbers; the disk is checked again every ten seconds and after every silence. After: all lanes have ended and
 * nothing of this dispatcher is in flight.
 */
import type { Engine } from '../engine/engine.ts'
import { markerName } from '../engine/node-marker.ts'
import type { LaneProof, NodeLease } from '../journal/ports.ts'
import { assert } from '../lib/assert.ts'
import { backoffMs, manyWaiting, withDeadline } from './deadline.ts'
import type { ReplicationDeps } from './dependencies.ts'
import { findDisk, keylessMarker, newestNumber } from './node-identity.ts'
import { NodeLanes } from './node-lanes.ts'
import { NodePulse } from './node-pulse.ts'
import { askDeadlineMs, LeaseLost, type NodeSession } from './node-session.ts'
import { NumberLedger } from './number-ledger.ts'
import { SendWindow } from './send-window.ts'
import { TaskCleaning } from './task-cleaning.ts'
import { TaskWatch } from './task-watch.ts'
import { WriteProbe } from './write-probe.ts'

export const identityCheckMs = 10_000
const cleaningMs = 10_000
interface KnownDisk {
  readonly marker: string
  readonly newest: number
  readonly proof: LaneProof | null
  /** Tasks up to this number are accounted for. */
  readonly met: number
}

export class Dispatcher {
  readonly #deps: ReplicationDeps
  readonly #lease: NodeLease
  readonly #isHeld: () => boolean
  readonly #stop = manyWaiting()
  readonly #ended: Promise<void>
  #isLeaseLost = false
  /** As the store has it; `undefined` = as it was left by whoever held the lease before. */
  #isSilent: boolean | undefined

  /** @param isHeld  whether the lease lasts still. */
  constructor(deps: ReplicationDeps, lease: NodeLease, isHeld: () => boolean) {
    this.#deps = deps
    this.#lease = lease
    this.#isHeld = isHeld
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
      isHeld: this.#isHeld,
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

    const lanes = new NodeLanes(session)
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
          await lanes.meet(numbers)
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
    const cleaning = new TaskCleaning(session, (uid) => lanes.on(uid))
    this.#noteTrouble(null)
    const loops = [
      this.#untilOver(over, () => probe.run(session)),
      this.#untilOver(over, async () => {
        await clock.sleep(cleaningMs, over.signal)
        await cleaning.clean()
      }),
      this.#untilOver(over, () => watch.run(over.signal)),
      this.#untilOver(over, () => lanes.auditAll()),
      this.#untilOver(over, () => lanes.dropGone()),
      this.#untilOver(over, checkAgain),
      this.#untilOver(over, async () => {
        if (!isEarlierMet) await lanes.meetEarlier(disk.met)
        isEarlierMet = true
        await lanes.look()
      }),
    ]
    await Promise.all(loops)
    stop()
    await lanes.ended()
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
}
