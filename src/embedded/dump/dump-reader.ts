/** A dump of any Meilisearch with version V6 (M-H1), unpacked into a folder: its entries come in no certain order. */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { extract } from 'tar-stream'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { LoadRefused } from '../engine-loading.ts'

/** The file is no dump, or not one that we can read. The message says what to do. */
export class DumpInvalid extends LoadRefused {}

export interface UnpackedIndex {
  readonly uid: string
  readonly primaryKey: string | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly settings: JsonObject
  /** NDJSON file. */
  readonly documents: string
}

const entryName = /^(?:[A-Za-z0-9_.-]+\/){0,3}[A-Za-z0-9_.-]+$/

/** Reads the archive into `folder`. @throws DumpInvalid */
export async function unpackDump(path: string, folder: string): Promise<UnpackedDump> {
  const tar = extract()
  tar.on('entry', (header, stream, next) => {
    const name = header.name.replace(/^\.\//, '').replace(/\/$/, '')
    const isFile = header.type === 'file'
    if (isFile && (!entryName.test(name) || name.split('/').includes('..'))) {
      tar.destroy(new DumpInvalid(`The dump holds a file with an impossible name: ${JSON.stringify(name)}.`))
      return
    }
    const target = join(folder, name)
    const write = async () => {
      if (!isFile) return pipeline(stream, new Writable({ write: (_chunk, _encoding, done) => done() }))
      await mkdir(dirname(target), { recursive: true })
      await pipeline(stream, createWriteStream(target))
    }
    write().then(
      () => next(),
      (error: Error) => tar.destroy(error),
    )
  })
  try {
    await pipeline(createReadStream(path), createGunzip(), tar)
  } catch (error) {
    if (error instanceof DumpInvalid) throw error
    throw new DumpInvalid(`The dump ${path} cannot be unpacked: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    })
  }
  const dump = new UnpackedDump(folder)
  const { dumpVersion } = await dump.object('metadata.json')
  if (dumpVersion !== 'V6')
    throw new DumpInvalid(
      `The dump has version ${JSON.stringify(dumpVersion ?? null)}; this program reads V6, which Meilisearch writes since version 1.0. Import it into a Meilisearch of version 1 first, and make a dump there.`,
    )
  return dump
}

export class UnpackedDump {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** An empty object where the file is not there. @throws DumpInvalid */
  async object(name: string): Promise<JsonObject> {
    const text = await this.#text(name)
    if (text === undefined) return {}
    const value = parse(text, name)
    return value !== null && isObject(value) ? value : {}
  }

  async text(name: string): Promise<string | undefined> {
    return this.#text(name)
  }

  /** Objects of a file of lines; none where the file is not there. @throws DumpInvalid */
  async *lines(name: string): AsyncGenerator<JsonObject> {
    if (!(await this.has(name))) return
    for await (const line of createInterface({
      input: createReadStream(join(this.#folder, name)),
      crlfDelay: Infinity,
    })) {
      if (line === '') continue
      const value = parse(line, name)
      if (value === null || !isObject(value)) throw new DumpInvalid(`A line of ${name} in the dump is no object.`)
      yield value
    }
  }

  async *indexes(): AsyncGenerator<UnpackedIndex> {
    for (const name of await this.#names('indexes')) {
      const { uid, primaryKey, createdAt, updatedAt } = await this.object(`indexes/${name}/metadata.json`)
      if (typeof uid !== 'string')
        throw new DumpInvalid(`The dump does not say the name of the index in indexes/${name}.`)
      yield {
        uid,
        primaryKey: typeof primaryKey === 'string' ? primaryKey : null,
        createdAt: readTime(createdAt),
        updatedAt: readTime(updatedAt),
        settings: await this.object(`indexes/${name}/settings.json`),
        documents: join(this.#folder, 'indexes', name, 'documents.jsonl'),
      }
    }
  }

  /** Objects of a folder by name without ending. */
  async objects(folder: string): Promise<Record<string, JsonObject>> {
    const found: Record<string, JsonObject> = {}
    for (const name of await this.#names(folder))
      found[name.replace(/\.json$/, '')] = await this.object(`${folder}/${name}`)
    return found
  }

  /** NDJSON of a waiting task. */
  async payload(uid: number): Promise<AsyncIterable<Uint8Array> | undefined> {
    const name = `tasks/update_files/${uid}.jsonl`
    return (await this.has(name)) ? createReadStream(join(this.#folder, name)) : undefined
  }

  async has(name: string): Promise<boolean> {
    return stat(join(this.#folder, name)).then(
      () => true,
      () => false,
    )
  }

  async #names(folder: string): Promise<readonly string[]> {
    return (await readdir(join(this.#folder, folder)).catch(() => [])).sort()
  }

  async #text(name: string): Promise<string | undefined> {
    return (await this.has(name)) ? readFile(join(this.#folder, name), 'utf8') : undefined
  }
}

function parse(text: string, name: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (cause) {
    throw new DumpInvalid(`${name} in the dump is not JSON.`, { cause })
  }
}

function readTime(value: Json | undefined): number {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (Number.isNaN(at)) throw new DumpInvalid('The dump does not say when an index was made.')
  return at
}
