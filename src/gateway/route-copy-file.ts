/**
 * A gateway's copy of its route table on disk (P-16): a gateway that starts while the store is away serves searches from it.
 *
 * The file: `FJRC`, version (1 byte, 1), nonce (12 bytes), AES-256-GCM of the gzipped lines of `route-copy.ts`, tag (16). It
 * appears whole, by a rename, and only its owner can read it.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip, createGzip } from 'node:zlib'
import type { Clock } from '../lib/clock.ts'
import type { Json } from '../lib/json.ts'
import { copyLines, createCopyReader, type RouteCopy } from '../topology/route-copy.ts'
import type { RouteTable } from '../topology/route-table.ts'

const magic = Buffer.from('FJRC\u0001', 'latin1')
const nonceBytes = 12
const tagBytes = 16
const headBytes = magic.length + nonceBytes
/** Lines are handed on in pieces of this size, between which requests have their turn. */
const pieceCharsMax = 32 * 1024

export interface RouteCopyFile {
  /** `undefined`: there is none that can be used. Why not is in the log. */
  read(): Promise<RouteCopy | undefined>
  /** Replaces the copy. Answers when it is on disk. */
  write(table: RouteTable, asOf: number, notes: Json): Promise<void>
  /** Age in milliseconds of the file by the disk's clock, whoever wrote it; `undefined` = there is none. */
  age(): Promise<number | undefined>
}

export interface RouteCopyFileOptions {
  readonly path: string
  /** 32 bytes. */
  readonly key: Uint8Array
  readonly clock: Pick<Clock, 'now'>
  readonly log: { warn(fields: object, message: string): void }
}

export function routeCopyFile({ path, key, clock, log }: RouteCopyFileOptions): RouteCopyFile {
  async function write(table: RouteTable, asOf: number, notes: Json): Promise<void> {
    await mkdir(dirname(path), { recursive: true })
    const draft = `${path}.${process.pid}.draft`
    const nonce = randomBytes(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    const file = await open(draft, 'w', 0o600)
    try {
      const source = Readable.from(pieces(copyLines(table, asOf, notes)))
      await file.writeFile(Buffer.concat([magic, nonce]))
      await pipeline(source, createGzip({ level: 1 }), cipher, async (sealed: AsyncIterable<Buffer>) => {
        for await (const piece of sealed) await file.writeFile(piece)
      })
      await file.writeFile(cipher.getAuthTag())
      await file.sync()
      await file.close()
      await rename(draft, path)
    } catch (error) {
      await file.close().catch(() => undefined)
      await rm(draft, { force: true })
      throw error
    }
  }

  async function readWhole(): Promise<RouteCopy | undefined> {
    const file = await open(path, 'r')
    const head = Buffer.alloc(headBytes)
    const tag = Buffer.alloc(tagBytes)
    const { size } = await file.stat()
    try {
      if (size < headBytes + tagBytes) return undefined
      await file.read(head, 0, headBytes, 0)
      await file.read(tag, 0, tagBytes, size - tagBytes)
    } finally {
      await file.close()
    }
    if (!head.subarray(0, magic.length).equals(magic)) return undefined
    const decipher = createDecipheriv('aes-256-gcm', key, head.subarray(magic.length)).setAuthTag(tag)
    const reader = createCopyReader()
    const sealed = createReadStream(path, { start: headBytes, end: size - tagBytes - 1 })
    // Nothing that was read is used unless the whole file proves to be ours, which shows at its end.
    await pipeline(sealed, decipher, createGunzip(), async (pieces: AsyncIterable<Buffer>) => {
      for await (const line of linesOf(pieces)) reader.take(line)
    })
    return reader.finish()
  }

  return {
    write,
    async read() {
      try {
        const copy = await readWhole()
        if (copy === undefined) log.warn({ file: path }, 'the copy of the routes cannot be used')
        return copy
      } catch (error) {
        log.warn({ file: path, err: error }, 'the copy of the routes cannot be used')
        return undefined
      }
    },
    async age() {
      const found = await stat(path).catch(() => undefined)
      return found && Math.max(0, clock.now() - found.mtimeMs)
    },
  }
}

async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const piece of pieces) {
    const lines = `${rest}${decoder.write(piece)}`.split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

function* pieces(lines: Iterable<string>): Generator<string> {
  let piece = ''
  for (const line of lines) {
    piece += line
    if (piece.length < pieceCharsMax) continue
    yield piece
    piece = ''
  }
  yield piece
}
