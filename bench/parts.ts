/** Processes that a bench starts: each prints its address as the first line, and is ended by its process id. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { build, stop } from 'esbuild'
import { pidsOf } from './cpu-time.ts'

const run = promisify(execFile)

/**
 * The core of what is measured and the core of the load and the stub, so that neither takes time from the other: else a
 * way that uses several cores would be compared by what it leaves to the load. Linux with two cores; elsewhere, nothing is
 * pinned.
 */
export type Side = 'measured' | 'load'
const canPin = process.platform === 'linux' && availableParallelism() > 1
const cores: Readonly<Record<Side, string>> = { measured: '0', load: '1' }

function pinned(side: Side | undefined, command: string, args: readonly string[]): [string, readonly string[]] {
  return canPin && side !== undefined ? ['taskset', ['-c', cores[side], command, ...args]] : [command, args]
}

export interface Part {
  readonly name: string
  readonly url: string
  readonly pid: number
}

export interface Load {
  readonly requests: number
  readonly errors: number
  readonly requestsPerSecond: number
  readonly latencyMsP50: number
  readonly latencyMsP90: number
  readonly latencyMsP99: number
  readonly latencyMsMax: number
}

export class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'flapjack-bench-'))
  readonly #children: ChildProcess[] = []
  readonly #sides = new Map<number, Side>()
  #isPinned = true
  #go: string | undefined

  /** Builds the Go parts once; needs Go on the PATH. */
  async goBinary(): Promise<string> {
    if (this.#go === undefined) {
      const out = join(this.folder, 'bench-parts')
      await run('go', ['build', '-o', out, '.'], { cwd: join(import.meta.dirname, 'go') })
      this.#go = out
    }
    return this.#go
  }

  /** Starts a part and waits for its address. */
  async start(
    name: string,
    command: string,
    args: readonly string[],
    { side }: { readonly side?: Side } = {},
  ): Promise<Part> {
    const child = spawn(...pinned(side, command, args), { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#add(child, side)
    const address = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', resolve)
      child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it gave its address`)))
      child.once('error', reject)
    })
    return { name, url: address.startsWith('http') ? address : `http://${address}`, pid: child.pid ?? 0 }
  }

  /** Starts a process that says nothing; the caller waits for its port. */
  spawn(
    command: string,
    args: readonly string[],
    { side, cwd }: { readonly side?: Side; readonly cwd?: string } = {},
  ): number {
    const child = spawn(...pinned(side, command, args), {
      stdio: ['ignore', 'ignore', 'inherit'],
      ...(cwd === undefined ? {} : { cwd }),
    })
    this.#add(child, side)
    return child.pid ?? 0
  }

  #add(child: ChildProcess, side: Side | undefined): void {
    this.#children.push(child)
    if (side !== undefined && child.pid !== undefined) this.#sides.set(child.pid, side)
  }

  /**
   * Lets all run on any core, or each side on its own again. On one core, a process with threads waits for its own: for
   * whole slices of the system's scheduler, milliseconds, which is right for what it can do at most and wrong for how long
   * a request takes while there is time enough.
   */
  async pin(isPinned: boolean): Promise<void> {
    this.#isPinned = isPinned
    if (!canPin) return
    for (const [pid, side] of this.#sides) {
      const list = isPinned ? cores[side] : `0-${availableParallelism() - 1}`
      // One may have ended meanwhile.
      for (const each of pidsOf(pid)) await run('taskset', ['-a', '-p', '-c', list, String(each)]).catch(() => {})
    }
  }

  startScript(name: string, script: string, args: readonly string[], side?: Side): Promise<Part> {
    const command = ['--import', 'tsx', join(import.meta.dirname, script), ...args]
    return this.start(name, process.execPath, command, side === undefined ? {} : { side })
  }

  /**
   * The same as one file, as the program is shipped: `tsx` keeps the names of functions by writing them at each creation, which
   * costs a search over four shards about an eighth.
   */
  async startBundle(name: string, script: string, args: readonly string[], side?: Side): Promise<Part> {
    // Where packages are found from.
    const outfile = join(import.meta.dirname, '..', 'node_modules', '.cache', 'flapjack-bench', `${script}.mjs`)
    await build({
      entryPoints: [join(import.meta.dirname, script)],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      packages: 'external',
      logLevel: 'error',
    })
    await stop()
    return this.start(name, process.execPath, [outfile, ...args], side === undefined ? {} : { side })
  }

  /** nginx as a plain reverse proxy with one worker; `undefined` when it is not installed. */
  async startNginx(target: string, port: number): Promise<Part | undefined> {
    const found = await run('nginx', ['-v']).then(
      () => true,
      () => false,
    )
    if (!found) return undefined
    const file = join(this.folder, 'nginx.conf')
    writeFileSync(
      file,
      `daemon off; worker_processes 1; pid ${this.folder}/nginx.pid; error_log stderr crit; user root;
events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${this.folder}/b; proxy_temp_path ${this.folder}/p;
  fastcgi_temp_path ${this.folder}/f; uwsgi_temp_path ${this.folder}/u; scgi_temp_path ${this.folder}/s;
  keepalive_requests 1000000;
  upstream engine { server ${target.replace('http://', '')}; keepalive 64; keepalive_requests 1000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; } } }`,
    )
    const pid = this.spawn('nginx', ['-c', file, '-p', this.folder], { side: 'measured' })
    const url = `http://127.0.0.1:${port}`
    await until(`${url}/`, 10_000)
    return { name: 'nginx', url, pid }
  }

  async load(
    part: Part,
    request: { readonly path: string; readonly body?: string; readonly key?: string },
    shape: { readonly connections: number; readonly seconds: number; readonly rate?: number },
  ): Promise<Load> {
    const args = [
      'load',
      ...['-url', part.url, '-path', request.path, '-connections', String(shape.connections)],
      ...['-seconds', String(shape.seconds), '-rate', String(shape.rate ?? 0)],
      ...(request.body === undefined ? [] : ['-body', request.body]),
      ...(request.key === undefined ? [] : ['-key', request.key]),
    ]
    const { stdout } = await run(...pinned(this.#isPinned ? 'load' : undefined, await this.goBinary(), args))
    return JSON.parse(stdout) as Load
  }

  async close(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
      await ended
      clearTimeout(timer)
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export async function until(url: string, timeoutMs: number): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; ; ) {
    const answered = await fetch(url).then(
      () => true,
      () => false,
    )
    if (answered) return
    if (Date.now() > deadline) throw new Error(`${url} does not answer`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN
}
