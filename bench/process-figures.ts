/** What a process and its children took and hold, as Linux tells it; zeros elsewhere. */
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks of `/proc` per second: a constant of the kernel's interface. */
const ticksPerSecond = 100

export interface ProcessFigures {
  /** Processor time of all threads, of processes that ended since as well. */
  readonly cpuMs: number
  /** Memory that belongs to no file: what the page cache cannot take back. */
  readonly anonymousMb: number
}

export function figuresOf(pid: number): ProcessFigures {
  let ticks = 0
  let kilobytes = 0
  for (const each of [pid, ...childrenOf(pid)]) {
    // Behind the name in brackets: utime, stime and those of children that were waited for are fields 14 to 17.
    const fields = textOf(`/proc/${each}/stat`).split(') ').at(-1)?.split(' ') ?? []
    for (const field of fields.slice(11, 15)) ticks += Number(field)
    kilobytes += Number(/^RssAnon:\s+(\d+)/m.exec(textOf(`/proc/${each}/status`))?.[1] ?? 0)
  }
  return { cpuMs: (ticks / ticksPerSecond) * 1000, anonymousMb: kilobytes / 1024 }
}

function childrenOf(pid: number): readonly number[] {
  const found: number[] = []
  for (const thread of namesIn(`/proc/${pid}/task`))
    for (const child of textOf(`/proc/${pid}/task/${thread}/children`).split(' '))
      if (child !== '') found.push(Number(child), ...childrenOf(Number(child)))
  return found
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** A process may end between two looks at it. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** The most memory that a process held between `start` and `stop`, looked at ten times a second. */
export function watchMemory(pid: number): { readonly stop: () => number } {
  let most = figuresOf(pid).anonymousMb
  const timer = setInterval(() => {
    most = Math.max(most, figuresOf(pid).anonymousMb)
  }, 100)
  return {
    stop: () => {
      clearInterval(timer)
      return Math.max(most, figuresOf(pid).anonymousMb)
    },
  }
}
