/**
 * Brings indexes to where they are wanted (design 5): compares desired with actual placements, and opens the moves that the
 * comparison asks for. By themselves only full nodes are relieved beside that (`fleet/resizing.ts`); a human edits what is
 * wanted, or orders one move.
 *
 * Any number of workers may run it: an index has one open move at most, and what two of them open at once is within the limits
 * of those who carry moves out.
 */
import type { LayoutJournal } from '../../journal/ports.ts'
import type { Move, Moves } from '../../store/moves.ts'
import type { Catalogue } from '../../store/ports.ts'
import type { PlannedMove } from '../../topology/index-layout.ts'
import { type Brakes, brakesDefault, planRebalance, type RebalancePlan } from '../../topology/rebalance-plan.ts'
import { type OpenMoveDeps, openDecided } from '../moves/open-move.ts'
import { type FleetSources, readFleet, rebalanceKeepMs } from './layout-fleet.ts'

const lookMsDefault = 2_000
const listedMax = 10_000
/** Without a change of the catalogue a plan is made this often, since indexes grow. */
const unaskedMs = 60_000
/** A look takes at most this part of a worker's time, however many indexes there are. */
const lookShare = 0.1

export interface ReconcilerDeps extends FleetSources, Pick<OpenMoveDeps, 'random'> {
  readonly catalogue: Pick<Catalogue, 'nodes' | 'version'>
  readonly replicas: Pick<LayoutJournal, 'layouts'>
  readonly moves: Pick<Moves, 'list' | 'open' | 'wish'>
  readonly clock: OpenMoveDeps['clock']
  readonly brakes?: Brakes
  /** Default `rebalanceKeepMs`. */
  readonly keepMs?: number
  /** How often it looks at least; default 2 s. */
  readonly lookMs?: number
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
}

export function startReconciler(deps: ReconcilerDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const { clock, log, catalogue, lookMs = lookMsDefault } = deps
  const told = new Set<string>()
  const run = async () => {
    let plannedAt = Number.NEGATIVE_INFINITY
    let plannedVersion = -1
    let isDone = false
    while (!stopping.signal.aborted) {
      const startedAt = clock.monotonic()
      try {
        // Moves that begin and end change the catalogue as well.
        const version = await catalogue.version()
        if (!isDone || version !== plannedVersion || startedAt - plannedAt >= unaskedMs) {
          plannedAt = startedAt
          isDone = (await look(deps, told)).moves.length === 0
          plannedVersion = version
        }
      } catch (error) {
        log.warn({ err: error }, 'placements were not compared with what is wanted')
      }
      const tookMs = clock.monotonic() - startedAt
      await clock.sleep(Math.max(lookMs, tookMs / lookShare), stopping.signal).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async stop() {
      stopping.abort(new Error('the reconciler stops'))
      await running
    },
  }
}

/** Opens what may begin. Twice: safe. @param told  what was said before. */
export async function look(deps: ReconcilerDeps, told: Set<string>): Promise<RebalancePlan> {
  const { log, brakes = brakesDefault } = deps
  const plan = planRebalance(await readFleet(deps), brakes)
  for (const planned of plan.next) {
    const opened = await openPlanned(deps, planned)
    if ('refusal' in opened)
      log.info({ index: planned.layout.index, reason: opened.refusal }, 'a replica stays for now')
  }
  if (plan.superseded.length > 0) {
    const kept = (await deps.moves.list({ isOpen: true }, listedMax)).filter(({ step }) => step === 'keeping_back')
    for (const { id, index } of kept)
      if (plan.superseded.includes(index)) await deps.moves.wish(id, 'close', ['keeping_back'])
  }
  const tell = (key: string, fields: object, message: string) => {
    if (told.has(key)) return
    told.add(key)
    log.warn(fields, message)
  }
  for (const { layout, node, reason } of plan.stuck) {
    const { index } = layout
    tell(`${index}:${node}:${reason}`, { index, node, reason }, 'a replica is not where it is wanted')
  }
  for (const region of plan.braked) tell(`braked:${region}`, { region }, 'too many nodes are away: nothing is moved')
  return plan
}

function openPlanned(
  deps: Pick<ReconcilerDeps, 'moves' | 'clock' | 'random' | 'keepMs'>,
  { layout, kind, takes, target }: PlannedMove,
): Promise<Move | { readonly refusal: string }> {
  const index = { id: layout.index, uid: layout.uid, project: layout.project }
  const options = { keepMs: deps.keepMs ?? rebalanceKeepMs, bytesPerSecond: null }
  return openDecided(deps, { index, kind, takes, target, options })
}
