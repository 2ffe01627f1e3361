/**
 * One process per database folder. The lock is a file with the process's number and start time: a file whose process is
 * gone, as after `kill -9`, or whose number belongs to a younger process, locks nothing.
 */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export class EngineFolderInUse extends Error {
  override readonly name = 'EngineFolderInUse'
}

/** @returns the function that releases the lock. @throws EngineFolderInUse */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'engine.pid')
  const own = `${process.pid} ${startTime(process.pid) ?? ''}`
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, own)
  try {
    for (let attempt = 0; ; attempt += 1) {
      try {
        // A link appears whole or not at all, and never replaces one that is there.
        linkSync(draft, path)
        return () => rmSync(path, { force: true })
      } catch (error) {
        if (attempt === 3 || holder(path) !== undefined) throw inUse(folder, path, error)
        rmSync(path, { force: true })
      }
    }
  } finally {
    rmSync(draft, { force: true })
  }
}

function inUse(folder: string, path: string, cause: unknown): EngineFolderInUse {
  return new EngineFolderInUse(
    `The folder ${folder} is in use by process ${holder(path) ?? 'unknown'}. Stop that process, or choose another folder.`,
    { cause },
  )
}

/** The process that holds the lock, if it lives. */
function holder(path: string): number | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  const [pidText = '', started = ''] = text.split(' ')
  const pid = Number(pidText)
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return pid === process.pid ? pid : undefined
  const now = startTime(pid)
  if (started !== '' && now !== undefined) return now === started ? pid : undefined
  try {
    process.kill(pid, 0)
    return pid
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM' ? pid : undefined
  }
}

/** When a process started, in ticks since the machine did; undefined where the system does not tell. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}
