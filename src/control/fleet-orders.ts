/** What operators see and ask of the fleet, over HTTP and on the command line: reads, and edits of rows that its keeper looks at. */
import { ApiError } from '../api/errors.ts'
import type { FleetConfig } from '../config/fleet-fields.ts'
import type { ReplicaJournal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import { nextNodeId } from '../orchestrator/fleet/node-ids.ts'
import { usageOf } from '../orchestrator/scaling/scaling.ts'
import type { EngineKind, NodeId } from '../store/catalogue.ts'
import {
  type Fleet,
  type Machine,
  type MachineWish,
  type NodeEvent,
  type NodeSample,
  requestedMachine,
} from '../store/fleet.ts'
import type { Catalogue } from '../store/ports.ts'

export interface FleetOrdersDeps {
  readonly fleet: Fleet
  readonly catalogue: Pick<Catalogue, 'nodes'>
  readonly replicas: Pick<ReplicaJournal, 'loads'>
  readonly config: FleetConfig
  /** What new machines run. */
  readonly engine: EngineKind
  readonly clock: Pick<Clock, 'now'>
}

export type FleetStatus = Awaited<ReturnType<FleetOrders['status']>>

/** Each throws ApiError `miroir_not_found`, `miroir_conflict`, and `StoreUnavailable`. */
export interface FleetOrders {
  status(): Promise<{
    /** `off`: nobody keeps the fleet. */
    readonly mode: string
    readonly keeper: string | null
    readonly halted: string | null
    readonly scaledAt: string | null
    readonly nodes: readonly NodeStatus[]
    /** Newest first. */
    readonly proposals: readonly EventView[]
  }>
  /** Newest first. */
  events(node: NodeId | null, limit: number): Promise<readonly EventView[]>
  /** Of the last 7 days at most, oldest first. */
  samples(node: NodeId, since: number): Promise<readonly NonNullable<SampleView>[]>
  /** Answers the machine as it was before. */
  wish(node: NodeId, wish: MachineWish): Promise<Machine>
  /** Asks for one more machine; answers its node's id. */
  add(group: number): Promise<NodeId>
  /** Answers what the brake was on for; null = it was not. */
  release(): Promise<string | null>
}

type NodeStatus = MachineView & {
  readonly replicas: number
  readonly load: SampleView
  /** Share of the limit that it is nearest to, 1 = at it; null = nothing is limited, or known. */
  readonly usage: { readonly ratio: number; readonly what: string } | null
}

type MachineView = ReturnType<typeof machineView>
type SampleView = ReturnType<typeof sampleView>
export type EventView = JsonObject & { readonly node: string | null; readonly at: string } & Pick<
    NodeEvent,
    'kind' | 'text'
  >

const eventsSearched = 200

export function createFleetOrders({ fleet, catalogue, replicas, config, engine, clock }: FleetOrdersDeps): FleetOrders {
  async function requireKeeper(): Promise<void> {
    if ((await fleet.keeper())?.isLeading === true) return
    throw conflict(
      'Nobody keeps the fleet: set `fleet.mode` to `watch` or `act` in the configuration of a worker (FLAPJACK_FLEET_MODE), and start it again.',
    )
  }
  async function find(node: NodeId): Promise<Machine | undefined> {
    const machine = (await fleet.machines()).find((one) => one.node === node)
    if (machine === undefined && !(await catalogue.nodes()).some(({ id }) => id === node)) {
      throw new ApiError('miroir_not_found', `There is no node \`${node}\`; \`flapjack node list\` shows all.`)
    }
    return machine
  }
  return {
    async status() {
      const [keeper, machines, latest, loads, events] = await Promise.all([
        fleet.keeper(),
        fleet.machines(),
        fleet.latest(),
        replicas.loads(),
        fleet.events(null, eventsSearched),
      ])
      const isKept = keeper?.isLeading === true
      return {
        mode: isKept ? keeper.mode : 'off',
        keeper: isKept ? keeper.worker : null,
        halted: keeper?.halted ?? null,
        scaledAt: keeper?.scaledAt == null ? null : new Date(keeper.scaledAt).toISOString(),
        nodes: machines
          .filter(({ life }) => life !== 'released')
          .map((machine) => {
            const sample = latest.get(machine.node)
            return {
              ...machineView(machine),
              replicas: loads.get(machine.node) ?? 0,
              load: sampleView(sample),
              usage: (sample && usageOf(sample, config.scaling)) ?? null,
            }
          }),
        proposals: events.filter(({ kind }) => kind === 'proposal').map(eventView),
      }
    },
    async events(node, limit) {
      const events = await fleet.events(node, limit)
      if (node !== null && events.length === 0) await find(node)
      return events.map(eventView)
    },
    async samples(node, since) {
      const samples = await fleet.samples(node, since)
      if (samples.length === 0) await find(node)
      return samples.flatMap((sample) => sampleView(sample) ?? [])
    },
    async wish(node, wish) {
      await requireKeeper()
      const before = await find(node)
      if (before === undefined || before.life === 'released') {
        throw conflict(`The machine of \`${node}\` is not known yet; \`flapjack fleet status\` shows those that are.`)
      }
      if (wish === 'drain' && before.driver === 'static') {
        throw conflict(
          `Somebody else runs \`${node}\`: empty it with \`flapjack node drain ${node}\`, and end it where it runs.`,
        )
      }
      const event = { node, at: clock.now(), kind: 'wish', text: `an operator wants: ${wish}` }
      await fleet.wish(node, wish, event)
      return before
    },
    async add(group) {
      const { driver, region } = config
      if (driver === null) {
        throw conflict(
          'No driver makes nodes: name one with `fleet.driver`, or add one that runs with `flapjack node add`.',
        )
      }
      await requireKeeper()
      const [machines, nodes] = await Promise.all([fleet.machines(), catalogue.nodes()])
      const taken = [...machines.map(({ node }) => node), ...nodes.map(({ id }) => id)]
      const now = clock.now()
      // Whoever asks may not know what the driver's machines run.
      const kind = machines.find((machine) => machine.driver === driver)?.engine ?? engine
      const place = { node: nextNodeId(driver, kind, taken), driver, engine: kind, region, group }
      const machine = requestedMachine(place, now)
      const event = { node: machine.node, at: now, kind: 'wish', text: 'an operator wants one node more' }
      if (await fleet.request(machine, event)) return machine.node
      throw conflict('Another node was asked for at the same time; try again.')
    },
    async release() {
      const halted = (await fleet.keeper())?.halted ?? null
      if (halted === null) return null
      await fleet.release({
        node: null,
        at: clock.now(),
        kind: 'wish',
        text: `an operator released the brake (${halted})`,
      })
      return halted
    },
  }
}

function conflict(message: string): ApiError {
  return new ApiError('miroir_conflict', message)
}

export function machineView({ node, driver, life, health, healthSince, record, ...rest }: Machine) {
  const { region, group, generation, wish } = rest
  return {
    ...{ id: node, driver, life, health, healthSince: timeText(healthSince), region, group, generation, wish },
    restarts: (record.restarts ?? []).map(timeText),
    failure: record.failure ?? null,
  }
}

export function sampleView(sample: NodeSample | undefined) {
  if (sample === undefined) return null
  const { node: _node, at, ...figures } = sample
  return { at: timeText(at), ...figures }
}

function eventView({ node, at, kind, text }: NodeEvent): EventView {
  return { node, at: timeText(at), kind, text }
}

const timeText = (at: number) => new Date(at).toISOString()
