/**
 * Snapshots of single indexes (P-27): routes of this engine alone, which no gateway passes on. All need the action
 * `snapshots.create`, since a file holds an index with the secrets of its settings.
 */
import { ApiError } from '../../api/errors.ts'
import { checkIndexUid } from '../../api/index-uid.ts'
import { bodyStream } from '../../lib/http-body.ts'
import { isObject } from '../../lib/json.ts'
import type { RestoreMode, SnapshotJob } from '../snapshot/index-snapshots.ts'
import type { StoredSnapshot } from '../snapshot/snapshot-folder.ts'
import { accepted, type Call, json, noContent, type Route, readJson } from './call.ts'

const route = (method: Route['method'], path: string, handle: Route['handle']): Route => ({
  method,
  path,
  action: 'snapshots.create',
  handle,
})

export const snapshotRoutes: readonly Route[] = [
  route('POST', '/sis/indexes/{uid}/snapshots', (call) =>
    accepted(viewOfJob(call.parts.core.snapshots.create(checkIndexUid(param(call))))),
  ),
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
    await files.write(param(call), bodyStream(call.request, Number.MAX_SAFE_INTEGER))
    return json(viewOfFile(await files.find(param(call))))
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

/** The file, or the bytes of one `Range`. */
async function download(call: Call) {
  const { files } = call.parts.core.snapshots
  const { byteCount } = await files.find(param(call))
  const range = rangeOf(call.request.headers.range, byteCount)
  if (range === 'unsatisfiable')
    throw new ApiError('bad_request', `The range does not lie within the ${byteCount} bytes of the file.`, {
      status: 416,
      headers: { 'content-range': `bytes */${byteCount}` },
    })
  const body = await files.read(param(call), range)
  const { start, end } = range ?? { start: 0, end: byteCount - 1 }
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(end - start + 1),
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
