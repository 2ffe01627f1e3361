/** An engine that somebody else runs: it is only registered. */
import type { Clock } from '../lib/clock.ts'
import type { Catalogue } from '../store/ports.ts'
import { localRegion, waitForHealth } from './local-driver.ts'

const reachableMsMax = 10_000

/** @throws EngineUnavailable when it does not answer. */
export async function registerRemoteNode(
  node: { readonly id: string; readonly url: string; readonly key: string | null },
  {
    catalogue,
    clock,
    signal,
  }: { readonly catalogue: Pick<Catalogue, 'putNode'>; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  await waitForHealth(node.url, reachableMsMax, clock, signal)
  await catalogue.putNode({ ...node, engine: 'meilisearch', region: localRegion })
}
