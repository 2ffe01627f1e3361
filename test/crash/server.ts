/** A real `flapjack up` in a folder of its own, whose processes can be killed one by one. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../src/lib/loopback-port.ts'

const run = promisify(execFile)
const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')

export const masterKey = 'a-master-key-for-crash-tests'
/** Answers are checked by the tests themselves, field by field. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the API answers
type Answer = any

export type Victim = 'server' | 'postgres' | 'engine' | 'all'

interface ProcessRow {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

async function processes(): Promise<readonly ProcessRow[]> {
  const { stdout } = await run('ps', ['-axo', 'pid=,ppid=,command='], { maxBuffer: 16 * 1024 * 1024 })
  return stdout
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({ pid: Number(match[1]), parent: Number(match[2]), command: match[3]! }))
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export class CrashServer {
  readonly folder: string
  readonly url: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined
  #output = ''

  private constructor(folder: string, port: number, args: readonly string[]) {
    this.folder = folder
    this.url = `http://127.0.0.1:${port}`
    this.#args = ['up', '--empty', '--data-dir', folder, '--http-addr', `127.0.0.1:${port}`, ...args]
  }

  static async create(args: readonly string[] = []): Promise<CrashServer> {
    const folder = await mkdtemp(join(tmpdir(), 'flapjack-crash-'))
    const server = new CrashServer(folder, await freePort(), args)
    await server.start()
    return server
  }

  /** Starts, and resolves when the API answers. */
  async start(): Promise<void> {
    const child = spawn(process.execPath, [launcher, ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MEILI_MASTER_KEY: masterKey },
    })
    this.#child = child
    const keep = (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-20_000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    await this.ready()
  }

  /** Resolves when searches and writes are possible; fails with the server's output after a minute. */
  async ready(): Promise<void> {
    const deadline = Date.now() + 60_000
    while (Date.now() < deadline) {
      if (this.#child?.exitCode !== null && this.#child?.exitCode !== undefined)
        throw new Error(`the server ended with ${this.#child.exitCode}:\n${this.#output}`)
      const tasks = await this.request('GET', '/tasks?limit=1').catch(() => undefined)
      if (tasks?.status === 200) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`the server did not become ready:\n${this.#output}`)
  }

  get output(): string {
    return this.#output
  }

  async tree(): Promise<readonly ProcessRow[]> {
    const rows = await processes()
    const found = rows.filter((row) => row.pid === this.#child?.pid || row.command.includes(this.folder))
    for (let grown = true; grown; ) {
      const next = rows.filter((row) => !found.includes(row) && found.some((parent) => parent.pid === row.parent))
      found.push(...next)
      grown = next.length > 0
    }
    return found
  }

  /** `kill -9`. The whole process group of PostgreSQL goes with its first process, as after a crash of the machine's daemon. */
  async kill(victim: Victim): Promise<void> {
    const rows = await this.tree()
    const isEngine = (row: ProcessRow) =>
      row.pid !== this.#child?.pid && /\bengine\b|meilisearch/.test(row.command) && !isPostgres(row)
    const isPostgres = (row: ProcessRow) => row.command.includes('postgres')
    const matches: Record<Victim, (row: ProcessRow) => boolean> = {
      server: (row) => row.pid === this.#child?.pid,
      postgres: (row) => isPostgres(row) && !rows.some((parent) => parent.pid === row.parent && isPostgres(parent)),
      engine: isEngine,
      all: () => true,
    }
    const hit = rows.filter(matches[victim])
    if (hit.length === 0)
      throw new Error(`no process to kill for ${victim}:\n${rows.map((row) => row.command).join('\n')}`)
    for (const row of hit) kill(row.pid)
    if (victim === 'server' || victim === 'all') await this.#ended()
  }

  /** Every process of PostgreSQL: the first one and those it started. */
  async postgresPids(): Promise<readonly number[]> {
    const rows = await this.tree()
    return rows.filter((row) => row.command.includes('postgres')).map((row) => row.pid)
  }

  async #ended(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    await new Promise((resolve) => child.once('exit', resolve))
  }

  /** Starts again after a kill of `server` or `all`. */
  async restart(): Promise<void> {
    await this.start()
  }

  async request(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly body: Answer }> {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        authorization: `Bearer ${masterKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
  }

  /** Ends everything that was ever started here, by process id, and removes the folder. */
  async destroy(): Promise<void> {
    const child = this.#child
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await Promise.race([this.#ended(), new Promise((resolve) => setTimeout(resolve, 10_000).unref())])
    }
    for (const row of await this.tree()) kill(row.pid)
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }
}
