/** Resolves a change that depends on the state of its index, once and for good (design 2, rule 1). */
import { completeSettings } from '../api/settings.ts'
import type { Resolution } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { clientMessage } from '../search/refusals.ts'
import type { IndexId, Placement } from '../store/catalogue.ts'
import { isInSync } from '../topology/placement-states.ts'
import { replicaId } from '../topology/replica-id.ts'
import { scratchPrefix } from './edit-resolution.ts'
import { ask, LeaseLost, type NodeSession, sendAndWait } from './node-session.ts'
import { resolveChange } from './resolution.ts'
import type { ShardView } from './shard-view.ts'

export type Resolving =
  | { readonly kind: 'recorded' }
  /** What it comes to in the lane's shards is recorded; in others it is not yet. Or replicas have not agreed on what is before it. */
  | { readonly kind: 'waiting' }
  /** The lane was stopped meanwhile: what was read may not be what stands before the change. */
  | { readonly kind: 'outdated' }
  /** The node could not tell what the change comes to. */
  | { readonly kind: 'failed'; readonly error: unknown }

export interface ResolvingTerms {
  readonly tag: string
  readonly isSecondTry: boolean
  /** Whoever is to resolve it first has had its time. */
  readonly isOverdue: boolean
  readonly flow: AbortSignal
  /** null = the index is plain. */
  readonly view: ShardView | null
}

/**
 * Of the lane's own, those in which nobody has recorded what the change comes to. Ascending. While others hold them as well,
 * one replica tells for all of them; when it does not, anybody does.
 */
function missingShards(
  { own, shards: count }: ShardView,
  { partials, resolvers }: LaneChange,
  placement: Placement,
  isOverdue: boolean,
): readonly number[] {
  const recorded = new Set(partials.flatMap(({ shards, of }) => (of === count ? shards : [])))
  const turn = isOverdue || resolvers === undefined ? own : new Set(resolvers.get(replicaId(placement)))
  return [...own].filter((shard) => turn.has(shard) && !recorded.has(shard)).sort((a, b) => a - b)
}

/** Of a plain index only a replica that counts speaks, since it may have more than one; of any, the generation that is read. */
async function maySpeak({ deps, lease }: NodeSession, { physicalUid }: Placement, isPlain: boolean): Promise<boolean> {
  const lane = await deps.journal.laneOn(lease.node.id, physicalUid)
  return lane?.isCurrent === true && (!isPlain || isInSync(lane.placement))
}

/** A replica that differs from the others on an earlier change is built anew; what it resolved would stay. */
async function isAgreed({ deps }: NodeSession, { change }: LaneChange): Promise<boolean> {
  const { completed } = await deps.journal.completedSettings(change.index)
  return completed >= change.position - 1
}

/** A refusal in the words of one node that knows nothing of ours. */
async function cleared({ deps }: NodeSession, index: IndexId, resolution: Resolution): Promise<Resolution> {
  const { error } = resolution
  if (error === null) return resolution
  const { settings } = await deps.journal.completedSettings(index)
  return { ...resolution, error: { ...error, message: clientMessage(error, completeSettings(settings)) } }
}

/**
 * Before: everything up to the change has been applied. Twice: safe, the first record stays.
 *
 * @throws LeaseLost, or when the disk is not ours any more.
 */
export async function recordResolution(
  session: NodeSession,
  placement: Placement,
  item: LaneChange,
  { tag, isSecondTry, isOverdue, flow, view }: ResolvingTerms,
): Promise<Resolving> {
  const { deps, lease, engine } = session
  const { index, physicalUid } = placement
  const shards = view === null ? null : missingShards(view, item, placement, isOverdue)
  const isMine = shards?.length !== 0 && (await maySpeak(session, placement, shards === null))
  if (!isMine || !(await isAgreed(session, item))) return { kind: 'waiting' }
  const resolving = resolveChange(
    {
      engine,
      journal: deps.journal,
      physicalUid,
      // Another replica of the index on the node may have the same tag.
      scratchUid: `${scratchPrefix}${tag}_${placement.shards[0] ?? 0}`,
      isSecondTry,
      scope: view && shards && { shards, of: view.shards },
      ask: (call) => ask(session, call),
      run: (call) => sendAndWait(session, call),
    },
    item,
  ).then(
    (resolution) => ({ kind: 'resolved', resolution }) as const,
    (error: unknown) => ({ kind: 'failed', error }) as const,
  )
  const found = await resolving
  if (found.kind === 'failed') return found
  // What was read counts only if the disk that it was read from is still ours, and no request that came late lay over it: it
  // is recorded for good.
  await session.verify()
  if (flow.aborted) return { kind: 'outdated' }
  const { position } = item.change
  const { resolution } = found
  const isKept = await (shards === null || view === null
    ? deps.journal.recordResolution(lease, index, position, resolution)
    : deps.journal.recordPartial(lease, placement, position, {
        shards,
        of: view.shards,
        resolution: await cleared(session, index, resolution),
      }))
  if (!isKept) throw new LeaseLost()
  return { kind: 'recorded' }
}
