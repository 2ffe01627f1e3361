/**
 * How a folder comes to its first content: from a dump or a snapshot, before the engine serves. A mark in the folder says
 * that this is going on, so that a folder which a crash left half filled is never taken for whole.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The content cannot be loaded; the message says what to do. */
export class LoadRefused extends Error {
  override readonly name = 'LoadRefused'
}

export interface LoadRequest {
  readonly kind: 'dump' | 'snapshot'
  readonly path: string
  /** Start without it when the file is not there. */
  readonly ignoreMissing: boolean
  /** Start without it when the folder has content. */
  readonly ignoreIfExists: boolean
}

const markName = 'loading'

/** Whether the request is to be carried out. @throws LoadRefused */
export function isToLoad(dbPath: string, request: LoadRequest | undefined): boolean {
  const isCutOff = existsSync(join(dbPath, markName))
  if (request === undefined) {
    if (isCutOff)
      throw new LoadRefused(
        `The import of a dump or snapshot into ${dbPath} was cut off. Start again with the option that imports it, or remove the folder.`,
      )
    return false
  }
  if (!isCutOff && existsSync(join(dbPath, 'tasks', 'data.mdb'))) {
    if (request.ignoreIfExists) return false
    throw new LoadRefused(
      `database already exists at ${JSON.stringify(dbPath)}, try to delete it or rename it, or start without --import-${request.kind}`,
    )
  }
  if (existsSync(request.path)) return true
  if (request.ignoreMissing) return false
  throw new LoadRefused(`${request.kind} doesn't exist at ${JSON.stringify(request.path)}`)
}

/** Empties the folder of what an earlier try left. */
export function beginLoading(dbPath: string): void {
  mkdirSync(dbPath, { recursive: true })
  writeFileSync(join(dbPath, markName), '')
  for (const name of ['tasks', 'payloads', 'indexes', 'index-snapshots'])
    rmSync(join(dbPath, name), { recursive: true, force: true })
  for (const name of readdirSync(dbPath)) if (name.startsWith('dump-')) rmSync(join(dbPath, name), { recursive: true })
}

export function endLoading(dbPath: string): void {
  rmSync(join(dbPath, markName))
}
