/** Carries out what `scaling` wants: a node more, something that goes to another node, a node less. */
import type { LayoutJournal, ReplicaJournal } from '../../journal/ports.ts'
import type { Node, NodeId } from '../../store/catalogue.ts'
import { type Fleet, requestedMachine } from '../../store/fleet.ts'
import type { Catalogue } from '../../store/ports.ts'
import { isComing } from '../../topology/machine-life.ts'
import { type OpenMoveDeps, openMove } from '../moves/open-move.ts'
import { rebalanceKeepMs } from '../reconciler/layout-fleet.ts'
import { chooseBurden } from '../scaling/relief.ts'
import { type LoadedNode, type ScaleIntent, type ScaleRules, scaling } from '../scaling/scaling.ts'
import type { Drivers, FleetLog, FleetMode } from './fleet-rules.ts'
import type { FleetNotes } from './machine-note.ts'

export interface ResizingDeps extends OpenMoveDeps {
  readonly fleet: Pick<Fleet, 'samples'>
  readonly catalogue: Pick<Catalogue, 'nodes'>
  readonly replicas: Pick<ReplicaJournal, 'standing'> & Pick<LayoutJournal, 'layouts'>
  readonly drivers: Drivers
  readonly scaling: ScaleRules
  readonly rules: { readonly mode: FleetMode }
  /** Nodes of which nothing fits on the others; kept from look to look. */
  readonly crowded: Set<NodeId>
  readonly tellOnce: (kind: string, text: string) => void
  readonly log: FleetLog
}

/** P-40. */
const movesAtOnce = 3
/** An index that was moved stays where it is for so long. */
const indexCoolDownMs = 1_800_000
const movesListed = 1_000

export async function scaleFleet(
  nodes: readonly Node[],
  notes: FleetNotes,
  scaledAt: number | null,
  deps: ResizingDeps,
): Promise<void> {
  const { fleet, drivers, scaling: rules } = deps
  const past = notes.now - Math.max(rules.hotMs, rules.idleMs) * 2
  const samples = [...(await fleet.samples(null, past)), ...(notes.whole().samples ?? [])]
  const machines = notes.machines()
  const loaded = nodes.map(({ id, engine, region, group, state }): LoadedNode => {
    const machine = machines.find(({ node }) => node === id)
    const isOurs = machine !== undefined && drivers.of(machine.driver)?.can.destroy === true
    const isActive = state === 'active' && machine?.life === 'active'
    const isCrowded = deps.crowded.has(id)
    return {
      id,
      engine,
      region,
      group,
      isActive,
      isOurs,
      isCrowded,
      samples: samples.filter(({ node }) => node === id),
    }
  })
  const maker = drivers.maker
  deps.crowded.clear()
  const intents = scaling(
    {
      nodes: loaded,
      coming: machines.filter(({ life }) => isComing(life)),
      canCreate: maker?.can.create === true,
      scaledAt,
      isDraining: nodes.some(({ state }) => state === 'draining'),
    },
    rules,
    notes.now,
  )
  for (const intent of intents) {
    if (deps.rules.mode === 'watch' || intent.kind === 'stuck') {
      deps.tellOnce('proposal', `${nameOf(intent)}: ${intent.reason}`)
      continue
    }
    await carryOut(intent, loaded, notes, deps)
  }
}

async function carryOut(
  intent: Exclude<ScaleIntent, { kind: 'stuck' }>,
  loaded: readonly LoadedNode[],
  notes: FleetNotes,
  deps: ResizingDeps,
): Promise<void> {
  switch (intent.kind) {
    case 'add': {
      const { drivers, log } = deps
      const like = loaded.find(({ id }) => id === intent.like)
      if (like === undefined || drivers.maker === undefined) return
      const node = drivers.nextId(notes.machines().map((machine) => machine.node))
      const { region, group } = like
      const place = { node, driver: drivers.maker.kind, engine: drivers.engine, region, group }
      notes.put(requestedMachine(place, notes.now))
      notes.tell(node, 'scale', `asked for, since ${intent.like} is full: ${intent.reason}`)
      notes.scaled()
      log.info({ node, reason: intent.reason }, 'fleet: a node more')
      return
    }
    case 'relieve':
      return relieve(intent, loaded, notes, deps)
    case 'drain':
      // The node is told once this is written: one that drains without it is a person's, and keeps its machine.
      notes.live(intent.node, 'draining', intent.reason)
      notes.change(intent.node, {}, { mustDrain: true })
      notes.tell(intent.node, 'scale', `it is emptied: ${intent.reason}`)
      notes.scaled()
      deps.log.info({ node: intent.node, reason: intent.reason }, 'fleet: a node less')
      return
  }
}

/**
 * Orders one move, as a person would: what it changed shows before the next one goes. Only plain indexes go, which the
 * reconciler leaves where they are; where the shards of others lie follows from the nodes alone.
 */
async function relieve(
  { node, target, reason }: Extract<ScaleIntent, { kind: 'relieve' }>,
  loaded: readonly LoadedNode[],
  notes: FleetNotes,
  deps: ResizingDeps,
): Promise<void> {
  const { moves, replicas, scaling: rules } = deps
  const open = await moves.list({ isOpen: true }, movesListed)
  const isOnTheWay = open.some((move) => move.target === target || move.takes.some((take) => take.node === node))
  if (open.length >= movesAtOnce || isOnTheWay) return
  const resting = new Set(
    [...open, ...(await moves.list({ finishedAfter: notes.now - indexCoolDownMs }, movesListed))].map(
      ({ index }) => index,
    ),
  )
  const dataOf = (id: NodeId) => loaded.find((one) => one.id === id)?.samples.at(-1)?.dataBytes ?? 0
  const held = (await replicas.layouts()).filter((layout) => layout.replicas.some((replica) => replica.node === node))
  // What the journal holds of an index says how large it is beside others; the node says how large all of them are.
  const whole = held.reduce((sum, { byteCount }) => sum + byteCount, 0)
  const burdens = held
    .filter(({ index, spread, replicas: own }) => spread === null && own.length === 1 && !resting.has(index))
    .map(({ index, uid, byteCount }) => ({ index, uid, bytes: whole === 0 ? 0 : (byteCount / whole) * dataOf(node) }))
  const { dataBytesMax } = rules.limits
  const targetMax = dataBytesMax === null ? null : (dataBytesMax * rules.targetPercent) / 100
  const chosen = chooseBurden(burdens, { node: dataOf(node), target: dataOf(target) }, targetMax)
  const layout = held.find(({ index }) => index === chosen?.index)
  if (layout === undefined) {
    if (chooseBurden(burdens, { node: dataOf(node), target: 0 }, targetMax) !== undefined) deps.crowded.add(node)
    deps.tellOnce('proposal', `nothing of ${node} would be better off on ${target}: ${reason}`)
    return
  }
  const index = { id: layout.index, uid: layout.uid, project: layout.project }
  const options = { keepMs: rebalanceKeepMs, bytesPerSecond: null }
  const opened = await openMove(deps, { index, source: node, target, options })
  if ('refusal' in opened) deps.tellOnce('proposal', `${layout.uid} stays on ${node}: ${opened.refusal}`)
  else notes.tell(node, 'scale', `${layout.uid} goes to ${target}: ${reason}`)
}

function nameOf(intent: ScaleIntent): string {
  switch (intent.kind) {
    case 'add':
      return `a node more, beside ${intent.like}`
    case 'relieve':
      return `an index of ${intent.node} to ${intent.target}`
    case 'drain':
      return `${intent.node} is given back`
    case 'stuck':
      return intent.node
  }
}
