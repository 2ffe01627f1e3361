/**
 * Large payloads as files of one folder. A blob has a random name, is written once, and is synced (file, then folder)
 * before its name is known to anybody: a row that refers to a blob always finds it whole.
 */
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { asUnavailable } from './database.ts'

export interface Blobs {
  /** Durable when it resolves. Nothing is left behind when `bytes` throws or the disk refuses (`StoreUnavailable`). */
  write(bytes: AsyncIterable<Uint8Array>): Promise<{ readonly name: string; readonly byteCount: number }>
  open(name: string): AsyncIterable<Uint8Array>
  /** A missing blob is no error: deleting may run twice. */
  delete(name: string): Promise<void>
  /** Names of blobs that are older than `ageMs`, in groups. */
  olderThan(ageMs: number): AsyncIterable<readonly string[]>
}

const namePattern = /^[0-9a-f]{32}$/
const stagingSuffix = '.part'
/** Larger writes would hold more in memory than they gain. */
const bufferedBytesMax = 1024 * 1024

/** Blobs lie in 256 folders by the first two digits of their name. */
export function openBlobs(
  folder: string,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Blobs {
  const pathOf = (name: string) => {
    assert(namePattern.test(name), 'a blob name has 32 hex digits')
    return join(folder, name.slice(0, 2), name)
  }
  return {
    async write(bytes) {
      const name = Buffer.from(random.bytes(16)).toString('hex')
      const path = pathOf(name)
      const parent = join(folder, name.slice(0, 2))
      try {
        const isNew = (await mkdir(parent, { recursive: true })) !== undefined
        if (isNew) await syncFolder(folder)
        const byteCount = await writeFile(`${path}${stagingSuffix}`, bytes)
        await rename(`${path}${stagingSuffix}`, path)
        await syncFolder(parent)
        return { name, byteCount }
      } catch (error) {
        await rm(`${path}${stagingSuffix}`, { force: true }).catch(() => undefined)
        throw asUnavailable(error)
      }
    },
    open: (name) => createReadStream(pathOf(name), { highWaterMark: 256 * 1024 }),
    delete: (name) => rm(pathOf(name), { force: true }),
    async *olderThan(ageMs) {
      const before = clock.now() - ageMs
      for (const prefix of await readdir(folder).catch(() => [])) {
        const old: string[] = []
        for (const entry of await readdir(join(folder, prefix)).catch(() => [])) {
          const path = join(folder, prefix, entry)
          const status = await stat(path).catch(() => undefined)
          if (status === undefined || status.mtimeMs >= before) continue
          // What a crash left half written has no owner at all.
          if (entry.endsWith(stagingSuffix)) await rm(path, { force: true })
          else if (namePattern.test(entry)) old.push(entry)
        }
        if (old.length > 0) yield old
      }
    },
  }
}

async function writeFile(path: string, bytes: AsyncIterable<Uint8Array>): Promise<number> {
  const file = await open(path, 'wx', 0o600)
  try {
    let byteCount = 0
    let waiting: Uint8Array[] = []
    let waitingByteCount = 0
    const flush = async () => {
      if (waiting.length > 0) await file.writeFile(Buffer.concat(waiting))
      waiting = []
      waitingByteCount = 0
    }
    for await (const chunk of bytes) {
      waiting.push(chunk)
      waitingByteCount += chunk.byteLength
      byteCount += chunk.byteLength
      if (waitingByteCount >= bufferedBytesMax) await flush()
    }
    await flush()
    await file.sync()
    return byteCount
  } finally {
    await file.close()
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders; NTFS journals its names itself.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  await folder.sync().finally(() => folder.close())
}
