/**
 * Snapshots of single indexes (P-27): routes of this engine alone, which no gateway passes on. All need the action
 * `snapshots.create`, since a file holds an index with the secrets of its settings.
 */
import { createHash } from 'node:crypto'
import { isAbsolute } from 'node:path'
import { ApiError } from '../../api/errors.ts'
import { checkIndexUid } from '../../api/index-uid.ts'
import { bodyStream, readBody } from '../../lib/http-body.ts'
import { isObject } from '../../lib/json.ts'
import { type FilePart, openPart, partKeyBytes, sealBytes, sealPart } from '../../lib/sealed-part.ts'
import { indexFormat } from '../index-env.ts'
import type { RestoreMode, SnapshotJob, SnapshotOrder } from '../snapshot/index-snapshots.ts'
import { getFrom, putAt } from '../snapshot/part-courier.ts'
import type { StoredSnapshot } from '../snapshot/snapshot-folder.ts'
import { accepted, type Call, json, noContent, type Route, readJson } from './call.ts'

const route = (method: Route['method'], path: string, handle: Route['handle']): Route => ({
  method,
  path,
  action: 'snapshots.create',
  handle,
})

export const snapshotRoutes: readonly Route[] = [
  route('GET', '/sis', async ({ parts }) => {
    const { files } = parts.core.snapshots
    const freeBytes = await files.freeBytes()
    return json({ engine: 'flapjack', indexFormat, freeBytes, folder: files.path, hasRaw: true, hasAddresses: true })
  }),
  route('GET', '/sis/indexes/{uid}', async ({ parts, params: [uid = ''] }) =>
    json({ uid, byteCount: await parts.core.snapshots.byteCount(uid) }),
  ),
  route('POST', '/sis/indexes/{uid}/snapshots', async (call) => {
    const order = await readOrder(call)
    return accepted(viewOfJob(call.parts.core.snapshots.create(checkIndexUid(param(call)), order)))
  }),
  route('GET', '/sis/jobs/{id}', (call) => {
    const job = call.parts.core.snapshots.job(param(call))
    if (job === undefined) throw new ApiError('not_found', `Job \`${param(call)}\` not found.`)
    return json(viewOfJob(job))
  }),
  route('GET', '/sis/files', async ({ parts }) =>
    json({ results: (await parts.core.snapshots.files.list()).map(viewOfFile) }),
  ),
  route('GET', '/sis/files/{name}', download),
  route('PUT', '/sis/files/{name}', async (call) => {
    const { files } = call.parts.core.snapshots
    const range = call.request.headers['content-range']
    if (range !== undefined) return receivePart(call, range)
    await files.write(param(call), bodyStream(call.request, Number.MAX_SAFE_INTEGER))
    return json(viewOfFile(await files.find(param(call))))
  }),
  route('POST', '/sis/files/{name}', async (call) => {
    const body = await readJson(call)
    const { folder, ...others } = isObject(body) ? body : {}
    if (typeof folder !== 'string' || !isAbsolute(folder) || Object.keys(others).length > 0)
      throw new ApiError('bad_request', 'Expected `{"folder": path of the snapshots of another engine}`.')
    const { files } = call.parts.core.snapshots
    await files.link(param(call), folder)
    return json(viewOfFile(await files.find(param(call))))
  }),
  route('POST', '/sis/files/{name}/parts/send', async (call) => {
    const { address, start, end, key } = await readPlacedPart(call)
    const { files } = call.parts.core.snapshots
    if (end > (await files.size(param(call))))
      throw new ApiError('bad_request', 'The part lies behind the end of the file.')
    const bytes = await files.readPart(param(call), { start, end: end - 1 })
    await putAt(address, sealPart(key, { name: param(call), start, bytes }))
    return json({ start, end })
  }),
  route('POST', '/sis/files/{name}/parts/fetch', async (call) => {
    const { address, start, end, key, byteCount } = await readPlacedPart(call)
    if (byteCount === undefined || byteCount < end)
      throw new ApiError('bad_request', 'Expected `byteCount`: the size of the file.')
    const sealed = await getFrom(address, end - start + sealBytes)
    const bytes = opened(key, { name: param(call), start, bytes: sealed })
    return json(await call.parts.core.snapshots.files.addPart(param(call), byteCount, { start, bytes }))
  }),
  route('DELETE', '/sis/files/{name}', async (call) => {
    await call.parts.core.snapshots.files.remove(param(call))
    return noContent
  }),
  route('POST', '/sis/imports', async (call) => {
    const { name, uid, mode } = await readImport(call)
    return accepted(viewOfJob(await call.parts.core.snapshots.restore(name, uid, mode)))
  }),
]

/** Bytes of one part of an upload at most. */
const partBytesMax = 16 * 2 ** 20
/** Longer ranges are sent without a digest. */
const digestBytesMax = partBytesMax

async function readOrder(call: Call): Promise<SnapshotOrder> {
  const body = call.request.headers['content-type'] === undefined ? {} : await readJson(call)
  const { name = null, isCompressed = true, isRaw = false, ...others } = isObject(body) ? body : { others: body }
  const isName = name === null || typeof name === 'string'
  const areFlags = typeof isCompressed === 'boolean' && typeof isRaw === 'boolean'
  if (!isName || !areFlags || Object.keys(others).length > 0)
    throw new ApiError(
      'bad_request',
      'Expected `{"name": a file name or null, "isCompressed": true or false, "isRaw": true or false}`.',
    )
  return { name, isCompressed, isRaw }
}

/**
 * One part of an upload: `Content-Range: bytes <start>-<end>/<size of the file>`, with a `Content-Digest` (RFC 9530) that it
 * must have. `bytes *` in the place of the range asks how much is here.
 */
async function receivePart(call: Call, header: string) {
  const match = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15})$/.exec(header)
  const [, start, end, byteCount] = (match ?? []).map(Number)
  if (byteCount === undefined || !(byteCount > 0))
    throw new ApiError('bad_request', 'Expected `Content-Range: bytes <start>-<end>/<size>` or `bytes */<size>`.')
  const { files } = call.parts.core.snapshots
  const bytes = await readPart(call)
  if (match?.[1] === undefined || start === undefined || end === undefined)
    return json(await files.addPart(param(call), byteCount, undefined))
  if (bytes.length !== end - start + 1)
    throw new ApiError('bad_request', `The part has ${bytes.length} bytes, its range ${end - start + 1}.`)
  const digest = call.request.headers['content-digest']
  if (digest !== digestOf(bytes))
    throw new ApiError('bad_request', 'The part does not have the SHA-256 of its `Content-Digest`.', { status: 422 })
  return json(await files.addPart(param(call), byteCount, { start, bytes }))
}

async function readPart({ request }: Call): Promise<Uint8Array> {
  try {
    return await readBody(request, partBytesMax)
  } catch (error) {
    throw new ApiError('bad_request', `A part is whole and has at most ${partBytesMax} bytes.`, { cause: error })
  }
}

interface PlacedPart {
  readonly address: string
  readonly start: number
  /** Not included. */
  readonly end: number
  /** 32 bytes. */
  readonly key: Uint8Array
  /** Of the whole file. */
  readonly byteCount: number | undefined
}

async function readPlacedPart(call: Call): Promise<PlacedPart> {
  const body = await readJson(call)
  const { address, start, end, key, byteCount, ...others } = isObject(body) ? body : {}
  const bytes = typeof key === 'string' ? Buffer.from(key, 'base64') : Buffer.of()
  const isAddress = typeof address === 'string' && /^https?:/.test(address) && URL.canParse(address)
  const isRange = isCount(start) && isCount(end) && start < end && end - start <= partBytesMax
  const isKnown = Object.keys(others).length === 0 && (byteCount === undefined || isCount(byteCount))
  if (!isAddress || !isRange || !isKnown || bytes.length !== partKeyBytes)
    throw new ApiError(
      'bad_request',
      `Expected \`{"address": an http or https URL, "start", "end": at most ${partBytesMax} bytes, "key": ${partKeyBytes} bytes in base64}\`.`,
    )
  return { address, start, end, key: bytes, byteCount }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

/** @throws ApiError as a part whose digest is wrong. */
function opened(key: Uint8Array, part: FilePart): Uint8Array {
  try {
    return openPart(key, part)
  } catch (cause) {
    throw new ApiError('bad_request', 'What lies there is not that part, or not under this key.', {
      cause,
      status: 422,
    })
  }
}

const digestOf = (bytes: Uint8Array): string => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`

const param = ({ params }: Call): string => params[0] ?? ''

async function readImport(
  call: Call,
): Promise<{ readonly name: string; readonly uid: string; readonly mode: RestoreMode }> {
  const body = await readJson(call)
  const { name, uid, mode = 'create', ...others } = isObject(body) ? body : {}
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw new ApiError('bad_request', `Unknown field \`${unknown}\`: expected one of \`name\`, \`uid\`, \`mode\``)
  if (typeof name !== 'string' || typeof uid !== 'string' || (mode !== 'create' && mode !== 'replace'))
    throw new ApiError(
      'bad_request',
      'Expected `{"name": a snapshot file, "uid": name of the index, "mode": "create" or "replace"}`.',
    )
  return { name, uid, mode }
}

/** The file, or the bytes of one `Range`; those of a short one with a `Content-Digest`. */
async function download(call: Call) {
  const { files } = call.parts.core.snapshots
  const byteCount = await files.size(param(call))
  const range = rangeOf(call.request.headers.range, byteCount)
  if (range === 'unsatisfiable')
    throw new ApiError('bad_request', `The range does not lie within the ${byteCount} bytes of the file.`, {
      status: 416,
      headers: { 'content-range': `bytes */${byteCount}` },
    })
  const { start, end } = range ?? { start: 0, end: byteCount - 1 }
  const isPart = range !== undefined && end - start < digestBytesMax
  const body = isPart ? await files.readPart(param(call), range) : await files.read(param(call), range)
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(end - start + 1),
    ...(body instanceof Uint8Array ? { 'content-digest': digestOf(body) } : {}),
    'accept-ranges': 'bytes',
    ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${byteCount}` }),
  }
  return { status: range === undefined ? 200 : 206, body, headers }
}

function rangeOf(
  header: string | undefined,
  byteCount: number,
): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const start = match[1] === '' ? Math.max(0, byteCount - Number(match[2])) : Number(match[1])
  const end = match[1] === '' || match[2] === '' ? byteCount - 1 : Math.min(Number(match[2]), byteCount - 1)
  return start > end ? 'unsatisfiable' : { start, end }
}

function viewOfJob({ id, kind, state, name, uid, header, error }: SnapshotJob) {
  return { id, kind, state, name, uid, snapshot: header === null ? null : viewOfHeader(header), error }
}

const viewOfFile = ({ name, byteCount, header }: StoredSnapshot) => ({
  name,
  byteCount,
  snapshot: header === null ? null : viewOfHeader(header),
})

const viewOfHeader = ({ madeAt, ...others }: NonNullable<StoredSnapshot['header']>) => ({
  ...others,
  madeAt: new Date(madeAt).toISOString(),
})
