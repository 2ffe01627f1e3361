/** What one look of the keeper changes, gathered until it is written at once. */
import type { NodeId } from '../../store/catalogue.ts'
import {
  type FleetNote,
  type Machine,
  type MachineRecord,
  type MachineWish,
  type NodeEvent,
  type NodeSample,
  restartsKept,
} from '../../store/fleet.ts'
import type { MachineLife } from '../../topology/machine-life.ts'

export class FleetNotes {
  readonly #machines = new Map<NodeId, Machine>()
  readonly #changed = new Set<NodeId>()
  readonly #events: NodeEvent[] = []
  readonly #samples: NodeSample[] = []
  readonly #granted: { readonly node: NodeId; readonly wish: MachineWish }[] = []
  readonly now: number
  #halted: string | undefined
  #scaledAt: number | undefined

  constructor(machines: readonly Machine[], now: number) {
    for (const machine of machines) this.#machines.set(machine.node, machine)
    this.now = now
  }

  machines(): readonly Machine[] {
    return [...this.#machines.values()]
  }

  machine(node: NodeId): Machine | undefined {
    return this.#machines.get(node)
  }

  put(machine: Machine): void {
    this.#machines.set(machine.node, machine)
    this.#changed.add(machine.node)
  }

  /** Of a machine that is known. */
  change(node: NodeId, change: Partial<Omit<Machine, 'node' | 'record'>>, record: Partial<MachineRecord> = {}): void {
    const before = this.#machines.get(node)
    if (before !== undefined) this.put({ ...before, ...change, record: { ...before.record, ...record } })
  }

  live(node: NodeId, life: MachineLife, text: string): void {
    const before = this.#machines.get(node)
    if (before === undefined) return
    const { failure: _past, mustDrain: _told, ...record } = before.record
    const kept = life === 'active' || life === 'draining' ? record : withoutReplacement(record)
    this.put({ ...before, life, record: { ...kept, lifeSince: this.now, tries: 0 } })
    this.tell(node, 'life', `${before.life} → ${life}: ${text}`)
  }

  /** Its generation counts as made: a try may have made it, and the next replacement needs an empty disk. */
  giveUpReplacement(node: NodeId, reason: string): void {
    const before = this.#machines.get(node)
    if (before === undefined) return
    const { replacing = before.generation, failure: _past, ...record } = before.record
    const kept = withoutReplacement(record)
    this.put({ ...before, generation: replacing, record: { ...kept, tries: 0 } })
    this.tell(node, 'failure', `it is not replaced: ${reason}`)
  }

  tell(node: NodeId | null, kind: string, text: string): void {
    this.#events.push({ node, at: this.now, kind, text })
  }

  sample(sample: NodeSample): void {
    this.#samples.push(sample)
  }

  grant(node: NodeId, wish: MachineWish): void {
    this.#granted.push({ node, wish })
  }

  halt(reason: string): void {
    this.#halted = reason
  }

  scaled(): void {
    this.#scaledAt = this.now
  }

  get isEmpty(): boolean {
    return (
      this.#changed.size + this.#events.length + this.#samples.length + this.#granted.length === 0 &&
      this.#halted === undefined &&
      this.#scaledAt === undefined
    )
  }

  whole(): FleetNote {
    return {
      machines: this.machines().filter(({ node }) => this.#changed.has(node)),
      events: this.#events,
      samples: this.#samples,
      granted: this.#granted,
      ...(this.#halted === undefined ? {} : { halted: this.#halted }),
      ...(this.#scaledAt === undefined ? {} : { scaledAt: this.#scaledAt }),
    }
  }
}

function withoutReplacement(record: MachineRecord): MachineRecord {
  const { replacing: _generation, isReplacementWished: _wished, ...kept } = record
  return kept
}

export function withRestart(record: MachineRecord, now: number): MachineRecord {
  return { ...record, restarts: [...(record.restarts ?? []), now].slice(-restartsKept) }
}
