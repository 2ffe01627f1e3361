/**
 * Brings machines from the wish for them to a node, and from a node that nobody needs to their end (P-37). Each step looks
 * at what is there before it does anything, so that it may run twice.
 */
import type { Engine } from '../../engine/engine.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Node, NodeId } from '../../store/catalogue.ts'
import type { Fleet, Machine } from '../../store/fleet.ts'
import type { Catalogue } from '../../store/ports.ts'
import { isComing, type LifeEvent, lifeAfter } from '../../topology/machine-life.ts'
import { DriverFailed, type MachineSpec, type NodeDriver } from '../drivers/node-driver.ts'
import { probeNode } from '../health/probe.ts'
import { selfTest } from '../health/self-test.ts'
import { checkEngineKey } from '../remote-node.ts'
import { type Drivers, type FleetRules, pauseBehind } from './fleet-rules.ts'
import { describeFailure } from './machine-acts.ts'
import type { FleetNotes } from './machine-note.ts'

export interface LifeDeps {
  readonly catalogue: Pick<Catalogue, 'nodes' | 'putNode' | 'setNodeState' | 'removeNode'>
  readonly fleet: Pick<Fleet, 'holdings'>
  readonly drivers: Drivers
  readonly rules: Pick<FleetRules, 'provisionMsMax' | 'probeTimeoutMs' | 'mode'>
  /** Of a machine that is no node yet; the same each time. */
  readonly keyOf: (node: NodeId) => string
  readonly openEngine: (place: { readonly url: string; readonly key: string }) => Engine & { close(): Promise<void> }
  readonly clock: Clock
  readonly signal: AbortSignal
}

export function specOf(machine: Machine, key: string): MachineSpec {
  const { node, engine, region, group, generation } = machine
  return { node, engine, region, group, key, generation }
}

/** One step of a machine that is coming or going. */
export async function stepLife(
  machine: Machine,
  node: Node | undefined,
  notes: FleetNotes,
  deps: LifeDeps,
): Promise<void> {
  const { tries = 0, triedAt = 0 } = machine.record
  if (tries > 0 && notes.now - triedAt < pauseBehind(tries)) return
  try {
    await step(machine, node, notes, deps)
  } catch (error) {
    if (deps.signal.aborted) return
    const failure = describeFailure(error)
    notes.change(machine.node, {}, { failure, tries: tries + 1, triedAt: notes.now })
    if (failure !== machine.record.failure) notes.tell(machine.node, 'failure', failure)
  }
}

async function step(machine: Machine, node: Node | undefined, notes: FleetNotes, deps: LifeDeps): Promise<void> {
  const { drivers, signal } = deps
  const { life } = machine
  const go = (event: LifeEvent, text: string) => {
    const next = lifeAfter(life, event)
    if (next !== undefined) notes.live(machine.node, next, text)
  }
  const driver = drivers.of(machine.driver)
  const isLate = notes.now - (machine.record.lifeSince ?? machine.createdAt) > deps.rules.provisionMsMax
  if (isComing(life) && isLate) return go('failed', machine.record.failure ?? 'it took too long')
  if (driver === undefined) {
    if (!isComing(life)) return
    throw new DriverFailed(
      `who keeps the fleet has no driver \`${machine.driver}\`; name it there with \`fleet.driver\``,
    )
  }
  switch (life) {
    case 'requested':
      await driver.create(specOf(machine, deps.keyOf(machine.node)), signal)
      return go('ordered', `the driver \`${driver.kind}\` makes a machine`)
    case 'provisioning': {
      const { state, url, reason } = await driver.describe(machine.node, signal)
      if (state === 'failed') return go('failed', reason ?? 'its machine failed')
      if (state === 'absent') await driver.create(specOf(machine, deps.keyOf(machine.node)), signal)
      if (url === null || state !== 'running') return
      const timeoutMs = deps.rules.probeTimeoutMs
      const { probe } = await probeNode(url, { clock: deps.clock, timeoutMs, signal })
      return probe === 'bad' ? undefined : go('answered', `its engine answers at ${url}`)
    }
    case 'bootstrapping':
      return admit(machine, driver, notes, deps)
    case 'active':
      return
    case 'draining':
      return empty(machine, node, notes, deps)
    case 'releasing':
      await driver.destroy(machine.node, signal)
      return go('destroyed', 'its machine is gone, with its disk')
    case 'failed':
      // Nobody is served by it, and somebody pays for it.
      return deps.rules.mode === 'act' ? go('drain', 'it is given back') : undefined
    case 'released':
      return
  }
}

/** A machine whose engine cannot do what a node must never becomes one. */
async function admit(machine: Machine, driver: NodeDriver, notes: FleetNotes, deps: LifeDeps): Promise<void> {
  const { url } = await driver.describe(machine.node, deps.signal)
  if (url === null) return
  const key = deps.keyOf(machine.node)
  const engine = deps.openEngine({ url, key })
  try {
    await checkEngineKey(url, key)
    const fault = await selfTest(engine, deps)
    if (fault !== undefined) return notes.live(machine.node, 'failed', `the self-test failed: ${fault}`)
  } finally {
    await engine.close()
  }
  const { engine: kind, region, group } = machine
  await deps.catalogue.putNode({ id: machine.node, engine: kind, url, region, group, key, takesExisting: true })
  notes.live(machine.node, 'active', `it is a node of replica group ${group}`)
}

async function empty(machine: Machine, node: Node | undefined, notes: FleetNotes, deps: LifeDeps): Promise<void> {
  const { mustDrain, ...record } = machine.record
  if (mustDrain === true) {
    if (node?.state === 'active') await deps.catalogue.setNodeState(machine.node, 'draining')
    return notes.put({ ...machine, record })
  }
  if (node?.state === 'active') return notes.live(machine.node, 'active', 'it takes indexes again')
  if ((await deps.catalogue.removeNode(machine.node, false)) === 'holds') return
  notes.live(machine.node, 'releasing', 'nothing is on it any more')
}
