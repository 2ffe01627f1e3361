/** Builds each part of the program from the configuration, and hands it to the supervisor that will stop it. */
import cluster from 'node:cluster'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import pino, { type Logger } from 'pino'
import type { Registry } from 'prom-client'
import { emulatedRelease } from './api/names.ts'
import { CommandFailed } from './cli/exit-codes.ts'
import { standaloneEngine, standaloneFeatures } from './cli/standalone-engine.ts'
import { type Config, configEnvironment, type Environment } from './config/config.ts'
import { createFleetOrders } from './control/fleet-orders.ts'
import { createMoveOrders } from './control/move-orders.ts'
import { addNode } from './control/node-registration.ts'
import type { RateLimitOptions } from './control/rate-limits.ts'
import { createReplicaCheckOrders } from './control/replica-check-orders.ts'
import type { TokenStore } from './control/shared-rate-limits.ts'
import { platformKeys, tokenPurpose } from './control/token-keys.ts'
import { startWebhookSender } from './control/webhook-sender.ts'
import type { EngineCore } from './embedded/core.ts'
import type { Engine } from './engine/engine.ts'
import { createEngineKeys } from './engine/engine-keys.ts'
import { createEngineRules, type EngineRules } from './engine/engine-rules.ts'
import { createHttpEngine, type HttpEngine } from './engine/http-engine.ts'
import type { ClusterRoutes } from './gateway/cluster-routes.ts'
import { startGateway } from './gateway/gateway.ts'
import { readCommand, readReply } from './gateway/gateway-admin.ts'
import { followRoutes } from './gateway/route-follower.ts'
import { startSecureRedirect } from './gateway/secure-redirect.ts'
import { openStore, type Store, type StoreOptions } from './journal/open-store.ts'
import type { Clock } from './lib/clock.ts'
import { createEgressPolicy } from './lib/egress-policy.ts'
import type { Random } from './lib/random.ts'
import { loadSealingKey, parseSealingKey, readSealingKey, type SealingKey } from './lib/seal.ts'
import { runSealingCommand } from './lib/sealing-command.ts'
import type { TlsFiles } from './lib/tls-files.ts'
import type { Traces } from './lib/traces.ts'
import type { AskGateways, OperatorDeps } from './metrics.ts'
import { startBackupKeeper } from './orchestrator/backups/backup-keeper.ts'
import { backupPurpose, openBackupObjects } from './orchestrator/backups/backup-place.ts'
import { keepDatabase } from './orchestrator/database-keeper.ts'
import { keepEngineCredentials } from './orchestrator/engine-credentials.ts'
import { type FolderLock, lockOwner } from './orchestrator/folder-lock.ts'
import { startGatewayProcesses } from './orchestrator/gateway-processes.ts'
import { startAntiEntropy } from './orchestrator/moves/anti-entropy.ts'
import { createAntiEntropyMetrics } from './orchestrator/moves/anti-entropy-metrics.ts'
import { startMover } from './orchestrator/moves/mover.ts'
import { createRuleTeller, keepNodeRules } from './orchestrator/node-rules.ts'
import { answerQuestions } from './orchestrator/process-questions.ts'
import { startProjectWork } from './orchestrator/project-work.ts'
import { startReconciler } from './orchestrator/reconciler/reconciler.ts'
import { startRetention } from './orchestrator/retention.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'
import { WorkFailure } from './orchestrator/work-failure.ts'
import type { WorkerSuccession } from './orchestrator/worker-identity.ts'
import type { ReadCredentials } from './replication/dependencies.ts'
import { createLaneMetrics } from './replication/lane-metrics.ts'
import { startReplication } from './replication/replication.ts'
import type { Node } from './store/catalogue.ts'
import type { ObjectStore } from './store/objects/object-store.ts'
import { StoreUnavailable } from './store/ports.ts'
import { startPostgres } from './store/postgres-server.ts'
import { tracedLanes } from './traces.ts'

export interface Host {
  /** This program's file, to start more of it. */
  readonly script: string
  /** Options of the Node program itself, such as a loader. */
  readonly nodeOptions: readonly string[]
  readonly env: Environment
  readonly clock: Clock
  readonly random: Random
  readonly version: string
  /** Resolves at the first SIGINT, SIGTERM or SIGHUP. */
  readonly stopAsked: Promise<string>
}

export async function startDatabase(
  { clock, env }: Host,
  config: Config,
  supervisor: Supervisor,
  logger: Logger,
): Promise<StoreOptions['database']> {
  if (config.store.databaseUrl) return { kind: 'url', url: config.store.databaseUrl.reveal() }
  const options = {
    folder: join(resolve(config.data.dir), 'postgres'),
    searchPath: env.PATH ?? '',
    ...(config.store.postgresBin === null ? {} : { binFolder: config.store.postgresBin }),
  }
  const { connection } = await supervisor.start(
    'database',
    () => keepDatabase(() => startPostgres(options), { logger, clock }),
    (keeper) => keeper.stop(),
  )
  return { kind: 'postgres', connection }
}

export async function startStore(
  host: Host,
  config: Config,
  database: StoreOptions['database'],
  supervisor: Supervisor,
  logger: Logger,
  mayWait = false,
): Promise<Store> {
  const store = await supervisor.start(
    'store',
    () => openOwnStore(host, config, database, logger),
    (opened) => opened.close(),
  )
  try {
    await store.migrate()
    supervisor.watch('blob sweep', sweepBlobs(store, logger))
    supervisor.watch('secrets', placeSecrets(store, logger))
  } catch (error) {
    if (!mayWait || !(error instanceof StoreUnavailable)) throw error
    supervisor.watch('schema', migrateLater(store, host, supervisor.signal, logger))
  }
  return store
}

async function sweepBlobs(store: Store, logger: Logger): Promise<void> {
  const removed = await store.sweepBlobs()
  logger.debug({ removed }, 'blobs swept')
}

async function placeSecrets(store: Store, logger: Logger): Promise<void> {
  try {
    const placed = await store.placeSecrets()
    if (placed > 0) logger.info({ placed }, 'secrets stand under the data keys of their organisations')
  } catch (error) {
    // They open as they are; the next start tries again.
    logger.warn({ err: error }, 'secrets could not be sealed under the data keys of their organisations')
  }
}

/** Until then the store's calls fail as while the database is away. */
async function migrateLater(store: Store, { clock }: Host, signal: AbortSignal, logger: Logger): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(migrateAgainMs, signal)
    try {
      await store.migrate()
      await placeSecrets(store, logger)
      return await sweepBlobs(store, logger)
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
    }
  }
}

const migrateAgainMs = 1_000

export async function openOwnStore(
  { clock, random }: Host,
  config: Config,
  database: StoreOptions['database'],
  logger: Logger,
): Promise<Store> {
  const dataDir = resolve(config.data.dir)
  const { sealingKey, sealingKeyCommand, sealingKeyNext, connectionsMax } = config.store
  const { shards, replicationFactor, exactTies, writeAdmission, meilisearchIndexesMax } = config.cluster
  const keyFile = join(dataDir, 'sealing.key')
  // Only `up` owns the folder, and may make its key. Anything else would make one that opens nothing.
  if (!sealingKey && sealingKeyCommand === null && lockOwner(dataDir)?.pid !== process.pid && !existsSync(keyFile)) {
    throw new CommandFailed(
      'usage',
      `there is no sealing key in ${dataDir}; name the data folder that the database was made with (--data-dir), or give its key (FLAPJACK_SEALING_KEY)`,
    )
  }
  // Read each time: the key may be replaced while we run.
  const otherSealingKeys = async () => {
    if (sealingKeyNext) return [parseSealingKey(sealingKeyNext.reveal())]
    if (sealingKey || sealingKeyCommand !== null) return []
    const found = await Promise.all([keyFile, `${keyFile}.next`].map(readSealingKey))
    return found.filter((key) => key !== undefined)
  }
  return openStore({
    database,
    blobFolder: join(dataDir, 'blobs'),
    sealingKey: await ownSealingKey(config, keyFile),
    otherSealingKeys,
    clock,
    random,
    logger,
    connectionCountMax: connectionsMax,
    admission: writeAdmission,
    indexesPerNode: { meilisearch: meilisearchIndexesMax },
    spread: shards === null ? null : { shards, replicationFactor, exactTies },
  })
}

async function ownSealingKey({ store }: Config, keyFile: string): Promise<SealingKey> {
  if (store.sealingKey) return parseSealingKey(store.sealingKey.reveal())
  return store.sealingKeyCommand === null ? loadSealingKey(keyFile) : runSealingCommand(store.sealingKeyCommand)
}

/** The database of a running `up`, which announced it in its data folder, unless one is configured. */
export function databaseOf(config: Config): StoreOptions['database'] {
  if (config.store.databaseUrl) return { kind: 'url', url: config.store.databaseUrl.reveal() }
  const announced = lockOwner(config.data.dir)?.database
  if (typeof announced !== 'string') {
    throw new CommandFailed(
      'notFound',
      `nothing runs in ${config.data.dir}; start it with \`flapjack up\`, name its folder with --data-dir, or set DATABASE_URL`,
    )
  }
  // Written by `announce` below, in a file that only we and its owner can read.
  return JSON.parse(announced)
}

export function announce(lock: FolderLock, url: string | null, database: StoreOptions['database']): void {
  lock.announce({
    ...(url === null ? {} : { url }),
    ...(database.kind === 'postgres' ? { database: JSON.stringify(database) } : {}),
  })
}

/** Networks in which nodes are usually found, besides those that the configuration allows. Not this machine, and no links. */
const nodeNetworks = ['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']

/** Takes a node into the fleet that an operator names over HTTP (C-57, C-58). */
function nodeAdder(
  { clock }: Host,
  config: Config,
  { catalogue }: Store,
  { signal }: Supervisor,
  logger: Logger,
): ClusterRoutes['addNode'] {
  const { allowedIpNetworks } = config.outbound
  const egress = createEgressPolicy({
    allowed: allowedIpNetworks === 'any' ? 'any' : [...nodeNetworks, ...allowedIpNetworks],
  })
  return async (wanted) => {
    const node = await addNode(wanted, { catalogue, clock, signal, fault: (url) => egress.fault(url) })
    logger.warn({ node: node.id, url: node.url, group: node.group }, 'a node was added')
    return node
  }
}

/** What operators do over HTTP beyond asking gateways. */
export function operatorDeps(
  host: Host,
  config: Config,
  store: Store,
  supervisor: Supervisor,
  logger: Logger,
): OperatorDeps {
  return {
    addNode: nodeAdder(host, config, store, supervisor, logger),
    moves: createMoveOrders({ ...store, clock: host.clock, random: host.random }),
    fleet: createFleetOrders({ ...store, config: config.fleet, engine: config.engine.kind, clock: host.clock }),
    checks: createReplicaCheckOrders(store),
  }
}

export interface StartedGateways {
  readonly url: string
  readonly ask: AskGateways
}

export async function startGateways(
  host: Host,
  config: Config,
  store: Store,
  metrics: Registry,
  supervisor: Supervisor,
  logger: Logger,
  traces: Traces | undefined,
): Promise<StartedGateways> {
  const { gateways, address } = config.http
  if (gateways === 1) return startOneGateway(host, config, store, metrics, supervisor, logger, traces)
  const { port, ask } = await supervisor.start(
    'gateways',
    () =>
      startGatewayProcesses({
        count: gateways,
        script: host.script,
        args: ['serve', '--role', 'gateway'],
        // What opens the engines is no business of gateways.
        env: { ...configEnvironment(config), FLAPJACK_ENGINE_KEY: '' },
        logger,
        clock: host.clock,
      }),
    (processes) => processes.stop(),
  )
  return {
    url: `${config.tls.certFile === null ? 'http' : 'https'}://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`,
    ask: async (command) => (await ask({ ...command })).map(readReply),
  }
}

export async function startOneGateway(
  { clock, random }: Host,
  config: Config,
  { gatewayCatalogue: catalogue, journal, gateways, secrets, localSecret }: Store,
  metrics: Registry,
  supervisor: Supervisor,
  logger: Logger,
  traces: Traces | undefined,
): Promise<StartedGateways> {
  const { address, bodyBytesMax, drainMs } = config.http
  const { routeCopyAgeMsMax, trustMsMax } = config.store
  const copyPath = join(resolve(config.data.dir), 'routes.copy')
  const host = address.host.includes(':') ? `[${address.host}]` : address.host
  const tokenStore = await startTokenStore(config, clock, supervisor, logger)
  const gateway = await supervisor.start(
    'gateway',
    () =>
      startGateway({
        httpAddr: `${host}:${address.port}`,
        catalogue,
        journal,
        logger,
        metrics,
        clock,
        random,
        limits: { documentBytesMax: bodyBytesMax, projectRequestsMax: config.limits.projectRequestsMax },
        registry: gateways,
        rateLimits: rateLimitsOf(config),
        ...(tokenStore && { tokenStore }),
        ...(traces && { traces }),
        ...tlsOf(config),
        hosts: { baseDomain: config.http.baseDomain?.toLowerCase() ?? null, region: config.http.region.toLowerCase() },
        isShareFixed: config.limits.shareCount !== null,
        authFailuresPerMinute: config.limits.authFailuresPerMinute,
        platformKeys: platformKeys(() => secrets(tokenPurpose)),
        outbound: { allowed: config.outbound.allowedIpNetworks, httpsOnly: config.outbound.httpsOnly },
        ...(routeCopyAgeMsMax === 0
          ? {}
          : { routeCopy: { path: copyPath, key: localSecret('route copy'), ageMsMax: routeCopyAgeMsMax } }),
        trustMsMax,
        health: config.cluster.health,
        cluster: config.cluster,
        isTestMode: config.operator.testMode,
      }),
    (started) => started.close(drainMs),
  )
  // The first process asks for all of us.
  if (cluster.isWorker) answerQuestions(async (question) => ({ ...(await gateway.admin(readCommand(question))) }))
  return { url: gateway.url, ask: async (command) => [await gateway.admin(command)] }
}

function tlsOf({ tls: { certFile, keyFile } }: Config): { readonly tls?: TlsFiles } {
  return certFile === null || keyFile === null ? {} : { tls: { certFile, keyFile } }
}

/** Sends clients that speak plain HTTP to where HTTPS is answered. */
export async function startRedirect({ tls: { redirectAddress } }: Config, url: string, supervisor: Supervisor) {
  if (redirectAddress === null) return
  const securePort = Number(new URL(url).port || 443)
  await supervisor.start(
    'redirect to HTTPS',
    () => startSecureRedirect({ ...redirectAddress, securePort }),
    (redirect) => redirect.close(),
  )
}

/** Loaded only where one is configured. */
async function startTokenStore(
  { limits: { redisUrl } }: Config,
  clock: Clock,
  supervisor: Supervisor,
  logger: Logger,
): Promise<TokenStore | undefined> {
  if (redisUrl === null) return undefined
  const { openRedisTokens } = await import('./control/redis-tokens.ts')
  return supervisor.start(
    'store of rate limits',
    async () => openRedisTokens({ url: redisUrl.reveal(), clock, log: logger }),
    (tokens) => tokens.close(),
  )
}

function rateLimitsOf({ limits, http }: Config): RateLimitOptions {
  return {
    key: { search: limits.keySearchPerSecond, write: limits.keyWritePerSecond, admin: limits.keyAdminPerSecond },
    project: {
      search: limits.projectSearchPerSecond,
      write: limits.projectWritePerSecond,
      admin: limits.projectAdminPerSecond,
    },
    burstSeconds: limits.burstSeconds,
    shareCount: limits.shareCount ?? http.gateways,
  }
}

const engineRules =
  (clock: Clock) =>
  ({ url, key }: Node): EngineRules =>
    createEngineRules({ url, key, clock })

/** @param succession  leases of a predecessor that is known to be gone are given back first. */
export async function startWorker(
  { clock, random }: Host,
  { moves: { perNodeMax, totalMax, windows }, cluster: { antiEntropy }, store: { payloadRetentionMs } }: Config,
  { catalogue, engineCredentials, nodeRules, laneJournal, replicas, moves, replicaChecks, gateways }: Store,
  { worker, predecessor }: WorkerSuccession,
  metrics: Registry,
  supervisor: Supervisor,
  logger: Logger,
  traces: Traces | undefined,
): Promise<void> {
  const engines = keepEngines()
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
        limits: { perNode: perNodeMax, total: totalMax },
        windows,
        clock,
        log: logger,
      }),
    async (mover) => {
      await mover.stop()
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
  let objects: Promise<ObjectStore> | undefined
  await supervisor.start(
    'backups',
    async () =>
      startBackupKeeper({
        ...store,
        ...{ worker: random.uuid(), lanes: laneJournal, engineOf: engines.of, clock, random, log: logger },
        secret: store.localSecret(backupPurpose),
        objects: () => {
          objects ??= openBackupObjects(config)
          return objects
        },
      }),
    async (keeper) => {
      await keeper.stop()
      ;(await objects)?.close()
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

export function createLogger(config: Config): Logger {
  const level = config.log.level === 'off' ? 'silent' : config.log.level
  // Errors of libraries carry whole connections with them; a log line says what happened and where.
  const err = (error: unknown) =>
    error instanceof Error
      ? { type: error.name, message: error.message, stack: error.stack, code: 'code' in error ? error.code : undefined }
      : error
  const options = { level, base: { pid: process.pid }, serializers: { err } }
  return pino(options, pino.destination({ dest: 2, sync: true }))
}

/** Loaded only where it runs: storage and worker threads have no business in a gateway's memory. */
/** How long an engine waits for one that must be about to end. */
const formerHolderMs = 10_000

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
