/** CPU time of a process and all that it started: unlike a rate, hardly changed by what else the machine does. Linux only. */
import { readdirSync, readFileSync } from 'node:fs'

const tickMs = 10

interface Row {
  readonly parent: number
  readonly cpuMs: number
}

function rows(): Map<number, Row> {
  const found = new Map<number, Row>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    let text: string
    try {
      text = readFileSync(`/proc/${name}/stat`, 'utf8')
    } catch {
      // It ended in between.
      continue
    }
    // The command stands in parentheses and may hold spaces.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    found.set(Number(name), { parent: Number(fields[1]), cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs })
  }
  return found
}

/** Milliseconds since the start, user and system; `undefined` where it cannot be told. */
export function cpuMs(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  return familyOf(pid).reduce((sum, [, row]) => sum + row.cpuMs, 0)
}

export type ServerPart = 'gateway and worker' | 'postgres' | 'engine'

/** The same by what the processes are for; empty where it cannot be told. */
export function cpuMsByPart(pid: number): ReadonlyMap<ServerPart, number> {
  const spent = new Map<ServerPart, number>()
  if (process.platform !== 'linux') return spent
  for (const [at, row] of familyOf(pid)) {
    const part = partOf(at)
    spent.set(part, (spent.get(part) ?? 0) + row.cpuMs)
  }
  return spent
}

/** The process and all that it started. */
export function pidsOf(pid: number): readonly number[] {
  return familyOf(pid).map(([at]) => at)
}

function familyOf(pid: number): readonly (readonly [number, Row])[] {
  const all = rows()
  const isOurs = (at: number): boolean => at === pid || (all.has(at) && isOurs(all.get(at)!.parent))
  return [...all].filter(([at]) => isOurs(at))
}

function partOf(pid: number): ServerPart {
  let words: readonly string[] = []
  try {
    words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    // It ended in between.
  }
  const [program = ''] = words
  if (program.startsWith('postgres:') || program.endsWith('/postgres')) return 'postgres'
  return program.endsWith('/meilisearch') || words.includes('engine') ? 'engine' : 'gateway and worker'
}
