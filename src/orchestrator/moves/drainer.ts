/** Empties nodes that drain: opens the moves that take their replicas elsewhere, and nothing else does (design 5). */
import type { ReplicaJournal } from '../../journal/ports.ts'
import type { Node } from '../../store/catalogue.ts'
import type { Moves } from '../../store/moves.ts'
import type { Catalogue } from '../../store/ports.ts'
import { type DrainPlan, planDrain } from '../../topology/drain-plan.ts'
import { type OpenMoveDeps, openMove } from './open-move.ts'

/** What is moved because its node is emptied can be undone for so long; the node is empty only then. */
export const drainKeepMs = 60_000
/** Replicas that are looked at in one go; more follow as these end. */
const perLook = 32
const lookMs = 2_000

export interface DrainerDeps extends OpenMoveDeps {
  readonly catalogue: Pick<Catalogue, 'nodes'>
  readonly replicas: Pick<ReplicaJournal, 'standing' | 'leavers' | 'loads'>
  readonly moves: Pick<Moves, 'open' | 'list'>
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
}

/** What would leave a node next, and what cannot. */
export async function drainPlanOf(
  { catalogue, replicas }: Pick<DrainerDeps, 'catalogue' | 'replicas'>,
  node: Node,
): Promise<DrainPlan> {
  return planDrain(await replicas.leavers(node.id, perLook), await catalogue.nodes(), await replicas.loads())
}

/** Any number of workers may run it: an index has one open move at most. */
export function startDrainer(deps: DrainerDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const { clock, log } = deps
  const told = new Set<string>()
  const run = async () => {
    while (!stopping.signal.aborted) {
      await look(deps, told).catch((error) => log.warn({ err: error }, 'draining nodes were not looked at'))
      await clock.sleep(lookMs, stopping.signal).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async stop() {
      stopping.abort(new Error('the drainer stops'))
      await running
    },
  }
}

/** @param told  of which replicas it was said that they are stuck. */
async function look(deps: DrainerDeps, told: Set<string>): Promise<void> {
  for (const node of await deps.catalogue.nodes()) {
    if (node.state !== 'draining') continue
    const { orders, stuck } = await drainPlanOf(deps, node)
    for (const { leaver, target } of orders) {
      const index = { id: leaver.index, uid: leaver.uid, project: leaver.project }
      const options = { keepMs: drainKeepMs, bytesPerSecond: null }
      const opened = await openMove(deps, { index, source: leaver.node, target, options })
      if ('refusal' in opened) deps.log.info({ index: index.id, reason: opened.refusal }, 'a replica stays for now')
    }
    for (const { leaver, reason } of stuck) {
      const key = `${leaver.index}:${leaver.node}:${reason}`
      if (told.has(key)) continue
      told.add(key)
      deps.log.warn({ index: leaver.index, node: leaver.node, reason }, 'a replica cannot leave the draining node')
    }
  }
}
