/**
 * Snapshots of single indexes (P-27): made while writes go on, restored under any name. Each job runs alone, after those
 * that were asked for before it.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ApiError, type ErrorBody, errorBody } from '../../api/errors.ts'
import { checkIndexUid } from '../../api/index-uid.ts'
import type { Clock } from '../../lib/clock.ts'
import type { IndexState, TaskOutcome } from '../index-batch.ts'
import { indexFormat, mainKeys, openIndexEnv, readBitmap, readFacts, readJson } from '../index-env.ts'
import { type IndexRegistry, withState } from '../index-registry.ts'
import type { RegistryEntry } from '../meta-env.ts'
import { readSnapshot, type SnapshotHeader, SnapshotInvalid, sectionName, writeSnapshot } from './snapshot-file.ts'
import { checkFileName, SnapshotFolder, sync } from './snapshot-folder.ts'

export type RestoreMode = 'create' | 'replace'

export interface SnapshotJob {
  readonly id: string
  readonly kind: 'create' | 'restore'
  readonly state: 'waiting' | 'running' | 'succeeded' | 'failed'
  /** The snapshot file. */
  readonly name: string
  /** The index that it is made from, or restored as. */
  readonly uid: string
  /** Once it succeeded. */
  readonly header: SnapshotHeader | null
  readonly error: ErrorBody | JobError | null
}

/** A refusal that has no code among those of the API. */
export interface JobError {
  readonly code: 'snapshot_invalid' | 'snapshot_incompatible'
  readonly message: string
}

export interface SnapshotOrder {
  /** Name of the file. Asked for again under the same name, it is the same snapshot; null = one of the engine's own choice. */
  readonly name: string | null
  readonly isCompressed: boolean
  /** The index's own file in the place of a container with checksums: for engines on one machine, which take it as it is. */
  readonly isRaw?: boolean
}

export interface IndexSnapshotsDeps {
  readonly folder: string
  readonly clock: Clock
  readonly registry: IndexRegistry
  /** Hot copy of an index's file into a folder. */
  readonly copy: (folder: string, target: string) => Promise<void>
  /** Makes the index in `folder` one of this engine's. */
  readonly adopt: (folder: string) => Promise<IndexState>
  /** Puts the index into the registry between two batches; `replaced` goes with its folder. Durable when it resolves. */
  readonly publish: (entry: RegistryEntry, replaced: RegistryEntry | undefined) => Promise<void>
  /** Runs while no batch does. */
  readonly between: <T>(work: () => Promise<T>) => Promise<T>
  /** Closes the index in `folder`, which nobody names. */
  readonly forget: (folder: string) => Promise<void>
}

/** Jobs that are remembered; above it the oldest finished ones are forgotten. */
const jobsMax = 1000
const jobsWaitingMax = 100

export class IndexSnapshots {
  readonly files: SnapshotFolder
  readonly #deps: IndexSnapshotsDeps
  readonly #jobs = new Map<string, SnapshotJob>()
  #last: Promise<void> = Promise.resolve()
  #waitingCount = 0
  #isClosed = false

  constructor(deps: IndexSnapshotsDeps) {
    this.#deps = deps
    this.files = new SnapshotFolder(deps.folder, deps.clock.now())
  }

  /** @throws ApiError `index_not_found`, `shutting_down`. */
  create(uid: string, order: SnapshotOrder = { name: null, isCompressed: true }): SnapshotJob {
    const { registry, clock } = this.#deps
    if (order.name !== null) checkFileName(order.name)
    const known = [...this.#jobs.values()].find((job) => job.name === order.name && isOpen(job))
    if (known !== undefined) return known
    if (registry.get(checkIndexUid(uid)) === undefined) throw notFound(uid)
    // The name of an index may be longer than that of a file.
    const name = order.name ?? `${uid.slice(0, 150)}-${timeName(clock.now())}-${randomUUID().slice(0, 8)}.fjsis`
    return this.#enqueue('create', name, uid, () => this.#make(name, uid, order))
  }

  /** Size of the index's file: what a snapshot takes at most, and what it will take when it is restored. @throws ApiError `index_not_found`. */
  async byteCount(uid: string): Promise<number> {
    const entry = this.#deps.registry.get(checkIndexUid(uid))
    if (entry === undefined) throw notFound(uid)
    return (await stat(join(this.#deps.registry.folderOf(entry), 'data.mdb'))).size
  }

  /** @throws ApiError `not_found`, `index_already_exists`, `shutting_down`. */
  async restore(name: string, uid: string, mode: RestoreMode): Promise<SnapshotJob> {
    checkIndexUid(uid)
    await this.files.find(name)
    this.#checkName(uid, mode)
    return this.#enqueue('restore', name, uid, () => this.#restore(name, uid, mode))
  }

  /** Undefined for one that never was, or was forgotten. */
  job(id: string): SnapshotJob | undefined {
    return this.#jobs.get(id)
  }

  /** The running job ends, the others are given up. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#last
  }

  #enqueue(kind: SnapshotJob['kind'], name: string, uid: string, run: () => Promise<SnapshotHeader>): SnapshotJob {
    if (this.#isClosed || this.#waitingCount >= jobsWaitingMax)
      throw new ApiError('shutting_down', 'Too many snapshots wait to be made or restored.', {
        headers: { 'Retry-After': '10' },
      })
    const job: SnapshotJob = { id: randomUUID(), kind, state: 'waiting', name, uid, header: null, error: null }
    this.#put(job)
    this.#waitingCount += 1
    this.#last = this.#last.then(() => this.#run(job, run))
    return job
  }

  async #run(job: SnapshotJob, run: () => Promise<SnapshotHeader>): Promise<void> {
    this.#waitingCount -= 1
    if (this.#isClosed) return
    this.#put({ ...job, state: 'running' })
    try {
      this.#put({ ...job, state: 'succeeded', header: await run() })
    } catch (error) {
      this.#put({ ...job, state: 'failed', error: jobError(error) })
    }
  }

  #put(job: SnapshotJob): void {
    this.#jobs.set(job.id, job)
    if (this.#jobs.size <= jobsMax) return
    for (const { id, state } of this.#jobs.values()) {
      if (isOpen({ state })) continue
      this.#jobs.delete(id)
      return
    }
  }

  async #make(name: string, uid: string, { isCompressed, isRaw = false }: SnapshotOrder): Promise<SnapshotHeader> {
    const { registry, copy, clock } = this.#deps
    const stored = await this.files.findWhole(name)
    if (stored?.header) return stored.header
    const entry = registry.get(uid)
    if (entry === undefined) throw notFound(uid)
    await this.#checkSpace(uid)
    const madeAt = clock.now()
    const draft = this.files.draft(name)
    try {
      await copy(registry.folderOf(entry), draft)
      const header = await headerOf(draft, uid, madeAt)
      const path = join(draft, 'data.mdb')
      if (isRaw) await this.files.keepRaw(name, path, header)
      else {
        const bytes = createReadStream(path, { highWaterMark: readBytes })
        await this.files.write(name, writeSnapshot(header, [{ name: sectionName, bytes }], isCompressed))
      }
      return header
    } finally {
      await rm(draft, { recursive: true, force: true })
    }
  }

  async #checkSpace(uid: string): Promise<void> {
    const wanted = Math.ceil((await this.byteCount(uid)) * spaceFactor)
    const freeBytes = await this.files.freeBytes()
    if (freeBytes < wanted)
      throw new ApiError(
        'no_space_left_on_device',
        `A snapshot of \`${uid}\` may take ${wanted} bytes; ${freeBytes} are free.`,
      )
  }

  async #restore(name: string, uid: string, mode: RestoreMode): Promise<SnapshotHeader> {
    const { registry, clock, adopt, publish, between, forget } = this.#deps
    const entry = registry.draft(uid, clock.now())
    const folder = registry.folderOf(entry)
    await mkdir(folder)
    try {
      const header = await this.#unpack(name, join(folder, 'data.mdb'))
      const state = await adopt(folder)
      await between(async () => {
        this.#checkName(uid, mode)
        await publish(withState(entry, state), registry.get(uid))
      })
      return header
    } catch (error) {
      await forget(folder)
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  async #unpack(name: string, path: string): Promise<SnapshotHeader> {
    const raw = await this.files.rawHeader(name)
    if (raw === undefined) return unpack(await this.files.read(name), path)
    const header = compatible(raw)
    await this.files.copyRaw(name, path)
    await sync(dirname(path))
    return header
  }

  #checkName(uid: string, mode: RestoreMode): void {
    if (mode === 'create' && this.#deps.registry.get(uid) !== undefined)
      throw new ApiError('index_already_exists', `Index \`${uid}\` already exists.`)
  }
}

/** What makes one chunk of the file. Larger ones cost half as much again: their memory is fetched from the system each time. */
const readBytes = 2 ** 20
/** Free space that is asked for, to the size of an index: its copy and the file that is made of it lie side by side (P-29). */
const spaceFactor = 2.2

const isOpen = ({ state }: Pick<SnapshotJob, 'state'>): boolean => state === 'waiting' || state === 'running'

/** What the copy in `folder` holds. */
async function headerOf(folder: string, uid: string, madeAt: number): Promise<SnapshotHeader> {
  const env = openIndexEnv(folder, 'read')
  try {
    const facts = readFacts(env)
    const outcomes = readJson<readonly TaskOutcome[]>(env.main, mainKeys.outcomes) ?? []
    return {
      uid,
      primaryKey: facts?.primaryKey ?? null,
      documentCount: readBitmap(env.main, mainKeys.documentIds).size,
      task: outcomes.length === 0 ? null : Math.max(...outcomes.map((outcome) => outcome.uid)),
      indexFormat,
      madeAt,
    }
  } finally {
    await env.root.close()
  }
}

/** Writes the index's file; durable when it resolves. @throws SnapshotInvalid, before which the file may be there in part. */
async function unpack(source: AsyncIterable<Uint8Array>, path: string): Promise<SnapshotHeader> {
  let header: SnapshotHeader | undefined
  let isWhole = false
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const part of readSnapshot(source)) {
      if (part.kind === 'header') header = compatible(part.header)
      else if (part.kind === 'chunk') yield part.bytes
      else isWhole = true
    }
  }
  await pipeline(bytes(), createWriteStream(path))
  if (header === undefined || !isWhole) throw new SnapshotInvalid('The snapshot ends too early: the file is cut off.')
  await sync(path)
  await sync(dirname(path))
  return header
}

class SnapshotIncompatible extends Error {
  override readonly name = 'SnapshotIncompatible'
}

function compatible(header: SnapshotHeader): SnapshotHeader {
  if (header.indexFormat === indexFormat) return header
  throw new SnapshotIncompatible(
    `The snapshot holds tables of format ${header.indexFormat}; this program reads format ${indexFormat}. Restore it with the version that made it, and move the index by a dump.`,
  )
}

function jobError(error: unknown): ErrorBody | JobError {
  if (error instanceof ApiError) return error.body
  if (error instanceof SnapshotInvalid) return { code: 'snapshot_invalid', message: error.message }
  if (error instanceof SnapshotIncompatible) return { code: 'snapshot_incompatible', message: error.message }
  const message = error instanceof Error ? error.message : String(error)
  return errorBody(/ENOSPC|No space left/.test(message) ? 'no_space_left_on_device' : 'internal', message)
}

const notFound = (uid: string): ApiError => new ApiError('index_not_found', `Index \`${uid}\` not found.`)

const timeName = (now: number): string => new Date(now).toISOString().replace(/[-:.TZ]/g, '')
