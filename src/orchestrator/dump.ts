/**
 * A project as one file: the dump of M-H1 (version V6), so that any Meilisearch can import it at start.
 *
 * Holds the project's indexes with settings in clear and vectors with the documents, its keys without values, its flags
 * and webhooks. It holds no task history: task numbers belong to the project that it came from.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Pack, pack } from 'tar-stream'
import type { JsonObject } from '../lib/json.ts'
import type { ApiKey, IndexEntry, Webhook } from '../store/catalogue.ts'

/** One index of a dump. `documents` is read once, in order, and never held as a whole. */
export interface DumpedIndex {
  readonly entry: IndexEntry
  /** Complete settings, secrets in clear. */
  readonly settings: JsonObject
  readonly documents: AsyncIterable<JsonObject>
}

export interface DumpContents {
  readonly features: Readonly<Record<string, boolean>>
  readonly keys: readonly ApiKey[]
  readonly webhooks: readonly Webhook[]
  readonly indexes: AsyncIterable<DumpedIndex>
}

/**
 * Writes the archive to `path`: built beside it, synced and renamed, so that the name never shows half a file. May run
 * again after a crash: what an earlier run left is replaced.
 *
 * @param engineVersion  release whose format this is, for example `1.50.0`.
 * @param now            milliseconds since 1970, for `dumpDate`.
 */
export async function writeDump(
  path: string,
  contents: DumpContents,
  engineVersion: string,
  now: number,
): Promise<void> {
  const staging = `${path}.partial`
  await rm(staging, { recursive: true, force: true })
  await mkdir(staging, { recursive: true })
  const archive = join(staging, basename(path))
  try {
    const tar = pack()
    const written = pipeline(tar, createGzip(), createWriteStream(archive))
    // A failed write also fails `addFile`; without this the first of the two would be an unhandled rejection.
    written.catch(() => tar.destroy())
    addText(tar, 'metadata.json', {
      dumpVersion: 'V6',
      dbVersion: engineVersion,
      dumpDate: new Date(now).toISOString(),
    })
    addText(tar, 'experimental-features.json', contents.features)
    addText(tar, 'webhooks.json', { webhooks: Object.fromEntries(contents.webhooks.map(dumpedWebhook)) })
    addLines(tar, 'keys.jsonl', contents.keys.map(dumpedKey))
    tar.entry({ name: 'tasks', type: 'directory' })
    tar.entry({ name: 'tasks/update_files', type: 'directory' })
    addLines(tar, 'tasks/queue.jsonl', [])
    tar.entry({ name: 'batches', type: 'directory' })
    addLines(tar, 'batches/queue.jsonl', [])
    tar.entry({ name: 'indexes', type: 'directory' })
    for await (const index of contents.indexes) await addIndex(tar, staging, index)
    tar.finalize()
    await written
    await sync(archive)
    await rename(archive, path)
    await sync(dirname(path))
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

async function addIndex(tar: Pack, staging: string, { entry, settings, documents }: DumpedIndex): Promise<void> {
  const folder = `indexes/${entry.uid}`
  tar.entry({ name: folder, type: 'directory' })
  addText(tar, `${folder}/metadata.json`, {
    uid: entry.uid,
    primaryKey: entry.primaryKey,
    createdAt: new Date(entry.createdAt).toISOString(),
    updatedAt: new Date(entry.updatedAt).toISOString(),
  })
  addText(tar, `${folder}/settings.json`, settings)
  // A tar entry begins with its size, so the documents go through a file first.
  const file = join(staging, 'documents.jsonl')
  await pipeline(lines(documents), createWriteStream(file))
  await addFile(tar, `${folder}/documents.jsonl`, file)
  await rm(file)
}

async function* lines(documents: AsyncIterable<JsonObject>): AsyncIterable<string> {
  for await (const document of documents) yield `${JSON.stringify(document)}\n`
}

function addText(tar: Pack, name: string, value: unknown): void {
  tar.entry({ name }, JSON.stringify(value))
}

function addLines(tar: Pack, name: string, values: readonly unknown[]): void {
  tar.entry({ name }, values.map((value) => `${JSON.stringify(value)}\n`).join(''))
}

async function addFile(tar: Pack, name: string, file: string): Promise<void> {
  const { size } = await stat(file)
  await pipeline(createReadStream(file), tar.entry({ name, size }))
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}

function dumpedKey(key: ApiKey): unknown {
  return {
    description: key.description,
    name: key.name,
    uid: key.uid,
    actions: key.actions,
    indexes: key.indexes,
    expires_at: key.expiresAt === null ? null : new Date(key.expiresAt).toISOString(),
    created_at: new Date(key.createdAt).toISOString(),
    updated_at: new Date(key.updatedAt).toISOString(),
  }
}

function dumpedWebhook({ uuid, url, headers }: Webhook): [string, unknown] {
  return [uuid, { url, headers }]
}

/** Name of a dump made at `now`: UTC as `YYYYMMDD-HHMMSSmmm` (M-H1). */
export function dumpUid(now: number): string {
  const [date, time] = new Date(now).toISOString().slice(0, -1).split('T')
  return `${date!.replaceAll('-', '')}-${time!.replace(/[:.]/g, '')}`
}
