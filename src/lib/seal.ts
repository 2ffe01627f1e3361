/**
 * Secrets at rest: AES-256-GCM under a 32-byte key, with the key's id in front, so that a wrong key is noticed as such.
 *
 * Sealed form: version (1 byte, 1) · key id (4 bytes) · nonce (12) · tag (16) · ciphertext. `context` is authenticated but
 * not stored: a sealed value that was moved to another row does not open there.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { link, open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface SealingKey {
  /** First 4 bytes of the key's SHA-256, hex. */
  readonly id: string
  seal(plain: string | Uint8Array, context: string): Buffer
  /** Throws `SealBroken` when key, context or bytes are wrong. */
  open(sealed: Uint8Array, context: string): Buffer
  /** 32 secret bytes for another purpose (HKDF-SHA256, RFC 5869): the same ones for the same key and purpose. */
  derive(purpose: string): Buffer
  /** The key itself, to be sealed under another one. */
  bytes(): Buffer
}

/** Id of the key that a value was sealed under, hex. */
export function sealedUnder(sealed: Uint8Array): string {
  return Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength).subarray(1, 5).toString('hex')
}

export class SealBroken extends Error {
  override readonly name = 'SealBroken'
}

const version = 1
/** What a sealed value has more than the plain one. */
export const headerByteCount = 1 + 4 + 12 + 16

/** @param key 32 bytes. */
export function sealingKey(key: Uint8Array): SealingKey {
  if (key.length !== 32) throw new SealBroken(`a sealing key has 32 bytes, not ${key.length}`)
  const id = createHash('sha256').update(key).digest().subarray(0, 4)
  return {
    id: id.toString('hex'),
    seal: (plain, context) => {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
      const body = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([Buffer.of(version), id, nonce, cipher.getAuthTag(), body])
    },
    open: (sealed, context) => {
      const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      if (bytes.length < headerByteCount || bytes[0] !== version) throw new SealBroken('not a sealed value')
      if (!bytes.subarray(1, 5).equals(id)) throw new SealBroken('sealed under another key')
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(5, 17))
      decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(17, headerByteCount))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(headerByteCount)), decipher.final()])
      } catch (cause) {
        throw new SealBroken('a sealed value was altered or moved', { cause })
      }
    },
    bytes: () => Buffer.from(key),
    derive: (purpose) => Buffer.from(hkdfSync('sha256', key, '', `flapjack ${purpose}`, 32)),
  }
}

/** Parses a configured key: 64 hex digits or base64 of 32 bytes. */
export function parseSealingKey(text: string): SealingKey {
  const trimmed = text.trim()
  return sealingKey(Buffer.from(trimmed, /^[0-9a-f]{64}$/i.test(trimmed) ? 'hex' : 'base64'))
}

/**
 * Reads the key from `path`; at the first start writes a random one there (mode 0600), synced before it is used. Two
 * processes that start at once end with the same key: the file appears whole, by a link that only one of them makes.
 */
export async function loadSealingKey(path: string): Promise<SealingKey> {
  const existing = await readSealingKey(path)
  if (existing !== undefined) return existing
  const staging = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.new`
  const file = await open(staging, 'w', 0o600)
  try {
    await file.writeFile(`${randomBytes(32).toString('hex')}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await link(staging, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await unlink(staging)
  const folder = await open(dirname(path), 'r')
  await folder.sync().finally(() => folder.close())
  return parseSealingKey(await readFile(path, 'utf8'))
}

/** `undefined`: there is no such file. */
export async function readSealingKey(path: string): Promise<SealingKey | undefined> {
  const text = await readFile(path, 'utf8').catch(ignoreMissing)
  return text === undefined ? undefined : parseSealingKey(text)
}

/**
 * Puts the key at `next` in the place of the one at `path`, which stays beside it under its id: backups made before need it.
 * May run again after a crash at any point.
 */
export async function replaceSealingKey(path: string, next: string): Promise<void> {
  const before = await loadSealingKey(path)
  await link(path, `${path}.${before.id}`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await rename(next, path)
  const folder = await open(dirname(path), 'r')
  await folder.sync().finally(() => folder.close())
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
  return undefined
}
