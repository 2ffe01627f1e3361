/**
 * Nodes as servers of a cloud, whichever it is. Servers carry the fleet, the node and a generation as labels: what an
 * interrupted call left is found by them, and nothing else is ever touched.
 */
import type { NodeId } from '../../store/catalogue.ts'
import type { DriverKind } from '../../topology/machine-life.ts'
import { type CloudSoftware, cloudInit } from './cloud-init.ts'
import {
  DriverFailed,
  type DriverFinding,
  type MachineSpec,
  type MachineState,
  type MachineView,
  type NodeDriver,
  noFigures,
} from './node-driver.ts'

export interface CloudLabels {
  readonly fleet: string
  readonly node: NodeId
  readonly generation: number
}

export interface CloudServer extends CloudLabels {
  /** Of the provider. */
  readonly id: string
  readonly state: MachineState
  /** Private where there is one; null = none yet. */
  readonly address: string | null
}

export interface NewServer extends CloudLabels {
  /** Unique among the servers of the account. */
  readonly name: string
  readonly userData: string
  /** What no message may show. */
  readonly secrets: readonly string[]
}

/** What a provider's API offers. Calls throw `DriverFailed` with its own words. */
export interface CloudProvider {
  readonly kind: Extract<DriverKind, 'hetzner'>
  /** `taken` = there is one of that name. Tries other places where one has no room. */
  create(server: NewServer, signal: AbortSignal): Promise<'made' | 'taken'>
  /** Those of the fleet, or of one node of it. */
  list(fleet: string, node: NodeId | null, signal: AbortSignal): Promise<readonly CloudServer[]>
  start(id: string, signal: AbortSignal): Promise<void>
  stop(id: string, signal: AbortSignal): Promise<void>
  /** Hard: its engine may be stuck. */
  reset(id: string, signal: AbortSignal): Promise<void>
  /** One that is gone is fine. */
  destroy(id: string, signal: AbortSignal): Promise<void>
  check(signal: AbortSignal): Promise<readonly DriverFinding[]>
}

export interface CloudDriverDeps {
  readonly provider: CloudProvider
  readonly fleet: string
  readonly software: CloudSoftware
}

export function createCloudDriver({ provider, fleet, software }: CloudDriverDeps): NodeDriver {
  /** Oldest generation first. */
  const serversOf = async (node: NodeId | null, signal: AbortSignal) =>
    [...(await provider.list(fleet, node, signal))].sort((a, b) => a.generation - b.generation)

  async function newest(node: NodeId, signal: AbortSignal): Promise<CloudServer> {
    const found = (await serversOf(node, signal)).at(-1)
    if (found === undefined) throw new DriverFailed(`node \`${node}\` has no server`)
    return found
  }

  /** Names are unique at the provider, so that of two calls at once one makes it. */
  async function make(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    const { node, generation, key } = spec
    const known = await serversOf(node, signal)
    if (known.some((server) => server.generation >= generation)) return
    const name = `${fleet}-${node}-${generation}`
    const userData = cloudInit(spec, software)
    const outcome = await provider.create({ fleet, node, generation, name, userData, secrets: [key] }, signal)
    if (outcome === 'made' || (await serversOf(node, signal)).some((server) => server.generation === generation)) return
    throw new DriverFailed(
      `a server \`${name}\` is there that is none of this fleet; rename it, or choose another \`fleet.name\``,
    )
  }

  function view({ node, state, address }: CloudServer): MachineView {
    return { node, state, url: address === null ? null : `http://${hostOf(address)}:${software.port}`, reason: null }
  }

  return {
    kind: provider.kind,
    can: { create: true, restart: true, replace: true, destroy: true },
    create: make,
    start: async (node, signal) => provider.start((await newest(node, signal)).id, signal),
    stop: async (node, signal) => provider.stop((await newest(node, signal)).id, signal),
    async restart(node, signal) {
      const { id, state } = await newest(node, signal)
      await (state === 'stopped' ? provider.start(id, signal) : provider.reset(id, signal))
    },
    async replace(spec, signal) {
      await make(spec, signal)
      for (const { id, generation } of await serversOf(spec.node, signal)) {
        if (generation < spec.generation) await provider.destroy(id, signal)
      }
    },
    async destroy(node, signal) {
      for (const { id } of await serversOf(node, signal)) await provider.destroy(id, signal)
    },
    async describe(node, signal) {
      const found = (await serversOf(node, signal)).at(-1)
      return found === undefined ? { node, state: 'absent', url: null, reason: null } : view(found)
    },
    async list(signal) {
      const byNode = new Map((await serversOf(null, signal)).map((server) => [server.node, server]))
      return [...byNode.values()].map(view)
    },
    figures: async () => noFigures,
    check: (signal) => provider.check(signal),
  }
}

const hostOf = (address: string) => (address.includes(':') ? `[${address}]` : address)
