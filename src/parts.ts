/** Builds each part of the program from the configuration, and hands it to the supervisor that will stop it. */
import cluster from 'node:cluster'
import { join, resolve } from 'node:path'
import pino, { type Logger } from 'pino'
import type { Registry } from 'prom-client'
import { type Config, configEnvironment, type Environment } from './config/config.ts'
import { createFleetOrders } from './control/fleet-orders.ts'
import { createMoveOrders } from './control/move-orders.ts'
import { addNode } from './control/node-registration.ts'
import type { RateLimitOptions } from './control/rate-limits.ts'
import { createReplicaCheckOrders } from './control/replica-check-orders.ts'
import { createReshardOrders } from './control/reshard-orders.ts'
import type { TokenStore } from './control/shared-rate-limits.ts'
import { platformKeys, tokenPurpose } from './control/token-keys.ts'
import type { ClusterRoutes } from './gateway/cluster-routes.ts'
import { startGateway } from './gateway/gateway.ts'
import { readCommand, readReply } from './gateway/gateway-admin.ts'
import { startSecureRedirect } from './gateway/secure-redirect.ts'
import type { Store } from './journal/open-store.ts'
import type { Clock } from './lib/clock.ts'
import { createEgressPolicy } from './lib/egress-policy.ts'
import type { Random } from './lib/random.ts'
import type { TlsFiles } from './lib/tls-files.ts'
import type { Traces } from './lib/traces.ts'
import type { AskGateways, OperatorDeps } from './metrics.ts'
import { startGatewayProcesses } from './orchestrator/gateway-processes.ts'
import { answerQuestions } from './orchestrator/process-questions.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'

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
    reshards: createReshardOrders({
      ...{ ...store, clock: host.clock, random: host.random },
      defaults: { replicationFactor: config.cluster.replicationFactor, exactTies: config.cluster.exactTies },
      keepsPayloads: config.store.payloadRetentionMs === null,
    }),
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
