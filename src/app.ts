/** The long-running programs: which parts they start, in which order, and how their failures become exit codes. */
import cluster from 'node:cluster'
import { resolve } from 'node:path'
import pino, { type Logger } from 'pino'
import type { CommandContext, EngineOptions, Programs } from './cli/command-context.ts'
import { loadDemoData } from './cli/demo-data.ts'
import type { ExitName } from './cli/exit-codes.ts'
import { applyLaunchWebhook, ensureFirstProject } from './cli/first-project.ts'
import { suggestSearch, welcome } from './cli/welcome.ts'
import { LoadRefused } from './embedded/engine-loading.ts'
import { startEngines, startFleet } from './fleet.ts'
import { checkPort, PortInUse } from './lib/loopback-port.ts'
import { SealingCommandFailed } from './lib/sealing-command.ts'
import { CertificateUnusable } from './lib/tls-files.ts'
import { type AskGateways, createMetrics, startOperator } from './metrics.ts'
import { ChildFailed } from './orchestrator/child-process.ts'
import { DriverFailed } from './orchestrator/drivers/node-driver.ts'
import { FolderInUse, lockFolder } from './orchestrator/folder-lock.ts'
import { EngineUnavailable } from './orchestrator/local-driver.ts'
import { createSupervisor, type Supervisor } from './orchestrator/supervisor.ts'
import { succeedWorker } from './orchestrator/worker-identity.ts'
import { createLogger, type Host, operatorDeps, startGateways, startOneGateway, startRedirect } from './parts.ts'
import { announce, databaseOf, openOwnStore, startDatabase, startStore } from './storage.ts'
import { WrongSealingKey } from './store/key-ring.ts'
import { StoreUnavailable } from './store/ports.ts'
import { PostgresUnusable } from './store/postgres-server.ts'
import { SchemaTooNew } from './store/schema.ts'
import { startTraces } from './traces.ts'
import { startControl, startEmbeddedEngine, startWorker } from './workers.ts'

/** One part that does not stop may not hold the others for longer than this. */
const stopMsMax = 20_000

export function createPrograms(host: Host): Programs {
  return {
    up: (context) => supervise(host, context, (supervisor, logger) => runUp(host, context, supervisor, logger)),
    serve: (context) => supervise(host, context, (supervisor, logger) => runServe(host, context, supervisor, logger)),
    engine: (context, options) =>
      supervise(host, context, (supervisor, logger) => runEngine(host, context, options, supervisor, logger)),
    openStore: (config) => openOwnStore(host, config, databaseOf(config), silent),
  }
}

const notStarted: AskGateways = async () => [{ status: 503, body: { ready: false } }]

const silent = pino({ level: 'silent' })

/** Runs parts until the program is told to stop or one of them fails, and stops them in order either way. */
async function supervise(
  { clock, stopAsked }: Host,
  { config, terminal }: CommandContext,
  run: (supervisor: Supervisor, logger: Logger) => Promise<Promise<void>[]>,
): Promise<void> {
  const logger = createLogger(config)
  const supervisor = createSupervisor({ logger, clock, stopMsMax })
  // A signal during the start ends it at once: whatever waits listens to `supervisor.signal`.
  const asked = stopAsked.then((signal) => {
    if (!cluster.isWorker) terminal.remark(signal === 'SIGINT' ? '\nStopping …' : 'Stopping …')
  })
  try {
    const ends = await Promise.race([run(supervisor, logger), asked])
    await Promise.race([asked, ...(ends ?? [])])
  } finally {
    await supervisor.stop()
  }
}

async function runUp(host: Host, context: CommandContext, supervisor: Supervisor, logger: Logger) {
  const { config, terminal } = context
  const { clock, version } = host
  const dataDir = resolve(config.data.dir)
  const lock = await supervisor.start(
    'folder lock',
    async () => lockFolder(dataDir),
    (held) => held.release(),
  )
  const { host: address, port } = config.http.address
  await checkPort(address, port)

  const database = await startDatabase(host, config, supervisor, logger)
  const store = await startStore(host, config, database, supervisor, logger)
  const { project, isNew } = await ensureFirstProject(store.catalogue, config.project)
  await applyLaunchWebhook(store.catalogue, project, config.project)

  announce(lock, null, database)
  const metrics = createMetrics(config)
  const gateways = { ask: notStarted }
  await startOperator(config, metrics, gateways, operatorDeps(host, config, store, supervisor, logger), supervisor)
  const local = await startEngines(host, context, store, supervisor, logger)
  const traces = await startTraces(host, config, supervisor, logger)
  await startWorker(host, config, store, succeedWorker(dataDir, host.random), metrics, supervisor, logger, traces)
  await startFleet({ host, context, store, metrics, local, supervisor, logger })
  await startControl(host, config, store, supervisor, logger)
  // Started last, so that it is stopped first: requests in flight still find everything behind it.
  const { url, ask } = await startGateways(host, config, store, metrics, supervisor, logger, traces)
  await startRedirect(config, url, supervisor)
  gateways.ask = ask
  announce(lock, url, database)

  const keys = await store.catalogue.keys(project.id)
  welcome(terminal, { url, version, dataDir, project, keys, isNew })
  // Over TLS we would have to trust a certificate that is made for others.
  if (isNew && !config.project.empty && config.tls.certFile === null) {
    await loadDemoData({ url, masterKey: project.masterKey }, { terminal, clock, signal: supervisor.signal })
    suggestSearch(terminal, url, project, keys)
  }
  return []
}

async function runServe(host: Host, context: CommandContext, supervisor: Supervisor, logger: Logger) {
  const { config, terminal } = context
  const database = databaseOf(config)
  const roles = config.worker.roles
  // A gateway can serve searches without the database, once it knows its routes.
  const mayWait = roles.every((role) => role === 'gateway')
  const store = await startStore(host, config, database, supervisor, logger, mayWait)
  const metrics = createMetrics(config)
  const gateways = { ask: roles.includes('gateway') ? notStarted : async () => [] }
  await startOperator(config, metrics, gateways, operatorDeps(host, config, store, supervisor, logger), supervisor)
  const traces = await startTraces(host, config, supervisor, logger)
  if (roles.includes('worker')) {
    const succession = { worker: host.random.uuid(), predecessor: undefined }
    await startWorker(host, config, store, succession, metrics, supervisor, logger, traces)
    await startFleet({ host, context, store, metrics, local: undefined, supervisor, logger })
  }
  if (roles.includes('control')) await startControl(host, config, store, supervisor, logger)
  if (roles.includes('gateway')) {
    const { url, ask } = await startOneGateway(host, config, store, metrics, supervisor, logger, traces)
    gateways.ask = ask
    if (!cluster.isWorker) await startRedirect(config, url, supervisor)
    if (!cluster.isWorker) terminal.answer({ url, roles: [...roles] }, `Flapjack ${host.version} serves on ${url}`)
  } else {
    terminal.answer({ roles: [...roles] }, `Flapjack ${host.version} works as ${roles.join(', ')}`)
  }
  return []
}

async function runEngine(
  host: Host,
  { config, terminal }: CommandContext,
  { endsWithParent }: EngineOptions,
  supervisor: Supervisor,
  logger: Logger,
) {
  await checkPort(config.http.address.host, config.http.address.port)
  const lock = await supervisor.start(
    'folder lock',
    async () => lockFolder(resolve(config.data.dir)),
    (held) => held.release(),
  )
  const url = await startEmbeddedEngine(host, config, supervisor, logger)
  lock.announce({ url })
  terminal.answer({ url }, `Flapjack engine ${host.version} serves on ${url}`)
  return endsWithParent ? [endOfInput()] : []
}

/** Our standard input is a pipe from the process that started us; it ends when that process does. */
function endOfInput(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.once('close', () => resolve())
    process.stdin.once('end', () => resolve())
    process.stdin.resume()
  })
}

/** Errors of the parts that have an exit code of their own. */
export function exitOf(error: unknown): ExitName | undefined {
  if (error instanceof FolderInUse) return 'folderInUse'
  if (error instanceof LoadRefused || error instanceof CertificateUnusable || error instanceof DriverFailed)
    return 'usage'
  if (error instanceof SealingCommandFailed) return 'usage'
  if (error instanceof PortInUse || (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) {
    return 'portInUse'
  }
  if (error instanceof EngineUnavailable || error instanceof ChildFailed) return 'engineUnavailable'
  if (error instanceof WrongSealingKey) return 'wrongSealingKey'
  if ([StoreUnavailable, PostgresUnusable, SchemaTooNew].some((kind) => error instanceof kind))
    return 'storeUnavailable'
  return undefined
}
