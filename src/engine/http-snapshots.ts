/** Snapshots of single indexes over an engine's routes `/sis/…`. */
import type { Pool } from 'undici'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { EngineReply } from './engine.ts'
import type { EngineSnapshotJob, EngineSnapshots, PlacedPart, SnapshotPart } from './engine-snapshots.ts'
import { describeFailure, errorOf, replyOf } from './http-call.ts'

/** Requests for one part of a file; each goes on where the one before was cut off. */
const readsPerPartMax = 4

interface Raw {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** @param prefix  path of the engine's base URL. */
export function createHttpSnapshots(
  pool: Pool,
  prefix: string,
  ownHeaders: Readonly<Record<string, string>>,
): EngineSnapshots {
  const request = ({ method, path, headers, body }: Raw, signal: AbortSignal) =>
    pool.request({
      method,
      path: `${prefix}/sis${path}`,
      headers: { ...ownHeaders, ...headers },
      body: body ?? null,
      signal,
    })

  /** Every call may be made again, so that an answer that was lost is no more than a failure. */
  async function call(raw: Raw, signal: AbortSignal): Promise<EngineReply<Json> & { readonly status?: number }> {
    try {
      const { statusCode, body } = await request(raw, signal)
      return { ...replyOf(statusCode, await body.text()), status: statusCode }
    } catch (error) {
      return { kind: 'failed', reason: describeFailure(error) }
    }
  }

  const send = (path: string, value: JsonObject, signal: AbortSignal) => {
    const headers = { 'content-type': 'application/json' }
    return call({ method: 'POST', path, headers, body: JSON.stringify(value) }, signal)
  }

  return {
    async offer(signal) {
      const reply = await call({ method: 'GET', path: '' }, signal)
      if (reply.status !== undefined && withoutRoutes.includes(reply.status)) return { kind: 'answered', value: null }
      return decoded(reply, ({ engine = '', indexFormat, freeBytes, folder = '', hasRaw, hasAddresses }) => {
        if (typeof indexFormat !== 'number' || typeof freeBytes !== 'number' || typeof folder !== 'string')
          return undefined
        const can = { hasRaw: hasRaw === true, hasAddresses: hasAddresses === true }
        return { engine: String(engine), indexFormat, freeBytes, folder, ...can }
      })
    },
    async indexBytes(uid, signal) {
      const reply = await call({ method: 'GET', path: `/indexes/${encodeURIComponent(uid)}` }, signal)
      return decoded(reply, ({ byteCount }) => (typeof byteCount === 'number' ? byteCount : undefined))
    },
    async create(uid, { name, isCompressed, isRaw }, signal) {
      const order = { name, isCompressed, ...(isRaw ? { isRaw } : {}) }
      return decoded(await send(`/indexes/${encodeURIComponent(uid)}/snapshots`, order, signal), decodeJob)
    },
    async job(id, signal) {
      return decoded(await call({ method: 'GET', path: `/jobs/${encodeURIComponent(id)}` }, signal), decodeJob)
    },
    async find(name, signal) {
      const reply = decoded(await call({ method: 'GET', path: '/files' }, signal), ({ results }) =>
        Array.isArray(results) ? results.filter(isObject) : undefined,
      )
      if (reply.kind !== 'answered') return reply
      const file = reply.value.find((one) => one.name === name)
      if (file === undefined) return { kind: 'answered', value: null }
      const { byteCount, snapshot } = file
      const madeAt = isObject(snapshot) ? snapshot.madeAt : undefined
      return typeof byteCount === 'number' && typeof madeAt === 'string'
        ? { kind: 'answered', value: { name, byteCount, madeAt } }
        : { kind: 'failed', reason: `the snapshot ${name} cannot be read` }
    },
    async read(name, start, end, signal) {
      const bytes = Buffer.allocUnsafe(end - start)
      let digest: string | undefined
      let count = 0
      let reason = ''
      for (let reads = 0; reads < readsPerPartMax && !signal.aborted; reads += 1) {
        try {
          const range = `bytes=${start + count}-${end - 1}`
          const answer = await request({ method: 'GET', path: filePath(name), headers: { range } }, signal)
          if (answer.statusCode !== 206) return notPart(answer.statusCode, await answer.body.text())
          // The first answer is of the whole part.
          digest ??= String(answer.headers['content-digest'] ?? '')
          for await (const piece of answer.body) {
            const read: Uint8Array = piece
            if (count + read.length > bytes.length) return { kind: 'failed', reason: 'more bytes than were asked for' }
            bytes.set(read, count)
            count += read.length
          }
          if (count === bytes.length) return { kind: 'answered', value: { start, bytes, digest } }
          reason = 'fewer bytes than were asked for'
        } catch (error) {
          reason = describeFailure(error)
        }
      }
      return { kind: 'failed', reason }
    },
    async write(name, byteCount, part, signal) {
      const reply = await call({ method: 'PUT', path: filePath(name), ...partRequest(byteCount, part) }, signal)
      return decoded(reply, receivedBytes)
    },
    async send(name, part, signal) {
      return decoded(await send(`${filePath(name)}/parts/send`, placed(part), signal), () => 'sent')
    },
    async fetch(name, byteCount, part, signal) {
      return decoded(await send(`${filePath(name)}/parts/fetch`, { ...placed(part), byteCount }, signal), receivedBytes)
    },
    async link(name, folder, signal) {
      const reply = await send(filePath(name), { folder }, signal)
      if (reply.kind === 'failed' || reply.kind === 'unknown') return reply
      return { kind: 'answered', value: reply.kind === 'answered' }
    },
    async restore(name, uid, signal) {
      return decoded(await send('/imports', { name, uid, mode: 'create' }, signal), decodeJob)
    },
    async remove(name, signal) {
      const reply = await call({ method: 'DELETE', path: filePath(name) }, signal)
      if (reply.kind === 'answered' || reply.status === 404) return { kind: 'answered', value: 'removed' }
      return reply
    },
  }
}

/** What an engine answers that knows nothing of them. */
const withoutRoutes: readonly number[] = [404, 405, 501]

const filePath = (name: string): string => `/files/${encodeURIComponent(name)}`

function notPart(status: number, text: string): EngineReply<SnapshotPart> {
  const reply = replyOf(status, text)
  return reply.kind === 'answered' ? { kind: 'failed', reason: `${status} in the place of a part` } : reply
}

const receivedBytes = ({ receivedBytes }: JsonObject): number | undefined =>
  typeof receivedBytes === 'number' ? receivedBytes : undefined

const placed = ({ address, start, end, key }: PlacedPart): JsonObject => ({
  ...{ address, start, end },
  key: Buffer.from(key).toString('base64'),
})

function partRequest(byteCount: number, part: SnapshotPart | null): Pick<Raw, 'headers' | 'body'> {
  if (part === null) return { headers: { 'content-range': `bytes */${byteCount}` } }
  const { start, bytes, digest } = part
  const range = `bytes ${start}-${start + bytes.length - 1}/${byteCount}`
  return { headers: { 'content-range': range, 'content-digest': digest }, body: bytes }
}

function decoded<T>(reply: EngineReply<Json>, decode: (value: JsonObject) => T | undefined): EngineReply<T> {
  if (reply.kind !== 'answered') return reply
  const value = isObject(reply.value) ? decode(reply.value) : undefined
  return value === undefined ? { kind: 'failed', reason: 'an answer of unknown form' } : { kind: 'answered', value }
}

const states = ['waiting', 'running', 'succeeded', 'failed'] as const

function decodeJob({ id, state, error = null }: JsonObject): EngineSnapshotJob | undefined {
  const known = states.find((one) => one === state)
  if (typeof id !== 'string' || known === undefined) return undefined
  const told = error === null ? null : (errorOf(error) ?? { code: 'internal', message: JSON.stringify(error) })
  return { id, state: known, error: told }
}
