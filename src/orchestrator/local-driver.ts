/**
 * Engine nodes as processes on this machine. Each has a folder, a log file, a key that the store keeps and a loopback
 * port that may change at a restart; the catalogue is told before requests go there.
 */

import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import type { Logger } from 'pino'
import { request } from 'undici'
import type { Clock } from '../lib/clock.ts'
import { type AllowedNetworks, networksText } from '../lib/egress-policy.ts'
import { freePort } from '../lib/loopback-port.ts'
import type { Random } from '../lib/random.ts'
import type { EngineKind, NodeId } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { type Launch, type SupervisedChild, superviseChild } from './child-process.ts'
import { takeChosenEngine } from './engine-choice.ts'

export interface LocalNodeOptions {
  readonly id: NodeId
  /** Replica group. */
  readonly group: number
  readonly engine: EngineKind
  /** Holds `db`, `engine.log` and the record of the process. */
  readonly folder: string
  /** How our own program is started again, for the embedded engine. */
  readonly self: { readonly command: string; readonly args: readonly string[] }
  /** Path of the Meilisearch program, for that engine. */
  readonly bin: string | null
  readonly indexingMemoryBytes: number
  /** Whether the engine may call embedders at private addresses. */
  readonly allowedNetworks: AllowedNetworks
  /** Environment of the child; variables that configure us or Meilisearch are left out of it. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Its key when the store has none for it. Default: a random one. */
  readonly key?: string
  /** Registers it only where it is known already: a new one is looked at first. Default false. */
  readonly isNew?: boolean
  /** The engine shows its metrics. Default false. */
  readonly hasMetrics?: boolean
  readonly catalogue: Pick<Catalogue, 'nodes' | 'putNode'>
  readonly random: Random
  readonly clock: Clock
  readonly logger: Logger
}

/** The one region of a single machine. */
export const localRegion = 'local'
const keyBytes = 24
const graceMs = 10_000
/** A large database may take long to open, and a Meilisearch that upgrades its files longer. */
const readyMsMax = 120_000
const pollMs = 20

/** What must be known of the engine before it can be started is missing. The message says what to do. */
export class EngineUnavailable extends Error {
  override readonly name = 'EngineUnavailable'
}

export interface LocalChild extends SupervisedChild {
  /** Where it listens, or listened last. */
  readonly url: string
}

/** Starts one node, keeps it running and registers it. Resolves when it serves. */
export async function startLocalNode(options: LocalNodeOptions): Promise<LocalChild> {
  const { id, group, engine, folder, catalogue, random, clock, logger } = options
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const find = async () => (await catalogue.nodes()).find((node) => node.id === id)
  const key = (await find())?.key ?? options.key ?? Buffer.from(random.bytes(keyBytes)).toString('hex')
  let url = ''
  const child = await superviseChild({
    name: `engine ${id}`,
    async prepare() {
      const port = await freePort()
      url = `http://127.0.0.1:${port}`
      const chosen = engine === 'meilisearch' ? takeChosenEngine(folder) : undefined
      return engineLaunch(chosen === undefined ? options : { ...options, bin: chosen }, port, key)
    },
    async ready(signal) {
      await waitForHealth(url, readyMsMax, clock, signal)
      if (options.isNew !== true || (await find()) !== undefined) {
        await catalogue.putNode({ id, engine, url, region: localRegion, key, group })
      }
      logger.debug({ node: id, url }, 'engine node serves')
    },
    logFile: join(folder, 'engine.log'),
    recordFile: join(folder, 'process.json'),
    graceMs,
    logger,
    clock,
  })
  return {
    get pid() {
      return child.pid
    },
    get url() {
      return url
    },
    restart: () => child.restart(),
    stop: () => child.stop(),
  }
}

/** Where the C library is glibc: what a large batch needed goes back to the system once it is over. */
const allocatorEnvironment = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '1048576' }

/** The command line of an engine. Its key goes through the environment, which other users of the machine cannot see. */
export function engineLaunch(options: LocalNodeOptions, port: number, key: string): Launch {
  const address = `127.0.0.1:${port}`
  const database = join(options.folder, 'db')
  const env = {
    ...cleanEnvironment(options.env),
    MEILI_MASTER_KEY: key,
    ...(options.allowedNetworks.length === 0
      ? {}
      : { MEILI_EXPERIMENTAL_ALLOWED_IP_NETWORKS: networksText(options.allowedNetworks) }),
  }
  const memory = [
    ...['--max-indexing-memory', `${Math.ceil(options.indexingMemoryBytes / 2 ** 20)}MiB`],
    ...(options.hasMetrics === true ? ['--experimental-enable-metrics'] : []),
  ]
  if (options.engine === 'embedded') {
    const args = [...options.self.args, 'engine', '--data-dir', database, '--http-addr', address, '--end-with-parent']
    return { command: options.self.command, args: [...args, ...memory], env: { ...allocatorEnvironment, ...env } }
  }
  const command = findMeilisearch(options.bin, options.env.PATH ?? '')
  const args = [
    ...['--db-path', database, '--http-addr', address, '--env', 'production', '--no-analytics'],
    // By default it writes a line for every request, ours included.
    ...['--log-level', 'WARN'],
    ...['--dump-dir', join(options.folder, 'dumps'), '--snapshot-dir', join(options.folder, 'snapshots')],
    ...memory,
  ]
  return { command, args, env }
}

/** `bin` as given, or the first `meilisearch` on the search path. @throws EngineUnavailable */
export function findMeilisearch(bin: string | null, searchPath: string): string {
  if (bin !== null) {
    const path = resolve(bin)
    if (isExecutable(path)) return path
    throw new EngineUnavailable(
      `${bin} is not a program that can be run; give the path of Meilisearch with --engine-bin`,
    )
  }
  const found = searchPath
    .split(delimiter)
    .map((folder) => join(folder, 'meilisearch'))
    .find(isExecutable)
  if (found) return found
  throw new EngineUnavailable(
    'no `meilisearch` on the PATH; give its path with --engine-bin or MEILISEARCH_BIN, or leave out --engine to use the embedded engine',
  )
}

/** Polls `GET /health` until it answers 200. */
export async function waitForHealth(url: string, msMax: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + msMax
  while (clock.monotonic() < deadline) {
    signal.throwIfAborted()
    if (await isHealthy(url)) return
    await clock.sleep(pollMs, signal)
  }
  throw new EngineUnavailable(`the engine at ${url} did not become healthy within ${msMax / 1000} s`)
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${url}/health`, { headersTimeout: 2000, bodyTimeout: 2000 })
    await body.dump()
    return statusCode === 200
  } catch {
    return false
  }
}

/** An engine must not take over what was meant for us: its address, its folder, a dump to import. */
function cleanEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  const isOurs = (name: string) => /^(FLAPJACK_|MEILI_|MEILISEARCH_)/.test(name) || name === 'DATABASE_URL'
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isOurs(name)))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return existsSync(path)
  } catch {
    return false
  }
}
