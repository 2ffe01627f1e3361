/**
 * Keeps the fleet (P-35 to P-40): one worker at a time looks at every node, writes down what changed, heals what is not
 * well, and makes the fleet larger or smaller. What it decides follows from pure functions (`healing`, `scaling`); it only
 * carries them out. Without `fleet.mode` it is not started at all.
 */
import type { LayoutJournal, ReplicaJournal } from '../../journal/ports.ts'
import type { Node, NodeId } from '../../store/catalogue.ts'
import type { Fleet, KeeperStanding, Machine } from '../../store/fleet.ts'
import { isAway } from '../../topology/health-states.ts'
import { type DriverKind, isComing, lifeAfter } from '../../topology/machine-life.ts'
import { type HealingAction, healing, irreplaceableText, type SeenNode } from '../healing/healing.ts'
import { createLoadReader } from '../health/load.ts'
import { isLocalId } from '../local-fleet.ts'
import type { OpenMoveDeps } from '../moves/open-move.ts'
import type { FleetMetrics } from './fleet-metrics.ts'
import { type FleetLog, type FleetRules, pauseBehind } from './fleet-rules.ts'
import { MachineActs } from './machine-acts.ts'
import { type LifeDeps, specOf, stepLife } from './machine-lives.ts'
import { FleetNotes, withRestart } from './machine-note.ts'
import { scaleFleet } from './resizing.ts'
import { sampleAll } from './sampling.ts'
import { type Healths, noteHealth, probeAll } from './sighting.ts'

export interface KeeperDeps
  extends Omit<LifeDeps, 'fleet' | 'rules' | 'signal'>,
    Pick<OpenMoveDeps, 'moves' | 'random'> {
  readonly worker: string
  readonly fleet: Fleet
  readonly replicas: Pick<ReplicaJournal, 'standing'> & Pick<LayoutJournal, 'layouts'>
  readonly rules: FleetRules
  readonly metrics: FleetMetrics
  readonly log: FleetLog
}

/** P-35. A look takes longer than the pause between two only where many nodes are away. */
const leaseMs = 15_000
const pruneMs = 3_600_000
const tellAgainMs = 3_600_000
const toldMax = 10_000

export function startFleetKeeper(deps: KeeperDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const keeper = new Keeper(deps, stopping.signal)
  const running = keeper.run()
  return {
    async stop() {
      stopping.abort(new Error('the keeper stops'))
      await running
    },
  }
}

class Keeper {
  readonly #deps: KeeperDeps
  readonly #signal: AbortSignal
  readonly #acts: MachineActs
  readonly #loads
  readonly #healths: Healths = new Map()
  /** When proposals and refusals were said, which stay true for many looks. */
  readonly #told = new Map<string, number>()
  readonly #crowded = new Set<NodeId>()
  #sampledAt = Number.NEGATIVE_INFINITY
  #prunedAt = Number.NEGATIVE_INFINITY

  constructor(deps: KeeperDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
    this.#acts = new MachineActs(deps.clock, signal)
    this.#loads = createLoadReader(deps.clock)
  }

  async run(): Promise<void> {
    const { clock, rules, log, fleet, worker } = this.#deps
    while (!this.#signal.aborted) {
      const startedAt = clock.monotonic()
      await this.#look().catch((error: unknown) => {
        if (!this.#signal.aborted) log.warn({ err: error }, 'the fleet was not looked at')
      })
      const pause = Math.max(0, rules.probeMs - (clock.monotonic() - startedAt))
      await clock.sleep(pause, this.#signal).catch(() => undefined)
    }
    await this.#acts.settled()
    await fleet.resign(worker).catch(() => undefined)
  }

  async #look(): Promise<void> {
    const { fleet, catalogue, worker, rules, clock, log } = this.#deps
    const startedAt = clock.monotonic()
    const epoch = await fleet.lead(worker, rules.mode, leaseMs)
    if (epoch === undefined) {
      // Another keeper's counters are the true ones by the time we follow it.
      this.#healths.clear()
      this.#deps.metrics.followed()
      return
    }
    const [nodes, machines, lanes, standing] = await Promise.all([
      catalogue.nodes(),
      fleet.machines(),
      fleet.lanes(),
      fleet.keeper(),
    ])
    const notes = new FleetNotes(machines, clock.now())
    this.#meet(nodes, notes)
    await this.#takeEnded(notes)
    const deps = { ...this.#deps, signal: this.#signal }
    const outcomes = await probeAll(nodes, deps)
    for (const node of nodes) {
      const machine = notes.machine(node.id)
      const outcome = outcomes.get(node.id)
      if (machine === undefined || outcome === undefined) continue
      await noteHealth(machine, outcome, lanes.get(node.id), this.#healths, notes, deps)
      await this.#followAddress(node, notes)
    }
    await this.#heal(nodes, notes, standing)
    for (const machine of notes.machines()) {
      const node = nodes.find(({ id }) => id === machine.node)
      // What was wished for changes the node, which is looked at anew the next time.
      if (await this.#hearLifeWish(machine, notes)) continue
      // A replacement that still runs would make a machine behind the end of the last one.
      if (machine.life === 'releasing' && this.#acts.running(machine.node) !== null) continue
      await stepLife(notes.machine(machine.node) ?? machine, node, notes, deps)
    }
    if (clock.monotonic() - this.#sampledAt >= rules.sampleMs) {
      this.#sampledAt = clock.monotonic()
      await sampleAll(nodes, outcomes, notes, { ...deps, loads: this.#loads })
      if (rules.scaling !== null && standing?.halted == null) {
        await scaleFleet(nodes, notes, standing?.scaledAt ?? null, {
          ...deps,
          scaling: rules.scaling,
          crowded: this.#crowded,
          tellOnce: (kind, text) => this.#tellOnce(notes, null, kind, text),
        })
      }
    }
    const note = notes.whole()
    const isLate = clock.monotonic() - startedAt > leaseMs / 3
    const present = isLate ? await this.#leadOn(epoch) : epoch
    if (present !== undefined && (notes.isEmpty || (await fleet.note(present, note)))) {
      this.#deps.metrics.looked(notes.machines(), note, note.halted ?? standing?.halted ?? null)
    } else {
      log.warn({}, 'another worker keeps the fleet now')
    }
    if (clock.monotonic() - this.#prunedAt >= pruneMs) {
      this.#prunedAt = clock.monotonic()
      await fleet.prune()
    }
  }

  /** A look may take longer than the lease, where providers or engines are slow: it counts if nobody else kept the fleet meanwhile. */
  async #leadOn(epoch: number): Promise<number | undefined> {
    const { fleet, worker, rules } = this.#deps
    const present = await fleet.lead(worker, rules.mode, leaseMs)
    return present !== undefined && present <= epoch + 1 ? present : undefined
  }

  /** Every node has a machine; one that was removed by hand has none any more. */
  #meet(nodes: readonly Node[], notes: FleetNotes): void {
    const { now } = notes
    for (const { id, engine, region, group } of nodes) {
      const known = notes.machine(id)
      if (known !== undefined && known.life !== 'released') {
        if (known.region !== region || known.group !== group) notes.change(id, { region, group })
        // Its keeper died before it wrote down what it had made a node: indexes may be on it by now.
        if (isComing(known.life) || known.life === 'failed') notes.live(id, 'active', 'it is a node already')
        continue
      }
      notes.put({
        ...{
          node: id,
          driver: driverOf(id),
          life: 'active',
          engine,
          region,
          group,
          generation: known?.generation ?? 1,
        },
        ...{ health: 'starting', healthSince: now, record: { lifeSince: now }, wish: null, createdAt: now },
      })
    }
    const ids = new Set(nodes.map(({ id }) => id))
    for (const { node, life, driver } of notes.machines()) {
      if (life !== 'active' || ids.has(node)) continue
      const isOurs = this.#deps.drivers.of(driver)?.can.destroy === true
      notes.live(node, isOurs ? 'releasing' : 'released', 'the node was removed')
      this.#healths.delete(node)
    }
  }

  /** What came of acts. */
  async #takeEnded(notes: FleetNotes): Promise<void> {
    for (const { node, kind, failure } of this.#acts.takeEnded()) {
      const machine = notes.machine(node)
      if (machine === undefined) continue
      if (failure !== null) {
        const tries = (machine.record.tries ?? 0) + 1
        notes.change(node, {}, { failure, tries, triedAt: notes.now })
        notes.tell(node, 'failure', `${kind} failed: ${failure}`)
        continue
      }
      this.#healths.delete(node)
      const { replacing = machine.generation, isReplacementWished: _wished, ...rest } = machine.record
      const { failure: _failure, ...record } = rest
      const isReplaced = kind === 'replace'
      const kept = { ...record, tries: 0, ...(isReplaced ? { replacedAt: notes.now, restarts: [] } : {}) }
      const generation = isReplaced ? replacing : machine.generation
      notes.put({ ...machine, generation, health: 'starting', healthSince: notes.now, record: kept })
      notes.tell(node, kind, kind === 'restart' ? 'it is started again' : `it has a new machine (${replacing})`)
    }
  }

  /** A machine that was started anew may be elsewhere. */
  async #followAddress(node: Node, notes: FleetNotes): Promise<void> {
    const machine = notes.machine(node.id)
    // Processes of this machine register themselves.
    if (machine === undefined || machine.health === 'up' || machine.driver === 'static' || machine.driver === 'local')
      return
    const driver = this.#deps.drivers.of(machine.driver)
    if (driver === undefined) return
    const view = await driver.describe(node.id, this.#signal).catch(() => undefined)
    if (view?.url == null || view.url === node.url) return
    const { id, engine, region, key, group, capacity } = node
    await this.#deps.catalogue.putNode({ id, engine, url: view.url, region, key, group, capacity })
    notes.tell(id, 'life', `its address is ${view.url} now`)
  }

  async #heal(nodes: readonly Node[], notes: FleetNotes, standing: KeeperStanding | undefined): Promise<void> {
    const { rules, log } = this.#deps
    await this.#goOn(nodes, notes)
    const seen: SeenNode[] = []
    for (const { id, state } of nodes) {
      const machine = notes.machine(id)
      // A person has given it up.
      if (machine !== undefined && state !== 'lost') seen.push(await this.#seen(machine))
    }
    for (const action of healing({ nodes: seen, halted: standing?.halted ?? null }, rules.healing, notes.now)) {
      if (action.kind === 'halt') {
        notes.halt(action.reason)
        notes.tell(
          null,
          'brake',
          `nothing is done by itself: ${action.reason}; \`flapjack fleet release\` lets it go on`,
        )
        log.warn({ reason: action.reason }, 'the brake of the fleet is on')
      } else if (action.kind === 'refuse') {
        const wish = notes.machine(action.node)?.wish
        if (wish === 'restart' || wish === 'replace') notes.grant(action.node, wish)
        this.#tellOnce(notes, action.node, 'failure', action.reason)
      } else {
        this.#act(action, nodes, notes)
      }
    }
  }

  async #seen(machine: Machine): Promise<SeenNode> {
    const { node, region, health, healthSince, record, wish, driver: kind } = machine
    const driver = this.#deps.drivers.of(kind)
    const ownWish = wish === 'restart' || wish === 'replace' ? wish : null
    const mustKnow = isAway(health) || ownWish === 'replace'
    const act = record.replacing !== undefined ? 'replace' : this.#acts.running(node)
    return {
      ...{ id: node, region, health, healthSince },
      canRestart: driver?.can.restart === true,
      canReplace: driver?.can.replace === true,
      isReplaceable: !mustKnow || (await this.#deps.fleet.holdings(node)).irreplaceable === 0,
      restarts: record.restarts ?? [],
      replacedAt: record.replacedAt ?? null,
      act: machine.life === 'active' || machine.life === 'draining' ? act : 'restart',
      wish: ownWish,
    }
  }

  #act(
    action: Extract<HealingAction, { kind: 'restart' | 'replace' }>,
    nodes: readonly Node[],
    notes: FleetNotes,
  ): void {
    const { kind, node, reason, isWished } = action
    const machine = notes.machine(node)
    if (machine === undefined || this.#isPausing(machine, notes.now)) return
    if (!isWished && this.#deps.rules.mode === 'watch') {
      this.#tellOnce(notes, node, 'proposal', `${kind}: ${reason}`)
      return
    }
    notes.tell(node, kind, reason)
    this.#deps.log.warn({ node, reason }, `fleet: ${kind}`)
    if (isWished) notes.grant(node, kind)
    if (kind === 'replace') {
      notes.change(node, {}, { replacing: machine.generation + 1, isReplacementWished: isWished })
      return
    }
    notes.put({ ...machine, record: withRestart(machine.record, notes.now) })
    this.#begin('restart', machine, nodes)
  }

  /**
   * Begins replacements that stand in the record: they were written at an earlier look, so that any keeper goes on with them.
   * What spoke for one may not hold any more, and a disk that is ended does not come back: each is looked at anew.
   */
  async #goOn(nodes: readonly Node[], notes: FleetNotes): Promise<void> {
    for (const machine of notes.machines()) {
      const { node, life, health, record } = machine
      if (record.replacing === undefined || this.#acts.running(node) !== null) continue
      if ((life !== 'active' && life !== 'draining') || !nodes.some(({ id }) => id === node)) continue
      if (health === 'up' && record.isReplacementWished !== true) {
        notes.giveUpReplacement(node, 'it is up again')
      } else if (!this.#isPausing(machine, notes.now)) {
        const { irreplaceable } = await this.#deps.fleet.holdings(node)
        if (irreplaceable > 0) notes.giveUpReplacement(node, irreplaceableText)
        else this.#begin('replace', { ...machine, generation: record.replacing }, nodes)
      }
    }
  }

  #begin(kind: 'restart' | 'replace', machine: Machine, nodes: readonly Node[]): void {
    const driver = this.#deps.drivers.of(machine.driver)
    const key = nodes.find(({ id }) => id === machine.node)?.key ?? this.#deps.keyOf(machine.node)
    if (driver !== undefined) this.#acts.begin(kind, machine, driver, specOf(machine, key))
  }

  #isPausing({ record: { tries = 0, triedAt = 0 } }: Machine, now: number): boolean {
    return tries > 0 && now - triedAt < pauseBehind(tries)
  }

  async #hearLifeWish({ node, life, wish }: Machine, notes: FleetNotes): Promise<boolean> {
    if (wish !== 'drain' && wish !== 'keep') return false
    notes.grant(node, wish)
    if (wish === 'drain' && life === 'active') {
      await this.#deps.catalogue.setNodeState(node, 'draining')
      notes.live(node, 'draining', 'an operator asked for it')
    } else if (wish === 'drain' && lifeAfter(life, 'drain') !== undefined) {
      notes.live(node, 'releasing', 'an operator asked for it')
    } else if (wish === 'keep' && life === 'draining') {
      await this.#deps.catalogue.setNodeState(node, 'active')
      notes.live(node, 'active', 'an operator asked for it')
    }
    return true
  }

  #tellOnce(notes: FleetNotes, node: NodeId | null, kind: string, text: string): void {
    // Figures change all the time.
    const key = `${node ?? ''} ${kind} ${text.replace(/\d+/g, '0')}`
    if (notes.now - (this.#told.get(key) ?? Number.NEGATIVE_INFINITY) < tellAgainMs) return
    if (this.#told.size >= toldMax) this.#told.clear()
    this.#told.set(key, notes.now)
    notes.tell(node, kind, text)
  }
}

/** Of a node that was there before its machine was known. */
function driverOf(id: NodeId): DriverKind {
  return isLocalId(id) && !id.startsWith('r') ? 'local' : 'static'
}
