/**
 * The whole engine as one file (M-H2): a compressed archive of its tasks, waiting payloads and indexes as they are stored,
 * for an engine of the same version. Checked by the archive's own checksum when it is read.
 */
import { createReadStream, createWriteStream, existsSync, readdirSync } from 'node:fs'
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { extract, type Pack, pack } from 'tar-stream'
import { LoadRefused } from '../engine-loading.ts'
import { indexFormat } from '../index-env.ts'
import { openMetaEnv } from '../meta-env.ts'

/** The file is no snapshot, or not one that we can read. The message says what to do. */
export class EngineSnapshotInvalid extends LoadRefused {}

export interface EngineSnapshotSource {
  /** Folder names of the indexes. */
  readonly indexes: readonly string[]
  readonly payloadFolder: string
  /** Hot copies into an existing folder. */
  readonly copyTasks: (target: string) => Promise<void>
  readonly copyIndex: (name: string, target: string) => Promise<void>
}

const format = 1

/** Runs while no batch does. The file replaces the one before; durable when it resolves. */
export async function writeEngineSnapshot(path: string, source: EngineSnapshotSource): Promise<void> {
  const staging = `${path}.partial`
  await rm(staging, { recursive: true, force: true })
  await mkdir(staging, { recursive: true, mode: 0o700 })
  const archive = join(staging, basename(path))
  try {
    const tar = pack()
    const written = pipeline(tar, createGzip({ level: 1 }), createWriteStream(archive, { mode: 0o600 }))
    written.catch(() => tar.destroy())
    tar.entry({ name: 'VERSION' }, JSON.stringify({ engine: 'flapjack', format, indexFormat }))
    await addCopy(tar, staging, 'tasks', source.copyTasks)
    for (const name of readdirSync(source.payloadFolder))
      await addFile(tar, `payloads/${name}`, join(source.payloadFolder, name))
    for (const name of source.indexes)
      await addCopy(tar, staging, `indexes/${name}`, (target) => source.copyIndex(name, target))
    tar.finalize()
    await written
    await chmod(archive, 0o400)
    await sync(archive)
    await rename(archive, path)
    await sync(dirname(path))
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

async function addCopy(
  tar: Pack,
  staging: string,
  name: string,
  copy: (target: string) => Promise<void>,
): Promise<void> {
  const folder = join(staging, 'copy')
  await mkdir(folder)
  await copy(folder)
  await addFile(tar, `${name}/data.mdb`, join(folder, 'data.mdb'))
  await rm(folder, { recursive: true })
}

async function addFile(tar: Pack, name: string, file: string): Promise<void> {
  const { size } = await stat(file)
  await pipeline(createReadStream(file, { highWaterMark: 2 ** 20 }), tar.entry({ name, size }))
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}

const entryName = /^(?:VERSION|tasks\/data\.mdb|payloads\/[0-9a-f-]+\.ndjson|indexes\/[0-9a-f-]+\/data\.mdb)$/

/** Makes the snapshot the content of the engine's folder, which holds no engine yet. @throws EngineSnapshotInvalid */
export async function importEngineSnapshot(path: string, dbPath: string): Promise<void> {
  const tar = extract()
  tar.on('entry', (header, stream, next) => {
    if (!entryName.test(header.name)) {
      tar.destroy(
        new EngineSnapshotInvalid(`The snapshot ${path} is not one of this engine: it holds \`${header.name}\`.`),
      )
      return
    }
    const target = join(dbPath, header.name)
    mkdir(dirname(target), { recursive: true })
      .then(() => pipeline(stream, createWriteStream(target)))
      .then(() => sync(target))
      .then(
        () => next(),
        (error: Error) => tar.destroy(error),
      )
  })
  try {
    await pipeline(createReadStream(path), createGunzip(), tar)
  } catch (error) {
    if (error instanceof EngineSnapshotInvalid) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new EngineSnapshotInvalid(`The snapshot ${path} cannot be read: ${why}`, { cause: error })
  }
  await checkVersion(path, dbPath)
  await rm(join(dbPath, 'VERSION'))
  await dropSnapshotTasks(join(dbPath, 'tasks'))
}

async function checkVersion(path: string, dbPath: string): Promise<void> {
  const file = join(dbPath, 'VERSION')
  const text = existsSync(file) ? await readFile(file, 'utf8') : ''
  if (text !== JSON.stringify({ engine: 'flapjack', format, indexFormat }))
    throw new EngineSnapshotInvalid(
      `The snapshot ${path} was made by another version of this program (${text.slice(0, 200)}). Restore it with that version, and move its content by a dump.`,
    )
}

/** The task that made the snapshot waits in it, and would make another one. */
async function dropSnapshotTasks(folder: string): Promise<void> {
  const { root, tasks } = openMetaEnv(folder)
  for (const { key, value } of tasks.getRange())
    if (value.operation.kind === 'snapshot' && value.status === 'enqueued') tasks.removeSync(key)
  await root.close()
}
