/** Payloads of waiting tasks: small ones stand beside their task, larger ones in files that are synced before the task exists. */
import { randomUUID } from 'node:crypto'
import { createReadStream, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { StoredPayload } from './task-record.ts'

/** Payloads up to this size are stored with their task. */
const inlineBytesMax = 64 * 1024

export interface ReceivedPayload {
  readonly stored: StoredPayload
  /** For `inline`. */
  readonly bytes: Uint8Array | undefined
}

export class PayloadFiles {
  readonly #folder: string

  /** @param used  files of unfinished tasks; all others are left-overs of a crash and are removed. */
  constructor(folder: string, used: ReadonlySet<string>) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true })
    for (const name of readdirSync(folder)) if (!used.has(name)) rmSync(join(folder, name), { force: true })
  }

  path(name: string): string {
    return join(this.#folder, name)
  }

  /** Reads the payload to its end. When the source fails, nothing stays. */
  async receive(source: AsyncIterable<Uint8Array>): Promise<ReceivedPayload> {
    const first: Uint8Array[] = []
    let byteCount = 0
    let file: FileHandle | undefined
    let name = ''
    try {
      for await (const chunk of source) {
        byteCount += chunk.length
        if (file !== undefined) {
          await file.writeFile(chunk)
          continue
        }
        first.push(chunk)
        if (byteCount <= inlineBytesMax) continue
        name = `${randomUUID()}.ndjson`
        file = await open(this.path(name), 'wx')
        await file.writeFile(Buffer.concat(first))
        first.length = 0
      }
      if (file === undefined) return { stored: { kind: 'inline', byteCount }, bytes: Buffer.concat(first) }
      await file.sync()
    } catch (error) {
      await file?.close()
      if (file !== undefined) await rm(this.path(name), { force: true })
      throw error
    }
    await file.close()
    await syncFolder(this.#folder)
    return { stored: { kind: 'file', name, byteCount }, bytes: undefined }
  }

  read(name: string): AsyncIterable<Uint8Array> {
    return createReadStream(this.path(name))
  }

  remove(name: string): void {
    rmSync(this.path(name), { force: true })
  }
}

/** Makes the folder's new names durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
