/** The fleet's records in memory: the twin of `openFleet`. */
import type { NodeId } from './catalogue.ts'
import {
  type Fleet,
  type FleetNote,
  type Holdings,
  type KeeperStanding,
  type LaneSight,
  type Machine,
  type NodeEvent,
  type NodeSample,
  sampleKeepMs,
  samplesMax,
} from './fleet.ts'

export interface MemoryFleetDeps {
  readonly clock: { now(): number }
  readonly lanes: () => ReadonlyMap<NodeId, LaneSight>
  readonly holdings: (node: NodeId) => Holdings
}

export function openMemoryFleet({ clock, lanes, holdings }: MemoryFleetDeps): Fleet {
  const machines = new Map<NodeId, Machine>()
  const events: NodeEvent[] = []
  let samples: NodeSample[] = []
  let keeper: (Omit<KeeperStanding, 'isLeading'> & { readonly until: number }) | undefined
  const write = ({ machines: changed = [], events: happened = [], samples: seen = [], granted = [] }: FleetNote) => {
    for (const machine of changed) {
      machines.set(machine.node, { ...machine, wish: machines.get(machine.node)?.wish ?? null })
    }
    for (const { node, wish } of granted) {
      const machine = machines.get(node)
      if (machine?.wish === wish) machines.set(node, { ...machine, wish: null })
    }
    samples.push(...seen)
    events.push(...happened)
  }
  return {
    async lead(worker, mode, leaseMs) {
      const now = clock.now()
      const isOurs = keeper?.worker === worker && keeper.until > now
      if (keeper !== undefined && !isOurs && keeper.until > now) return undefined
      const epoch = (keeper?.epoch ?? 0) + (isOurs ? 0 : 1)
      keeper = { halted: null, scaledAt: null, ...keeper, worker, until: now + leaseMs, epoch, mode }
      return epoch
    },
    async resign(worker) {
      if (keeper?.worker === worker) keeper = { ...keeper, until: 0 }
    },
    async keeper() {
      if (keeper === undefined) return undefined
      const { until, ...rest } = keeper
      return { ...rest, isLeading: until > clock.now() }
    },
    async note(epoch, note) {
      if (keeper === undefined || keeper.epoch !== epoch || keeper.until <= clock.now()) return false
      if (note.halted !== undefined) keeper = { ...keeper, halted: note.halted }
      if (note.scaledAt !== undefined) keeper = { ...keeper, scaledAt: note.scaledAt }
      write(note)
      return true
    },
    machines: async () => [...machines.values()].sort((a, b) => (a.node < b.node ? -1 : 1)),
    async wish(node, wish, event) {
      const machine = machines.get(node)
      if (machine === undefined) return false
      machines.set(node, { ...machine, wish })
      events.push(event)
      return true
    },
    async request(machine, event) {
      if (machines.has(machine.node)) return false
      write({ machines: [machine], events: [event] })
      return true
    },
    async release(event) {
      if (keeper !== undefined) keeper = { ...keeper, halted: null }
      events.push(event)
    },
    lanes: async () => lanes(),
    holdings: async (node) => holdings(node),
    events: async (node, limit) =>
      events
        .filter((event) => node === null || event.node === node)
        .reverse()
        .slice(0, limit),
    async samples(node, since) {
      const found = samples.filter((sample) => sample.at >= since && (node === null || sample.node === node))
      return found.slice(-samplesMax)
    },
    latest: async () => new Map(samples.map((sample) => [sample.node, sample])),
    async prune() {
      samples = samples.filter(({ at }) => at >= clock.now() - sampleKeepMs)
    },
  }
}
