/** An engine that somebody else runs: it is only registered. */
import { request } from 'undici'
import { createHttpEngine } from '../engine/http-engine.ts'
import { nodeOfMarker } from '../engine/node-marker.ts'
import type { Clock } from '../lib/clock.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { EngineUnavailable, waitForHealth } from './local-driver.ts'

const reachableMsMax = 10_000

interface Waiting {
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** @throws EngineUnavailable when it does not answer, or refuses the key. */
export async function registerRemoteNode(
  node: Parameters<Catalogue['putNode']>[0],
  { catalogue, ...waiting }: Waiting & { readonly catalogue: Pick<Catalogue, 'putNode'> },
): Promise<Node> {
  await reachEngine(node, waiting)
  return catalogue.putNode(node)
}

interface Engine {
  readonly url: string
  readonly key: string | null
}

/** Waits until it answers with its key. @throws EngineUnavailable when it does not, or refuses the key. */
export async function reachEngine({ url, key }: Engine, { clock, signal }: Waiting): Promise<void> {
  await waitForHealth(url, reachableMsMax, clock, signal)
  await checkEngineKey(url, key)
}

/** The node that an engine is already, of this installation or another; `undefined` = none, as far as it tells. */
export async function markedNode({ url, key }: Engine, signal: AbortSignal): Promise<NodeId | undefined> {
  const engine = createHttpEngine({ url, key })
  try {
    const marker = await engine.readMarker(signal)
    return marker.kind === 'answered' && marker.value !== null ? nodeOfMarker(marker.value.name) : undefined
  } finally {
    await engine.close()
  }
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
