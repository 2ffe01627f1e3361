/**
 * What is done to machines, one act at a time for each: restart and replace. An act outlives the look that began it; what
 * came of it is written under the lease that is held then. After a crash the next keeper goes on with a replacement that
 * was begun, since the generation that it makes stands in the record.
 */
import type { Clock } from '../../lib/clock.ts'
import type { NodeId } from '../../store/catalogue.ts'
import type { Machine } from '../../store/fleet.ts'
import { DriverFailed, DriverUnsupported, type MachineSpec, type NodeDriver } from '../drivers/node-driver.ts'

export type ActKind = 'restart' | 'replace'

export interface ActOutcome {
  readonly node: NodeId
  readonly kind: ActKind
  /** Why it did not work; null = it did. */
  readonly failure: string | null
}

const actMsMax = 300_000

export class MachineActs {
  /** Until what came of them was taken, so that nothing else is decided in between. */
  readonly #running = new Map<NodeId, ActKind>()
  readonly #ended: ActOutcome[] = []
  readonly #work = new Set<Promise<void>>()
  readonly #signal: AbortSignal
  readonly #clock: Clock

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock
    this.#signal = signal
  }

  running(node: NodeId): ActKind | null {
    return this.#running.get(node) ?? null
  }

  begin(kind: ActKind, { node }: Machine, driver: NodeDriver, spec: MachineSpec): void {
    this.#running.set(node, kind)
    const limit = new AbortController()
    const timer = this.#clock.sleep(actMsMax, limit.signal).then(
      () => limit.abort(new DriverFailed(`it took more than ${actMsMax / 1000} s`)),
      () => undefined,
    )
    const signal = AbortSignal.any([this.#signal, limit.signal])
    const act = kind === 'restart' ? driver.restart(node, signal) : driver.replace(spec, signal)
    const work = act
      .then(
        () => null,
        (error: unknown) => describeFailure(error),
      )
      .then((failure) => {
        this.#ended.push({ node, kind, failure })
        this.#work.delete(work)
        limit.abort(new Error('done'))
        return timer
      })
    this.#work.add(work)
  }

  /** Those that ended since the last call. */
  takeEnded(): readonly ActOutcome[] {
    const ended = this.#ended.splice(0)
    for (const { node } of ended) this.#running.delete(node)
    return ended
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#work)
  }
}

export function describeFailure(error: unknown): string {
  if (error instanceof DriverFailed || error instanceof DriverUnsupported) return error.message
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
