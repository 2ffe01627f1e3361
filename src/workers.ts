import { resolve } from 'node:path'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { emulatedRelease } from './api/names.ts'
import { standaloneEngine, standaloneFeatures } from './cli/standalone-engine.ts'
import type { Config } from './config/config.ts'
import { startWebhookSender } from './control/webhook-sender.ts'
import type { EngineCore } from './embedded/core.ts'
import type { Engine } from './engine/engine.ts'
import { createEngineKeys } from './engine/engine-keys.ts'
import { createEngineRules, type EngineRules } from './engine/engine-rules.ts'
import { createHttpEngine, type HttpEngine } from './engine/http-engine.ts'
import { followRoutes } from './gateway/route-follower.ts'
import type { Store } from './journal/open-store.ts'
import type { Clock } from './lib/clock.ts'
import { createEgressPolicy } from './lib/egress-policy.ts'
import type { Traces } from './lib/traces.ts'
import { startBackupKeeper } from './orchestrator/backups/backup-keeper.ts'
import { backupPurpose } from './orchestrator/backups/backup-parts.ts'
import { keepEngineCredentials } from './orchestrator/engine-credentials.ts'
import { startAntiEntropy } from './orchestrator/moves/anti-entropy.ts'
import { createAntiEntropyMetrics } from './orchestrator/moves/anti-entropy-metrics.ts'
import { startMover } from './orchestrator/moves/mover.ts'
import { createRuleTeller, keepNodeRules } from './orchestrator/node-rules.ts'
import { openBackupObjects, openPlace } from './orchestrator/object-place.ts'
import { startProjectWork } from './orchestrator/project-work.ts'
import { startReconciler } from './orchestrator/reconciler/reconciler.ts'
import { startRetention } from './orchestrator/retention.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'
import { WorkFailure } from './orchestrator/work-failure.ts'
import type { WorkerSuccession } from './orchestrator/worker-identity.ts'
import type { Host } from './parts.ts'
import type { ReadCredentials } from './replication/dependencies.ts'
import { createLaneMetrics } from './replication/lane-metrics.ts'
import { startReplication } from './replication/replication.ts'
import type { Node } from './store/catalogue.ts'
import type { ObjectStore } from './store/objects/object-store.ts'
import { tracedLanes } from './traces.ts'

const engineRules =
  (clock: Clock) =>
  ({ url, key }: Node): EngineRules =>
    createEngineRules({ url, key, clock })

/** @param succession  leases of a predecessor that is known to be gone are given back first. */
export async function startWorker(
  { clock, random }: Host,
  config: Config,
  { catalogue, engineCredentials, nodeRules, laneJournal, replicas, moves, replicaChecks, gateways }: Store,
  { worker, predecessor }: WorkerSuccession,
  metrics: Registry,
  supervisor: Supervisor,
  logger: Logger,
  traces: Traces | undefined,
): Promise<void> {
  const {
    moves: { perNodeMax, totalMax, windows, transferTarget },
    cluster: { antiEntropy },
    store: { payloadRetentionMs },
  } = config
  const engines = keepEngines()
  const transfers = transferTarget === null ? undefined : keepObjects(() => openPlace(config, transferTarget))
  if (predecessor !== undefined) await laneJournal.releaseNodes(predecessor)
  const credentials = await supervisor.start(
    'keys of gateways',
    async () =>
      keepEngineCredentials({
        credentials: engineCredentials,
        nodes: () => catalogue.nodes(),
        keysOf: ({ url, key }) => createEngineKeys({ url, key: key ?? '' }),
        clock,
        log: logger,
      }),
    (keeper) => keeper.stop(),
  )
  const rules = await supervisor.start(
    'search rules of nodes',
    async () => {
      const parts = { rules: nodeRules, catalogue, clock, log: logger }
      return keepNodeRules({ ...parts, teller: createRuleTeller({ ...parts, engineRules: engineRules(clock) }) })
    },
    (keeper) => keeper.stop(),
  )
  const readiness: ReadCredentials = {
    async settle(node, signal) {
      await credentials.settle(node, signal)
      await rules.settle(node, signal)
    },
    async ensure(node, project, signal) {
      await credentials.ensure(node, project, signal)
      await rules.ensure(node, project, signal)
    },
  }
  await supervisor.start(
    'lanes',
    async () =>
      startReplication({
        worker,
        journal: laneJournal,
        engineOf: engines.of,
        credentials: readiness,
        gateways,
        clock,
        random,
        log: logger,
        metrics: tracedLanes(createLaneMetrics(metrics), traces),
      }),
    (replication) => replication.stop(),
  )
  await supervisor.start(
    'moves',
    async () =>
      startMover({
        worker,
        moves,
        replicas,
        journal: laneJournal,
        catalogue,
        gateways,
        credentials: readiness,
        engineOf: engines.of,
        ...(transfers && { transfers: transfers.get }),
        limits: { perNode: perNodeMax, total: totalMax },
        windows,
        clock,
        log: logger,
      }),
    async (mover) => {
      await mover.stop()
      await transfers?.close()
      await engines.close()
    },
  )
  await supervisor.start(
    'placing of indexes',
    async () => startReconciler({ catalogue, replicas, moves, lanes: laneJournal, clock, random, log: logger }),
    (reconciler) => reconciler.stop(),
  )
  if (!antiEntropy.enabled) return
  const { intervalMs, documentsPerSecond, autoRepair } = antiEntropy
  await supervisor.start(
    'comparing of replicas',
    async () =>
      startAntiEntropy({
        ...{ worker, replicas, catalogue, engineOf: engines.of, clock, log: logger, checks: replicaChecks },
        ...{ intervalMs, documentsPerSecond, metrics: createAntiEntropyMetrics(metrics, clock) },
        // Without all payloads nothing can be built anew from the journal.
        mayRebuild: autoRepair && payloadRetentionMs === null,
      }),
    (comparing) => comparing.stop(),
  )
}

/** What a project asks for beyond its indexes: dumps, snapshots and exports, and calls to its webhooks. */
export async function startControl(
  { clock, random }: Host,
  config: Config,
  store: Store,
  supervisor: Supervisor,
  logger: Logger,
): Promise<void> {
  const { catalogue, journal, laneJournal, nodeRules } = store
  const egress = createEgressPolicy({
    allowed: config.outbound.allowedIpNetworks,
    httpsOnly: config.outbound.httpsOnly,
  })
  const routes = await supervisor.start(
    'routes of the control part',
    () => followRoutes({ catalogue, clock, log: logger }),
    (follower) => follower.close(),
  )
  const engines = keepEngines()
  await supervisor.start(
    'project work',
    async () =>
      startProjectWork({
        worker: random.uuid(),
        journal,
        work: laneJournal,
        catalogue,
        rules: createRuleTeller({ rules: nodeRules, catalogue, engineRules: engineRules(clock), log: logger }),
        table: () => routes.table,
        engineOf: engines.of,
        remoteEngine: async (url, key) => {
          const fault = egress.fault(new URL(url))
          if (fault !== undefined) throw new WorkFailure(fault)
          return createHttpEngine({ url, key, lookup: egress.lookup })
        },
        folder: resolve(config.data.dir),
        engineVersion: emulatedRelease,
        clock,
        log: logger,
      }),
    async (work) => {
      await work.stop()
      await engines.close()
    },
  )
  await supervisor.start(
    'retention',
    async () =>
      startRetention({
        journal: laneJournal,
        payloadMs: config.store.payloadRetentionMs,
        restoreMs: config.backups.restoreWindowMs,
        clock,
        log: logger,
      }),
    (retention) => retention.stop(),
  )
  const objects = keepObjects(() => openBackupObjects(config))
  const payloadMs = config.store.payloadRetentionMs
  await supervisor.start(
    'backups',
    async () =>
      startBackupKeeper({
        ...store,
        ...{ worker: random.uuid(), lanes: laneJournal, engineOf: engines.of, clock, random, log: logger },
        secret: store.localSecret(backupPurpose),
        retainedMs: payloadMs === null ? null : Math.max(payloadMs, config.backups.restoreWindowMs),
        objects: objects.get,
      }),
    async (keeper) => {
      await keeper.stop()
      await objects.close()
    },
  )
  await supervisor.start(
    'webhooks',
    async () => startWebhookSender({ journal, catalogue, egress, clock, log: logger }),
    (sender) => sender.stop(),
  )
}

/** Adapters by address and key: a node that restarts elsewhere gets another one. */
function keepEngines() {
  const engines = new Map<string, HttpEngine>()
  return {
    of({ id, url, key }: Node): Engine {
      const name = `${id} ${url} ${key}`
      const engine = engines.get(name) ?? createHttpEngine({ url, key })
      engines.set(name, engine)
      return engine
    },
    async close() {
      await Promise.all([...engines.values()].map((engine) => engine.close()))
    },
  }
}

/** One store of objects, opened when it is first asked for. */
function keepObjects(open: () => Promise<ObjectStore>) {
  let objects: Promise<ObjectStore> | undefined
  return {
    get(): Promise<ObjectStore> {
      objects ??= open()
      return objects
    },
    async close() {
      ;(await objects)?.close()
    },
  }
}

/** How long an engine waits for one that must be about to end. */
const formerHolderMs = 10_000

/** Loaded only where it runs: storage and worker threads have no business in a gateway's memory. */
export async function startEmbeddedEngine(
  { clock, random }: Host,
  config: Config,
  supervisor: Supervisor,
  logger: Logger,
): Promise<string> {
  const [{ openEngine }, { EngineFolderInUse }, { startEngineServer }, { startWebhookDelivery }] = await Promise.all([
    import('./embedded/engine-core.ts'),
    import('./embedded/folder-lock.ts'),
    import('./embedded/server/engine-server.ts'),
    import('./embedded/server/webhook-delivery.ts'),
  ])
  const { address, bodyBytesMax, drainMs } = config.http
  const egress = createEgressPolicy({
    allowed: config.outbound.allowedIpNetworks,
    httpsOnly: config.outbound.httpsOnly,
  })
  let opened: EngineCore | undefined
  const webhooks = await supervisor.start(
    'webhooks',
    async () =>
      startWebhookDelivery({
        store: () => opened?.store,
        egress,
        onFailure: (reason, webhook) => logger.warn({ webhook, reason }, 'webhook: the call failed'),
      }),
    (delivery) => delivery.close(),
  )
  const core = await supervisor.start(
    'engine core',
    async () => {
      const options = {
        ...standaloneEngine(config),
        indexingBytesMax: config.engine.indexingMemoryBytes,
        allowedNetworks: config.outbound.allowedIpNetworks,
        onFinished: webhooks.notify,
        onDamage: ({ indexUid, message }: { readonly indexUid: string | null; readonly message: string }) =>
          logger.error({ index: indexUid }, message),
      }
      const deadline = clock.monotonic() + formerHolderMs
      for (;;) {
        try {
          return await openEngine(resolve(config.data.dir), options, clock)
        } catch (error) {
          // Of a server that was killed while it started an engine, that engine may still be about to notice.
          if (!(error instanceof EngineFolderInUse) || clock.monotonic() > deadline) throw error
          await clock.sleep(100)
        }
      }
    },
    (running) => running.close(),
  )
  opened = core
  const server = await supervisor.start(
    'engine server',
    () =>
      startEngineServer({
        core,
        host: address.host,
        port: address.port,
        masterKey: config.project.masterKey?.reveal() ?? null,
        payloadBytesMax: bodyBytesMax,
        allowedNetworks: config.outbound.allowedIpNetworks,
        featuresOn: standaloneFeatures(config),
        egressFault: (url) => egress.fault(url),
        clock,
        random,
        onFailure: (error) => logger.error({ err: error }, 'a request failed'),
      }),
    (started) => started.close(drainMs),
  )
  return server.url
}
