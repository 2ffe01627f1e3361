/** A running `flapjack up` on a free port, in a folder of its own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
export const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')
const defaultMasterKey = 'a-master-key-for-acceptance'
const startMsMax = 90_000

export interface StartOptions {
  /** Without the demo data. Default true. */
  readonly empty?: boolean
  /** Further options of `up`. */
  readonly args?: readonly string[]
  /** A folder of an earlier run; it is kept then. */
  readonly folder?: string
  readonly masterKey?: string
}

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunningFlapjack {
  readonly url: string
  readonly masterKey: string
  readonly folder: string
  readonly pid: number
  /** Runs another command on the same folder; answers its standard output, and fails when the command does. */
  cli(...args: string[]): Promise<string>
  /** What it has written so far. */
  output(): string
  /** As Ctrl-C does. Answers the exit code. Removes the folder, unless it was given. */
  stop(): Promise<number>
}

export async function startFlapjack(options: StartOptions = {}): Promise<RunningFlapjack> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'flapjack-acceptance-')))
  const masterKey = options.masterKey ?? defaultMasterKey
  const args = ['up', '--json', '--data-dir', folder, '--http-addr', '127.0.0.1:0', ...(options.args ?? [])]
  if (options.empty !== false) args.push('--empty')
  const child = spawn(process.execPath, [launcher, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, MEILI_MASTER_KEY: masterKey },
  })
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)))
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-20_000)
  })
  let url: string
  try {
    url = await readUrl(child, ended, () => stderr)
  } catch (error) {
    child.kill('SIGTERM')
    await ended
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    url,
    masterKey,
    folder,
    pid: child.pid ?? 0,
    async cli(...command) {
      const { code, stdout, stderr: complaint } = await runFlapjack([...command, '--data-dir', folder])
      if (code !== 0) throw new Error(`flapjack ${command.join(' ')} ended with ${code}: ${complaint}${stdout}`)
      return stdout
    },
    output: () => stderr,
    async stop() {
      child.kill('SIGINT')
      const code = await ended
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
      return code
    },
  }
}

/** One command to its end. */
export async function runFlapjack(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  try {
    const { stdout, stderr } = await run(process.execPath, [launcher, ...args], { env: { ...process.env, ...env } })
    return { code: 0, stdout, stderr }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && 'stdout' in error && 'stderr' in error)) throw error
    return { code: Number(error.code), stdout: String(error.stdout), stderr: String(error.stderr) }
  }
}

/** The first thing that `up --json` prints is an object with its address. */
export function readUrl(child: ChildProcess, ended: Promise<number>, complaint: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = ''
    const timer = setTimeout(() => reject(new Error(`no ready line:\n${printed}${complaint()}`)), startMsMax)
    void ended.then((code) => {
      clearTimeout(timer)
      reject(new Error(`flapjack up ended with ${code}:\n${printed}${complaint()}`))
    })
    child.stdout?.on('data', (chunk: Buffer) => {
      printed += chunk.toString()
      const url = /"url": "([^"]+)"/.exec(printed)?.[1]
      if (!url) return
      clearTimeout(timer)
      resolve(url)
    })
  })
}
