/** One program per data folder. The lock is a file that names its owner; an owner that is gone does not hold it. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from '../lib/assert.ts'
import { identityOf, isRunning, type ProcessIdentity, parseIdentity } from './process-identity.ts'

export const lockFileName = 'flapjack.pid'

export interface FolderLock {
  /** Makes facts known to other commands, such as `flapjack status`, until the lock is released. */
  announce(facts: Readonly<Record<string, string>>): void
  release(): void
}

/** Another process owns the folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse'
  readonly owner: number

  constructor(folder: string, owner: number) {
    super(`the data folder ${folder} is in use by process ${owner}`)
    this.owner = owner
  }
}

/** Creates the folder when it is absent and takes it for this process. @throws FolderInUse */
export function lockFolder(folder: string): FolderLock {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, lockFileName)
  const own = identityOf(process.pid)
  assert(own, 'a process sees itself')
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 })
  try {
    takeLock(folder, path, draft)
  } finally {
    rmSync(draft, { force: true })
  }
  return {
    announce(facts) {
      writeFileSync(draft, JSON.stringify({ ...own, ...facts }), { mode: 0o600 })
      renameSync(draft, path)
    },
    release: () => rmSync(path, { force: true }),
  }
}

/** Who owns a folder, and what it announced; `undefined` = nobody. */
export function lockOwner(folder: string): (ProcessIdentity & Readonly<Record<string, unknown>>) | undefined {
  const text = readText(join(folder, lockFileName))
  const identity = text === undefined ? undefined : parseIdentity(text)
  return identity && text && isRunning(identity) ? { ...JSON.parse(text), ...identity } : undefined
}

function takeLock(folder: string, path: string, draft: string): void {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    try {
      linkSync(draft, path)
      return
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
    const text = readText(path)
    const owner = text === undefined ? undefined : parseIdentity(text)
    if (owner && isRunning(owner)) throw new FolderInUse(folder, owner.pid)
    if (text !== undefined) removeStale(path, text)
  }
  throw new Error(`the lock file ${path} keeps changing`)
}

/** Another starter may have replaced the stale file since it was read: what was moved away is looked at again. */
function removeStale(path: string, stale: string): void {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  try {
    if (readText(aside) !== stale) linkSync(aside, path)
  } finally {
    rmSync(aside, { force: true })
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
