/** Objects as files of a folder: synced, file and folders, before their name is there. */
import { createReadStream } from 'node:fs'
import { mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { assert } from '../../lib/assert.ts'
import { isObjectName, ObjectMissing, type ObjectStore, ObjectsUnavailable } from './object-store.ts'

/** No object's name ends so. */
const stagingSuffix = '.part~'

export function openFolderObjects(folder: string): ObjectStore {
  const pathOf = (name: string) => {
    assert(isObjectName(name), `\`${name}\` names no object`)
    return join(folder, ...name.split('/'))
  }
  return {
    place: folder,
    async put(name, bytes, { signal } = {}) {
      const path = pathOf(name)
      // Two writers of one name do not meet in one file.
      const staging = `${path}.${process.pid}.${counter++}${stagingSuffix}`
      try {
        await makeFolder(folder, dirname(path))
        const byteCount = await writeSynced(staging, bytes, signal)
        await rename(staging, path)
        await syncFolder(dirname(path))
        return { name, byteCount }
      } catch (error) {
        await rm(staging, { force: true }).catch(() => undefined)
        throw signal?.aborted === true ? error : asUnavailable(error)
      }
    },
    async *get(name, { signal } = {}) {
      try {
        yield* createReadStream(pathOf(name), {
          highWaterMark: 256 * 1024,
          ...(signal === undefined ? {} : { signal }),
        })
      } catch (error) {
        if (isAbsent(error)) throw new ObjectMissing(`there is no ${name} in ${folder}`)
        throw signal?.aborted === true ? error : asUnavailable(error)
      }
    },
    async find(name) {
      const status = await stat(pathOf(name)).catch(unlessAbsent)
      return status?.isFile() === true ? { name, byteCount: status.size } : undefined
    },
    async *list(prefix) {
      const below = await opendir(folder, { recursive: true }).catch(unlessAbsent)
      if (below === undefined) return
      for await (const entry of below) {
        if (!entry.isFile() || entry.name.endsWith(stagingSuffix)) continue
        const path = join(entry.parentPath, entry.name)
        const name = relative(folder, path).split(sep).join('/')
        if (!name.startsWith(prefix)) continue
        const status = await stat(path).catch(unlessAbsent)
        if (status !== undefined) yield { name, byteCount: status.size }
      }
    },
    delete: (name) =>
      rm(pathOf(name), { force: true }).catch((error) => {
        throw asUnavailable(error)
      }),
    presign: null,
    close: () => undefined,
  }
}

let counter = 0

async function writeSynced(
  path: string,
  bytes: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const file = await open(path, 'wx', 0o600)
  try {
    let byteCount = 0
    for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
      signal?.throwIfAborted()
      await file.writeFile(chunk)
      byteCount += chunk.byteLength
    }
    await file.sync()
    return byteCount
  } finally {
    await file.close()
  }
}

/** Every folder on the way whose entry is new is synced. */
async function makeFolder(root: string, path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let made = path; made !== dirname(first) && made !== dirname(root); made = dirname(made)) {
    await syncFolder(dirname(made))
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders; NTFS journals its names itself.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  await folder.sync().finally(() => folder.close())
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}

function unlessAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw asUnavailable(error)
  return undefined
}

function asUnavailable(error: unknown): unknown {
  const isOfSystem = error instanceof Error && 'syscall' in error
  return isOfSystem ? new ObjectsUnavailable(`the folder refuses: ${error.message}`, { cause: error }) : error
}
