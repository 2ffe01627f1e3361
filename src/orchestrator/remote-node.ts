/** An engine that somebody else runs: it is only registered. */
import { request } from 'undici'
import type { Clock } from '../lib/clock.ts'
import type { Node } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { EngineUnavailable, waitForHealth } from './local-driver.ts'

const reachableMsMax = 10_000

/** @throws EngineUnavailable when it does not answer, or refuses the key. */
export async function registerRemoteNode(
  node: Parameters<Catalogue['putNode']>[0],
  {
    catalogue,
    clock,
    signal,
  }: { readonly catalogue: Pick<Catalogue, 'putNode'>; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Node> {
  await waitForHealth(node.url, reachableMsMax, clock, signal)
  await checkEngineKey(node.url, node.key)
  return catalogue.putNode(node)
}

/** A wrong key would otherwise show only as writes that never end. */
export async function checkEngineKey(url: string, key: string | null): Promise<void> {
  const headers = key === null ? {} : { authorization: `Bearer ${key}` }
  const { statusCode, body } = await request(`${url}/keys?limit=1`, { headers, headersTimeout: reachableMsMax })
  const answer = await body.text()
  // Without a master key the engine has no keys to show, and answers 401 to anybody.
  const isOpen = statusCode === 401 && key === null && answer.includes('"missing_master_key"')
  if (statusCode === 200 || isOpen) return
  if (statusCode === 401 || statusCode === 403) {
    throw new EngineUnavailable(`the engine at ${url} refuses this key; give its master key`)
  }
  throw new EngineUnavailable(`the engine at ${url} answers ${statusCode} when it is asked for its keys`)
}
