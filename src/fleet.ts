/** Builds the engines of this machine and the keeper of the fleet. Without `fleet.mode` nothing of the keeper is loaded. */
import { join, resolve } from 'node:path'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { CommandContext } from './cli/command-context.ts'
import { CommandFailed } from './cli/exit-codes.ts'
import type { Config } from './config/config.ts'
import { createHttpEngine } from './engine/http-engine.ts'
import type { Store } from './journal/open-store.ts'
import { ChildFailed } from './orchestrator/child-process.ts'
import type { NodeDriver } from './orchestrator/drivers/node-driver.ts'
import { createProcessDriver } from './orchestrator/drivers/process-driver.ts'
import type { FleetMode, FleetRules } from './orchestrator/fleet/fleet-rules.ts'
import { localRegion, startLocalNode } from './orchestrator/local-driver.ts'
import { type LocalNode, planLocalFleet, remoteId } from './orchestrator/local-fleet.ts'
import { registerRemoteNode } from './orchestrator/remote-node.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'
import type { Host } from './parts.ts'

/** Starts the engine processes of the data folder. `undefined` = the engine is elsewhere. */
export async function startEngines(
  host: Host,
  { config, env }: CommandContext,
  { catalogue }: Store,
  supervisor: Supervisor,
  logger: Logger,
): Promise<NodeDriver | undefined> {
  const { kind, url, key, nodes, bin, indexingMemoryBytes } = config.engine
  const { clock, random, script, nodeOptions } = host
  const engine = url === null ? kind : 'remote'
  const isScaled = config.fleet.driver === 'local'
  const wanted = { engine, nodes, groups: config.cluster.replicaGroups, isScaled } as const
  const fleet = planLocalFleet(await catalogue.nodes(), wanted)
  if ('refusal' in fleet) throw new CommandFailed('usage', fleet.refusal)
  if (url !== null) {
    const node = { id: remoteId, engine: 'meilisearch', url, key: key?.reveal() ?? null, region: localRegion } as const
    await registerRemoteNode(node, { catalogue, clock, signal: supervisor.signal })
    return undefined
  }
  const driver = await supervisor.start(
    'engines',
    async () =>
      createProcessDriver({
        folder: join(resolve(config.data.dir), 'engines'),
        engine: kind,
        clock,
        launch: ({ key: ownKey, ...start }) =>
          startLocalNode({
            ...start,
            ...(ownKey === null ? {} : { key: ownKey }),
            engine: kind,
            self: { command: process.execPath, args: [...nodeOptions, script] },
            bin,
            indexingMemoryBytes,
            hasMetrics: config.fleet.mode !== 'off',
            allowedNetworks: config.outbound.allowedIpNetworks,
            ...{ env, catalogue, random, clock, logger },
          }),
      }),
    (processes) => processes.close(),
  )
  const known = new Set((await catalogue.nodes()).map(({ id }) => id))
  const boot = (node: LocalNode) =>
    supervisor.start(
      `engine ${node.id}`,
      () => driver.boot(node),
      () => undefined,
    )
  await Promise.all(
    fleet.nodes.map((node) =>
      boot(node).catch((error: unknown) => {
        // The keeper sees that it is down, and brings it back.
        if (config.fleet.mode !== 'act' || !known.has(node.id) || !(error instanceof ChildFailed)) throw error
        logger.error({ node: node.id, err: error }, 'an engine did not start; the others serve')
      }),
    ),
  )
  return driver
}

export interface FleetParts {
  readonly host: Host
  readonly context: CommandContext
  readonly store: Store
  readonly metrics: Registry
  /** Engines that this program runs itself. */
  readonly local: NodeDriver | undefined
  readonly supervisor: Supervisor
  readonly logger: Logger
}

export async function startFleet({
  host,
  context,
  store,
  metrics,
  local,
  supervisor,
  logger,
}: FleetParts): Promise<void> {
  const { config, env } = context
  const { clock, random } = host
  const { mode } = config.fleet
  if (mode === 'off') return
  const [{ openDrivers }, { startFleetKeeper }, { createFleetMetrics }] = await Promise.all([
    import('./orchestrator/fleet/drivers.ts'),
    import('./orchestrator/fleet/keeper.ts'),
    import('./orchestrator/fleet/fleet-metrics.ts'),
  ])
  const { catalogue, fleet, replicas, moves, localSecret } = store
  const drivers = openDrivers({
    ...{ config: config.fleet, engine: config.engine.kind, local, env },
    nodes: () => catalogue.nodes(),
  })
  await supervisor.start(
    'keeper of the fleet',
    async () =>
      startFleetKeeper({
        worker: random.uuid(),
        ...{ fleet, catalogue, replicas, moves, drivers, clock, random, log: logger },
        rules: fleetRules(config.fleet, mode),
        metrics: createFleetMetrics(metrics),
        keyOf: (node) => localSecret(`key of node ${node}`).toString('hex'),
        openEngine: ({ url, key }) => createHttpEngine({ url, key }),
      }),
    (keeper) => keeper.stop(),
  )
}

function fleetRules(fleet: Config['fleet'], mode: FleetMode): FleetRules {
  const { suspectAfter, downAfter, upAfter, lostAfterMs, startMsMax, healing, scaling } = fleet
  const { probeMs, probeTimeoutMs, sampleMs, provisionMsMax } = fleet
  const {
    cpuPercentMax,
    memoryPercentMax,
    diskPercentMax,
    dataBytesMax,
    searchMsMax,
    searchesPerSecondMax,
    indexesMax,
  } = scaling
  const limits = {
    ...{ cpuPercentMax, memoryPercentMax, diskPercentMax, dataBytesMax },
    ...{ searchMsMax, searchesPerSecondMax, indexesMax },
  }
  const isLimited = Object.values(limits).some((limit) => limit !== null)
  return {
    ...{ mode, probeMs, probeTimeoutMs, sampleMs, provisionMsMax, healing },
    health: { suspectAfter, downAfter, upAfter, lostAfterMs, startMsMax },
    scaling: isLimited ? { ...scaling, limits } : null,
  }
}
