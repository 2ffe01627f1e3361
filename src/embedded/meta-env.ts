/** What the engine keeps beside its indexes: tasks, batches, the registry of indexes and the server's own map. */
import { mkdirSync } from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import type { Json } from '../lib/json.ts'
import type { BatchRecord } from './batch-record.ts'
import type { TaskRecord } from './task-record.ts'

/** The payloads alone, read from another thread of the process that has the tasks open. */
export interface PayloadReader {
  readonly root: RootDatabase
  readonly payloads: Database<Uint8Array, number>
}

/** Where an index is and what lists show of it. */
export interface RegistryEntry {
  readonly uid: string
  /** Name of its folder, never used again. */
  readonly folder: string
  readonly primaryKey: string | null
  readonly createdAt: number
  readonly updatedAt: number
}

export interface MetaEnv {
  readonly root: RootDatabase
  readonly tasks: Database<TaskRecord, number>
  readonly payloads: Database<Uint8Array, number>
  readonly batches: Database<BatchRecord, number>
  readonly indexes: Database<RegistryEntry, string>
  readonly store: Database<Json, string>
  /** See `TaskSets`. */
  readonly sets: Database<Uint8Array, string>
}

const mapBytes = 16 * 2 ** 30

export function openMetaEnv(folder: string): MetaEnv {
  mkdirSync(folder, { recursive: true })
  const root = openRoot(folder, false)
  return {
    root,
    tasks: root.openDB({ name: 'tasks', encoding: 'json' }),
    payloads: root.openDB({ name: 'payloads', encoding: 'binary' }),
    batches: root.openDB({ name: 'batches', encoding: 'json' }),
    indexes: root.openDB({ name: 'indexes', encoding: 'json' }),
    store: root.openDB({ name: 'store', encoding: 'json' }),
    sets: root.openDB({ name: 'sets', encoding: 'binary' }),
  }
}

export function openPayloadReader(folder: string): PayloadReader {
  const root = openRoot(folder, true)
  return { root, payloads: root.openDB({ name: 'payloads', encoding: 'binary' }) }
}

const openRoot = (folder: string, readOnly: boolean): RootDatabase =>
  open({
    path: folder,
    maxDbs: 8,
    mapSize: mapBytes,
    noSubdir: false,
    overlappingSync: false,
    encoding: 'json',
    readOnly,
  })
