/**
 * The objects of a backup: parts, compressed and sealed under a key of the backup's own, and a manifest that names them with
 * their digests, written last: a backup without one is none.
 *
 * Memory: one part and its compressed form.
 */
import { createHash, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { canonicalJson, isObject, type Json } from '../../lib/json.ts'
import { SealBroken, type SealingKey, sealingKey } from '../../lib/seal.ts'
import type { Backup, BackupPart } from '../../store/backups.ts'
import { ObjectMissing, type ObjectStore, readWhole } from '../../store/objects/object-store.ts'
import { decodeSteps, encodeStep, type ScriptStep } from './script-step.ts'

/** A backup, or a part of it, is not what its maker wrote; the message names which. Nothing of it is used. */
export class BackupUnusable extends Error {}

/** What the secret is derived for under which manifests hold keys of parts. */
export const backupPurpose = 'backups'
export const manifestFormat = 'flapjack-backup'
export const manifestVersion = 1
/** Text of a part before it is compressed, about. */
const partBytes = 8 * 2 ** 20
/** Speed matters more than the last tenth of size. */
const compressionLevel = 3

export interface Manifest {
  readonly format: typeof manifestFormat
  readonly version: typeof manifestVersion
  readonly id: string
  /** Reference (P-02). */
  readonly project: string
  readonly index: string
  readonly uid: string
  readonly primaryKey: string | null
  readonly spread: Backup['spread']
  readonly from: number
  readonly position: number
  readonly takenAt: number
  readonly createdAt: number
  readonly documents: number
  readonly parts: readonly BackupPart[]
  /** Of the parts, sealed under a key that is derived from the installation's sealing key; base64. */
  readonly key: string
  /** SHA-256 of everything else as canonical JSON, lower-case hex. */
  readonly digest: string
}

export function folderOf(ref: string, { index, id }: Pick<Backup, 'index' | 'id'>): string {
  return `${ref}/${index}/${id}`
}

export const manifestName = (folder: string) => `${folder}/manifest.json`

/** Gathers steps into parts; `flush` writes what is left. */
export class PartWriter {
  readonly #objects: ObjectStore
  readonly #folder: string
  readonly #seal: SealingKey
  #waiting: Uint8Array[] = []
  #byteCount = 0
  #lines = 0
  #number: number
  /** Of this writer: one that lost its lease and does not know yet overwrites nothing of its successor. */
  readonly #mark = randomBytes(4).toString('hex')

  /** @param number  of parts that are there. */
  constructor(objects: ObjectStore, folder: string, key: Buffer, number: number) {
    this.#objects = objects
    this.#folder = folder
    this.#seal = sealingKey(key)
    this.#number = number
  }

  /** Answers the part that it filled, when it did. */
  async add(step: ScriptStep, kind: BackupPart['kind'], signal: AbortSignal): Promise<BackupPart | undefined> {
    for (const bytes of encodeStep(step)) {
      this.#waiting.push(bytes)
      this.#byteCount += bytes.byteLength
    }
    if ('piece' in step) this.#lines += step.piece.lines
    return this.#byteCount < partBytes ? undefined : this.flush(kind, signal)
  }

  async flush(kind: BackupPart['kind'], signal: AbortSignal): Promise<BackupPart | undefined> {
    if (this.#waiting.length === 0) return undefined
    const text = Buffer.concat(this.#waiting)
    const lines = this.#lines
    this.#waiting = []
    this.#byteCount = 0
    this.#lines = 0
    this.#number += 1
    const name = `part-${String(this.#number).padStart(6, '0')}-${this.#mark}`
    const path = `${this.#folder}/${name}`
    const body = this.#seal.seal(await promisify(gzip)(text, { level: compressionLevel }), path)
    await this.#objects.put(path, body, { byteCount: body.byteLength, signal })
    return { name, kind, byteCount: body.byteLength, sha256: sha256(body), lines }
  }
}

/** The steps of one part. @throws BackupUnusable */
export async function readPart(
  objects: ObjectStore,
  folder: string,
  key: Buffer,
  part: BackupPart,
  signal: AbortSignal,
): Promise<readonly ScriptStep[]> {
  const path = `${folder}/${part.name}`
  const body = await whole(objects, path, signal)
  if (body.byteLength !== part.byteCount || sha256(body) !== part.sha256) {
    throw new BackupUnusable(`${path} is corrupt: it is not what its backup's manifest says (${objects.place})`)
  }
  try {
    return [...decodeSteps(await promisify(gunzip)(sealingKey(key).open(body, path)))]
  } catch (cause) {
    throw new BackupUnusable(`${path} cannot be opened: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

/** @param secret  32 bytes that follow from the installation's sealing key. */
export function manifestOf(ref: string, backup: Backup & { readonly key: Buffer }, secret: Buffer): Manifest {
  const { id, index, uid, primaryKey, spread, createdAt, documents, parts } = backup
  const manifest = {
    ...({ format: manifestFormat, version: manifestVersion } as const),
    ...{ id, project: ref, index, uid, primaryKey, spread, createdAt, documents, parts },
    from: backup.from ?? 0,
    position: backup.position ?? 0,
    takenAt: backup.takenAt ?? 0,
    key: sealingKey(secret).seal(backup.key, keyContext(id)).toString('base64'),
  }
  return { ...manifest, digest: digestOf(manifest) }
}

export async function writeManifest(
  objects: ObjectStore,
  folder: string,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  await objects.put(manifestName(folder), Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`), { signal })
}

/** @throws BackupUnusable */
export async function readManifest(objects: ObjectStore, folder: string, signal: AbortSignal): Promise<Manifest> {
  const path = manifestName(folder)
  const bytes = await whole(objects, path, signal)
  const broken = new BackupUnusable(`${path} is corrupt (${objects.place})`)
  let found: Json
  try {
    found = JSON.parse(bytes.toString()) as Json
  } catch {
    throw broken
  }
  if (!isObject(found) || found.format !== manifestFormat) throw broken
  if (found.version !== manifestVersion) {
    throw new BackupUnusable(
      `${path} has format version ${JSON.stringify(found.version)}; this program reads version ${manifestVersion}`,
    )
  }
  const { digest, ...rest } = found
  if (digest !== digestOf(rest)) throw broken
  // What has our digest was written by `manifestOf`.
  return JSON.parse(bytes.toString()) as Manifest
}

/** @throws BackupUnusable when it stands under another sealing key. */
export function keyOf(manifest: Manifest, secret: Buffer): Buffer {
  try {
    return sealingKey(secret).open(Buffer.from(manifest.key, 'base64'), keyContext(manifest.id))
  } catch (cause) {
    if (!(cause instanceof SealBroken)) throw cause
    throw new BackupUnusable(`backup ${manifest.id} was made under another sealing key: ${cause.message}`, { cause })
  }
}

/** Objects of a backup, the manifest first: what breaks off in between leaves no backup that looks whole. */
export async function deleteObjects(objects: ObjectStore, folder: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await objects.delete(manifestName(folder))
  for await (const { name } of objects.list(`${folder}/`)) {
    signal.throwIfAborted()
    await objects.delete(name)
  }
}

const keyContext = (id: string) => `backup:${id}:key`

async function whole(objects: ObjectStore, path: string, signal: AbortSignal): Promise<Buffer> {
  try {
    return await readWhole(objects.get(path, { signal }))
  } catch (cause) {
    if (!(cause instanceof ObjectMissing)) throw cause
    throw new BackupUnusable(`${path} is missing in ${objects.place}`, { cause })
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function digestOf(manifest: object): string {
  return sha256(Buffer.from(canonicalJson(JSON.parse(JSON.stringify(manifest)) as Json)))
}
