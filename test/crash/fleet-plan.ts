/**
 * What happens to a fleet, drawn from a seed: processes are killed and started again, or stopped for seconds as if their
 * machine hung, and one node loses its disk.
 *
 * A replica group has one node in trouble at most, from the fault until it has caught up: of each shard every group then has
 * a copy that can answer. Of gateways and of workers one at least is well.
 */
import type { Random } from '../../src/lib/random.ts'
import type { Fleet, FleetNode } from './fleet.ts'
import type { FleetProcess } from './fleet-process.ts'
import { appliedBy, Course, pause } from './fleet-traffic.ts'

const pausedMsMin = 1_000
const pausedMsMax = 8_000
const downMsMax = 3_000
const betweenMsMax = 2_500
const pollMs = 500
/** Writes go on meanwhile, with up to 60 of them open, and some more between two looks of who writes. */
const lagMax = 100

export class FaultPlan {
  /** What was done when, for a failure's report. */
  readonly told: string[] = []
  readonly #fleet: Fleet
  readonly #indexes: readonly string[]
  readonly #random: Random
  readonly #startedAt = performance.now()
  #isWiped = false

  constructor(fleet: Fleet, indexes: readonly string[], random: Random) {
    this.#fleet = fleet
    this.#indexes = indexes
    this.#random = random
  }

  /** Resolves when `signal` was aborted and everything runs again. */
  async run(signal: AbortSignal): Promise<void> {
    const { nodes } = this.#fleet
    const groups = [...new Set(nodes.map(({ group }) => group))].map((group) =>
      nodes.filter((node) => node.group === group),
    )
    await Promise.all([
      ...groups.map((members) => this.#troubleNodes(members, signal)),
      this.#trouble(
        this.#fleet.gateways.map(({ process }) => process),
        signal,
      ),
      this.#trouble(this.#fleet.workers, signal),
    ])
  }

  async #troubleNodes(nodes: readonly FleetNode[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(this.#random.integer(betweenMsMax))
      const node = this.#pick(nodes)
      const wipes = !this.#isWiped && this.#random.integer(3) === 0
      if (wipes) this.#isWiped = true
      await this.#strike(node.process, wipes ? () => this.#fleet.wipe(node) : undefined)
      await this.#caughtUp(node)
    }
  }

  async #trouble(processes: readonly FleetProcess[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(this.#random.integer(2 * betweenMsMax))
      await this.#strike(this.#pick(processes))
    }
  }

  /** @param whileDown  makes it a kill. */
  async #strike(process: FleetProcess, whileDown?: () => Promise<void>): Promise<void> {
    if (whileDown === undefined && this.#random.integer(2) === 0) {
      const pausedMs = pausedMsMin + this.#random.integer(pausedMsMax - pausedMsMin)
      this.#tell(`${process.name} stands still for ${pausedMs} ms`)
      process.pause()
      await pause(pausedMs)
      process.resume()
      return
    }
    this.#tell(`${process.name} is killed${whileDown === undefined ? '' : ' and loses its disk'}`)
    await process.kill()
    await whileDown?.()
    await pause(this.#random.integer(downMsMax))
    await process.start()
    this.#tell(`${process.name} is back`)
  }

  async #caughtUp(node: FleetNode): Promise<void> {
    const course = new Course()
    for (;;) {
      await pause(pollMs)
      const views = await Promise.all(this.#indexes.map((index) => this.#fleet.show(index)))
      const own = views.flatMap(({ replicas }) => replicas).filter((replica) => replica.node === node.id)
      const isSilent = await this.#fleet.isSilent(node)
      if (!isSilent && own.every(({ state, lag }) => state === 'active' && lag < lagMax)) return
      course.note(appliedBy(own), () => `${node.id} does not catch up: ${JSON.stringify(own)}`)
    }
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.integer(list.length)]!
  }

  #tell(what: string): void {
    this.told.push(`${Math.round(performance.now() - this.#startedAt)} ms: ${what}`)
  }
}
