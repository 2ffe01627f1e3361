/** How long a fresh folder takes until it serves, and what the idle processes of `up` weigh together. */
import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../src/lib/loopback-port.ts'
import { type Bench, until } from './parts.ts'

const run = promisify(execFile)

export interface UpResult {
  readonly firstAnswerMs: number
  readonly secondStartMs: number
  /** Proportional set sizes summed over all processes: shared pages counted once (Linux), else resident sizes. */
  readonly memoryMb: number
  readonly processes: readonly { readonly command: string; readonly memoryMb: number }[]
}

async function memory(folder: string, root: number): Promise<UpResult['processes']> {
  const { stdout } = await run('ps', ['-axo', 'pid=,ppid=,rss=,command='])
  const rows = stdout
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, pid, parent, rss, command]) => ({
      pid: Number(pid),
      parent: Number(parent),
      rss: Number(rss),
      command: command!,
    }))
  const ours = rows.filter((row) => row.pid === root || row.command.includes(folder))
  for (let grown = true; grown; ) {
    const next = rows.filter((row) => !ours.includes(row) && ours.some((parent) => parent.pid === row.parent))
    ours.push(...next)
    grown = next.length > 0
  }
  return Promise.all(
    ours.map(async ({ pid, rss, command }) => {
      const rollup = await run('cat', [`/proc/${pid}/smaps_rollup`]).then(
        ({ stdout: text }) => Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? rss),
        () => rss,
      )
      return { command: command.slice(0, 60), memoryMb: Math.round(rollup / 102.4) / 10 }
    }),
  )
}

export async function benchUp(bench: Bench, say: (line: string) => void): Promise<UpResult> {
  const folder = join(bench.folder, 'fresh')
  const launcher = join(import.meta.dirname, '..', 'bin', 'flapjack')
  const once = async (measure: (pid: number) => Promise<void>) => {
    const port = await freePort()
    const start = performance.now()
    const child = spawn(
      process.execPath,
      [launcher, 'up', '--empty', '--data-dir', folder, '--http-addr', `127.0.0.1:${port}`],
      { stdio: 'ignore' },
    )
    const ended = new Promise((resolve) => child.once('exit', resolve))
    try {
      await until(`http://127.0.0.1:${port}/health`, 60_000)
      const tookMs = performance.now() - start
      await measure(child.pid ?? 0)
      return tookMs
    } finally {
      child.kill('SIGINT')
      await ended
    }
  }
  let processes: UpResult['processes'] = []
  const firstAnswerMs = await once(async (pid) => {
    // Idle means: after the garbage of the start was collected.
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    processes = await memory(folder, pid)
  })
  const secondStartMs = await once(async () => {})
  const memoryMb = Math.round(processes.reduce((sum, each) => sum + each.memoryMb, 0))
  say(
    `first answer after ${Math.round(firstAnswerMs)} ms, second start ${Math.round(secondStartMs)} ms, idle ${memoryMb} MB`,
  )
  return { firstAnswerMs, secondStartMs, memoryMb, processes }
}
