/**
 * The name under which this process holds leases. It is kept in the data folder: whoever owns the folder now knows that
 * the worker named there is gone, and need not wait until its leases end by themselves.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../lib/random.ts'

const fileName = 'worker'

export interface WorkerSuccession {
  readonly worker: string
  /** The worker of an earlier run of this folder; `undefined` = this is the first. */
  readonly predecessor: string | undefined
}

/** Call it while the folder's lock is held, once per start. */
export function succeedWorker(folder: string, random: Random): WorkerSuccession {
  const path = join(folder, fileName)
  const worker = random.uuid()
  const predecessor = readName(path)
  writeFileSync(`${path}.draft`, worker)
  renameSync(`${path}.draft`, path)
  return { worker, predecessor }
}

function readName(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
