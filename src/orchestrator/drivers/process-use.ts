/** What a process of this machine uses, as Linux tells it; elsewhere nothing is known. */
import { readFileSync } from 'node:fs'

export interface ProcessUse {
  readonly pid: number
  /** Processor time since its start. */
  readonly cpuMs: number
  readonly memoryBytes: number
  /** When it was looked at, monotonic ms. */
  readonly at: number
}

/** Ticks of `/proc/<pid>/stat` are hundredths of a second on every Linux that Node runs on. */
const tickMs = 10

export function processUse(pid: number, at: number): ProcessUse | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Behind the name, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    const ticks = Number(fields[11]) + Number(fields[12])
    if (!Number.isFinite(ticks) || resident === null) return undefined
    return { pid, cpuMs: ticks * tickMs, memoryBytes: Number(resident[1]) * 1024, at }
  } catch {
    return undefined
  }
}
