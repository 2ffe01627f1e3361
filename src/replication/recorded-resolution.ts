/** Resolves a change that depends on the state of its index, once and for good (design 2, rule 1). */
import type { LaneChange } from '../journal/ports.ts'
import type { Placement } from '../store/catalogue.ts'
import { scratchPrefix } from './edit-resolution.ts'
import { ask, LeaseLost, type NodeSession, sendAndWait } from './node-session.ts'
import { resolveChange } from './resolution.ts'

export type Resolving =
  | { readonly kind: 'recorded' }
  /** The lane was stopped meanwhile: what was read may not be what stands before the change. */
  | { readonly kind: 'outdated' }
  /** The node could not tell what the change comes to. */
  | { readonly kind: 'failed'; readonly error: unknown }

/**
 * Before: everything up to the change has been applied. Twice: safe, the first record stays.
 *
 * @throws LeaseLost, or when the disk is not ours any more.
 */
export async function recordResolution(
  session: NodeSession,
  { index, physicalUid }: Placement,
  item: LaneChange,
  { tag, isSecondTry, flow }: { readonly tag: string; readonly isSecondTry: boolean; readonly flow: AbortSignal },
): Promise<Resolving> {
  const { deps, lease, engine } = session
  const resolving = resolveChange(
    {
      engine,
      journal: deps.journal,
      physicalUid,
      scratchUid: `${scratchPrefix}${tag}`,
      isSecondTry,
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
  const isKept = await deps.journal.recordResolution(lease, index, item.change.position, found.resolution)
  if (!isKept) throw new LeaseLost()
  return { kind: 'recorded' }
}
