/**
 * Which process a number means. A process id is given again after its process ended, so a record keeps the start time
 * as well, and nothing is ended that is not the very process that was recorded.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Clock } from '../lib/clock.ts'

export interface ProcessIdentity {
  readonly pid: number
  /** Opaque; equal for the same process, different for a later one with the same number. */
  readonly startedAt: string
}

/** `undefined`: no such process. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const startedAt = process.platform === 'linux' ? startTimeFromProc(pid) : startTimeFromPs(pid)
  return startedAt === undefined ? undefined : { pid, startedAt }
}

export function isRunning(recorded: ProcessIdentity): boolean {
  return identityOf(recorded.pid)?.startedAt === recorded.startedAt
}

/** Asks a recorded process to end, waits `graceMs`, then kills it. Does nothing when it is no longer that process. */
export async function endProcess(recorded: ProcessIdentity, graceMs: number, clock: Clock): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (!isRunning(recorded)) return
    process.kill(recorded.pid, signal)
    const deadline = clock.monotonic() + graceMs
    while (isRunning(recorded) && clock.monotonic() < deadline) await clock.sleep(20)
  }
}

/** Reads what `JSON.stringify` of an identity gave; `undefined` when it is anything else. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('pid' in value && 'startedAt' in value)) return undefined
    if (typeof value.pid !== 'number' || typeof value.startedAt !== 'string') return undefined
    return { pid: value.pid, startedAt: value.startedAt }
  } catch {
    return undefined
  }
}

/** Field 22 of `/proc/<pid>/stat`, in ticks since boot; the boot's id keeps a reboot from making two alike. */
function startTimeFromProc(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${fields[19]}`
  } catch {
    return undefined
  }
}

function startTimeFromPs(pid: number): string | undefined {
  try {
    const found = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return found.trim() || undefined
  } catch {
    return undefined
  }
}
