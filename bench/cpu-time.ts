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
  const all = rows()
  const isOurs = (at: number): boolean => at === pid || (all.has(at) && isOurs(all.get(at)!.parent))
  return [...all].reduce((sum, [at, row]) => sum + (isOurs(at) ? row.cpuMs : 0), 0)
}
