/**
 * Indexes, keys and tasks as one file: the dump of M-H1 (version V6), so that any Meilisearch can import it at start.
 * Holds secrets of settings in clear, vectors with their documents, and keys without their values.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Pack, pack } from 'tar-stream'
import type { Json, JsonObject } from '../../lib/json.ts'

export interface DumpedEntry {
  readonly uid: string
  readonly primaryKey: string | null
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly updatedAt: number
}

/** One index of a dump. `documents` is read once, in order, and never held as a whole. */
export interface DumpedIndex {
  readonly entry: DumpedEntry
  /** Secrets in clear. */
  readonly settings: JsonObject
  /** NDJSON, in pieces of any size. */
  readonly documents: AsyncIterable<string | Uint8Array>
}

export interface DumpedKey extends Omit<DumpedEntry, 'primaryKey'> {
  readonly name: string | null
  readonly description: string | null
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly expiresAt: number | null
}

export interface DumpedWebhook {
  readonly uuid: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

/** A task as a line of the queue, with what it still has to do. */
export interface DumpedTask {
  readonly uid: number
  readonly line: JsonObject
  /** NDJSON of a waiting task's documents. */
  readonly payload?: AsyncIterable<Uint8Array>
}

export interface DumpContents {
  readonly features: Readonly<Record<string, boolean>>
  readonly keys: readonly DumpedKey[]
  readonly webhooks: readonly DumpedWebhook[]
  readonly indexes: AsyncIterable<DumpedIndex>
  readonly instanceUid?: string
  /** As the network route shows it. */
  readonly network?: Json
  /** Chat settings by workspace. */
  readonly chats?: Readonly<Record<string, Json>>
  readonly tasks?: AsyncIterable<DumpedTask>
  readonly batches?: AsyncIterable<JsonObject>
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
    const written = pipeline(tar, createGzip(), createWriteStream(archive, { mode: 0o600 }))
    // A failed write also fails `addFile`; without this the first of the two would be an unhandled rejection.
    written.catch(() => tar.destroy())
    addText(tar, 'metadata.json', {
      dumpVersion: 'V6',
      dbVersion: engineVersion,
      dumpDate: new Date(now).toISOString(),
    })
    if (contents.instanceUid !== undefined) tar.entry({ name: 'instance_uid.uuid' }, contents.instanceUid)
    addText(tar, 'experimental-features.json', contents.features)
    if (contents.network !== undefined) addText(tar, 'network.json', contents.network)
    addText(tar, 'webhooks.json', { webhooks: Object.fromEntries(contents.webhooks.map(webhookEntry)) })
    addLines(tar, 'keys.jsonl', contents.keys.map(keyLine))
    tar.entry({ name: 'chat-completions-settings', type: 'directory' })
    for (const [name, settings] of Object.entries(contents.chats ?? {}))
      addText(tar, `chat-completions-settings/${name}.json`, settings)
    tar.entry({ name: 'tasks', type: 'directory' })
    tar.entry({ name: 'tasks/update_files', type: 'directory' })
    await addPieces(tar, staging, 'tasks/queue.jsonl', taskLines(tar, staging, contents.tasks ?? none()))
    tar.entry({ name: 'batches', type: 'directory' })
    await addPieces(tar, staging, 'batches/queue.jsonl', lines(contents.batches ?? none()))
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

async function* none(): AsyncGenerator<never> {}

/** The queue's lines; payloads go into the archive while it is read, each before the queue. */
async function* taskLines(tar: Pack, staging: string, tasks: AsyncIterable<DumpedTask>): AsyncIterable<string> {
  for await (const { uid, line, payload } of tasks) {
    if (payload !== undefined) await addPieces(tar, staging, `tasks/update_files/${uid}.jsonl`, payload)
    yield `${JSON.stringify(line)}\n`
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
  await addPieces(tar, staging, `${folder}/documents.jsonl`, documents)
}

async function* lines(values: AsyncIterable<JsonObject>): AsyncIterable<string> {
  for await (const value of values) yield `${JSON.stringify(value)}\n`
}

function addText(tar: Pack, name: string, value: unknown): void {
  tar.entry({ name }, JSON.stringify(value))
}

function addLines(tar: Pack, name: string, values: readonly unknown[]): void {
  tar.entry({ name }, values.map((value) => `${JSON.stringify(value)}\n`).join(''))
}

/** A tar entry begins with its size, so what comes in pieces goes through a file first. */
async function addPieces(
  tar: Pack,
  staging: string,
  name: string,
  pieces: AsyncIterable<string | Uint8Array>,
): Promise<void> {
  const file = join(staging, name.replaceAll('/', '-'))
  await pipeline(pieces, createWriteStream(file))
  const { size } = await stat(file)
  await pipeline(createReadStream(file), tar.entry({ name, size }))
  await rm(file)
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}

function keyLine(key: DumpedKey): unknown {
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

function webhookEntry({ uuid, url, headers }: DumpedWebhook): [string, unknown] {
  return [uuid, { url, headers }]
}

/** Name of a dump made at `now`: UTC as `YYYYMMDD-HHMMSSmmm` (M-H1). */
export function dumpUid(now: number): string {
  const [date, time] = new Date(now).toISOString().slice(0, -1).split('T')
  return `${date!.replaceAll('-', '')}-${time!.replace(/[:.]/g, '')}`
}
