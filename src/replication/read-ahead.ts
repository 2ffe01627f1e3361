/** What a lane has read of its journal and not sent yet, in order. */
import type { LaneChange } from '../journal/ports.ts'
import type { Placement } from '../store/catalogue.ts'
import { LeaseLost, type NodeSession } from './node-session.ts'
import { readBytesMax, readChangesMax } from './standing.ts'

export class ReadAhead {
  readonly #session: NodeSession
  readonly #placement: Placement
  #changes: readonly LaneChange[] = []
  #version = 0

  constructor(session: NodeSession, placement: Placement) {
    this.#session = session
    this.#placement = placement
  }

  /** Another number whenever what was read may be outdated. */
  get version(): number {
    return this.#version
  }

  /** The first change behind `sent`, read if need be; `undefined` at the head. */
  async first(sent: number, head: () => number): Promise<LaneChange | undefined> {
    this.#changes = this.#changes.filter(({ change }) => change.position > sent)
    while (this.#changes.length === 0 && sent < head()) {
      const version = this.#version
      const { journal } = this.#session.deps
      const page = await journal.read(this.#placement.index, sent, readChangesMax, readBytesMax)
      if (this.#version !== version) continue
      this.#changes = page
      if (page.length === 0) break
    }
    return this.#changes[0]
  }

  /** What was read behind `sent`, in order. */
  get changes(): readonly LaneChange[] {
    return this.#changes
  }

  /** Marks what was read as sent, so that it cannot be cancelled any more. */
  async claim(): Promise<void> {
    const { deps, lease } = this.#session
    const positions = this.#changes
      .filter(({ change }) => change.status === 'enqueued')
      .map(({ change }) => change.position)
    const allowed = await deps.journal.markSent(lease, this.#placement.index, positions, deps.clock.now())
    if (allowed === false) throw new LeaseLost()
    const claimed = new Set(allowed)
    // Without the cancelled ones, what the others deliver may be another: read again.
    if (positions.some((position) => !claimed.has(position))) return this.forget()
    this.#changes = this.#changes.map((item) =>
      claimed.has(item.change.position) ? { ...item, change: { ...item.change, status: 'processing' } } : item,
    )
  }

  /** Reads the first one again: what others record of it may be there now. */
  async refresh(): Promise<void> {
    const [first] = this.#changes
    if (first === undefined) return
    const version = this.#version
    const { journal } = this.#session.deps
    const [fresh] = await journal.read(this.#placement.index, first.change.position - 1, 1, readBytesMax)
    if (this.#version !== version || fresh === undefined || this.#changes[0] !== first) return
    this.#changes = [fresh, ...this.#changes.slice(1)]
  }

  forget(): void {
    this.#changes = []
    this.#version += 1
  }
}
