/** The metrics of this process and of the gateway processes beside it, and where operators read them. */
import cluster from 'node:cluster'
import { AggregatorRegistry, collectDefaultMetrics, Registry } from 'prom-client'
import { metricPrefixes } from './api/names.ts'
import type { Config } from './config/config.ts'
import type { FleetOrders } from './control/fleet-orders.ts'
import type { MoveOrders } from './control/move-orders.ts'
import type { ReshardOrders } from './control/reshard-orders.ts'
import type { ClusterRoutes } from './gateway/cluster-routes.ts'
import type { AdminCommand, AdminReply } from './gateway/gateway-admin.ts'
import { startOperatorServer } from './gateway/operator-server.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'

/** One registry for each process. */
export function createMetrics({ operator }: Pick<Config, 'operator'>): Registry {
  const registry = new Registry()
  // Watching the event loop wakes the process a hundred times a second: only where somebody may read it.
  if (operator.address !== null) collectDefaultMetrics({ register: registry })
  // With several gateway processes, the first process asks the others for theirs.
  AggregatorRegistry.setRegistries(registry)
  // Its constructor begins to answer them.
  if (cluster.isWorker) new AggregatorRegistry()
  return registry
}

/** Asks all gateways of this program. */
export type AskGateways = (command: AdminCommand) => Promise<readonly AdminReply[]>

/** What they do that no gateway answers. */
export interface OperatorDeps {
  /** Takes a node into the fleet. */
  readonly addNode: ClusterRoutes['addNode']
  readonly moves: MoveOrders
  readonly reshards: ReshardOrders
  readonly fleet: FleetOrders
  readonly checks: ClusterRoutes['checks']
}

/**
 * The operators' listener, when an address is configured.
 * @param gateways  whom it asks; replaced when they have started.
 */
export async function startOperator(
  config: Config,
  metrics: Registry,
  gateways: { readonly ask: AskGateways },
  { addNode, moves, reshards, fleet, checks }: OperatorDeps,
  supervisor: Supervisor,
): Promise<void> {
  const { address, token } = config.operator
  const { shards, replicationFactor } = config.cluster
  if (address === null || cluster.isWorker) return
  const all = new AggregatorRegistry()
  const readMetrics = async () =>
    config.http.gateways === 1 ? metrics.metrics() : `${await all.clusterMetrics()}\n${await ownMetrics(metrics)}`
  await supervisor.start(
    'operator listener',
    () =>
      startOperatorServer({
        ...address,
        readMetrics,
        token: token?.reveal() ?? null,
        cluster: {
          defaults: { shards: shards ?? 1, replicationFactor: shards === null ? 1 : replicationFactor },
          addNode,
          checks,
        },
        moves,
        reshards,
        fleet,
        ask: (command) => gateways.ask(command),
      }),
    (server) => server.close(),
  )
}

const prefixes = Object.values(metricPrefixes)

/** Without those of the process itself, which stand beside the same ones of the gateways' processes. */
async function ownMetrics(metrics: Registry): Promise<string> {
  const own = metrics.getMetricsAsArray().filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix)))
  return (await Promise.all(own.map(({ name }) => metrics.getSingleMetricAsString(name)))).join('\n')
}
