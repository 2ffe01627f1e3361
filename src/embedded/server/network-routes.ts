/** `/network`: kept, and without effect (M-A9): topology belongs to others. */
import { ApiError } from '../../api/errors.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { applyNetwork, decodeNetwork, emptyNetwork, type Network, renderNetwork } from '../../api/network-body.ts'
import type { EngineStore } from '../core.ts'
import { type Call, json, type Route, readJson } from './call.ts'

const entry = 'network'

function check({ parts }: Call): void {
  if (!parts.features().network) throw featureNotEnabled('network', 'Using the /network route')
}

/** Only this file writes the entry. */
export const storedNetwork = (store: EngineStore): Network => (store.get(entry) as Network | undefined) ?? emptyNetwork

export const networkRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/network',
    action: 'network.get',
    handle(call) {
      check(call)
      return json(renderNetwork(storedNetwork(call.parts.core.store)))
    },
  },
  {
    method: 'PATCH',
    path: '/network',
    action: 'network.update',
    async handle(call) {
      const sent = decodeNetwork(await readJson(call))
      check(call)
      const { store } = call.parts.core
      const network = applyNetwork(storedNetwork(store), sent, call.parts.random.uuid())
      const remotes = Object.entries(network.remotes).map(([name, remote]) => [name, { ...remote }])
      await store.put(entry, { ...network, remotes: Object.fromEntries(remotes), shards: { ...network.shards } })
      return json(renderNetwork(network))
    },
  },
  {
    method: 'POST',
    path: '/network/control',
    action: 'network.update',
    handle() {
      throw new ApiError('requires_enterprise_edition', 'Meilisearch Enterprise Edition is required to call this route')
    },
  },
]
