/** The engine adapter for stock Meilisearch and the embedded engine: one HTTP API, spoken through undici. */
import type { IncomingHttpHeaders } from 'node:http'
import type { LookupFunction } from 'node:net'
import { Pool } from 'undici'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { joinMembers, splitItems, splitMembers } from '../lib/json-cut.ts'
import type { Engine, EngineReply, EngineTask } from './engine.ts'
import { type Call, type CallBody, callEngine } from './http-call.ts'
import { createHttpSnapshots } from './http-snapshots.ts'
import { decodeTask } from './task-row.ts'

export interface HttpEngineOptions {
  /** Base URL without a trailing slash. */
  readonly url: string
  /** The engine's master key; null = it runs without one. */
  readonly key: string | null
  /** Longest silence before the headers of an answer, milliseconds. Default 30,000. */
  readonly answerTimeoutMs?: number
  /** Resolves the host's name, for targets that clients name; the system's resolver otherwise. */
  readonly lookup?: LookupFunction
}

export interface HttpEngine extends Engine {
  /** Ends all connections; requests in flight fail. */
  close(): Promise<void>
}

/** Uid of the key that marks a node's disk (NF-31). Fixed: one engine process is one node. */
export const markerKeyUid = 'f1a7ac40-0000-4000-8000-000000000001'
/** Numbers in one read of tasks (NF-42). */
const tasksPerRead = 200
const endedStatuses = 'statuses=succeeded,failed,canceled'
/** Registration is serial in the engine (NF-15); more connections only queue. */
const connections = 8

export function createHttpEngine(options: HttpEngineOptions): HttpEngine {
  const url = new URL(options.url)
  const pool = new Pool(url.origin, {
    connections,
    pipelining: 1,
    headersTimeout: options.answerTimeoutMs ?? 30_000,
    bodyTimeout: options.answerTimeoutMs ?? 30_000,
    connect: { timeout: 5_000, ...(options.lookup === undefined ? {} : { lookup: options.lookup }) },
    keepAliveTimeout: 4_000,
  })
  const headers = options.key === null ? {} : { authorization: `Bearer ${options.key}` }
  const prefix = url.pathname.replace(/\/$/, '')
  const isRemote = !/^(localhost|127\.|\[::1\])/.test(url.hostname)

  const call = (request: Call) => callEngine(pool, headers, { ...request, path: prefix + request.path })
  const get = (path: string, signal: AbortSignal) => call({ method: 'GET', path, isRead: true, signal })
  const read = (path: string, value: Json, hasExactIds: boolean, signal: AbortSignal) =>
    call({ method: 'POST', path, body: { kind: 'json', value }, isRead: true, hasExactIds, signal })
  const write = async (request: Omit<Call, 'isRead'>) => taskNumber(await call({ ...request, isRead: false }))
  const writeJson = (method: 'POST' | 'PATCH', path: string, value: Json, signal: AbortSignal) =>
    write({ method, path, body: { kind: 'json', value }, signal })

  let waits = false
  const noteWaits = (answered: IncomingHttpHeaders) => {
    waits = /\bwait=/.test(String(answered['preference-applied'] ?? ''))
  }

  async function readTasks(
    query: string,
    signal: AbortSignal,
    waitSeconds?: number,
  ): Promise<EngineReply<readonly EngineTask[]>> {
    const request: Call = { method: 'GET', path: `/tasks?${query}`, isRead: true, signal }
    const reply = await call(waitSeconds === undefined ? request : { ...request, waitSeconds, onHeaders: noteWaits })
    return map(reply, (value) => resultsOf(value)?.map(decodeTask))
  }

  return {
    capabilities: {
      isRemote,
      get waits() {
        return waits
      },
    },
    snapshots: createHttpSnapshots(pool, prefix, headers),
    async health(signal) {
      return map(await get('/health', signal), (value) =>
        isObject(value) && value.status === 'available' ? 'available' : undefined,
      )
    },
    async version(signal) {
      return map(await get('/version', signal), (value) =>
        isObject(value) && typeof value.pkgVersion === 'string' ? value.pkgVersion : undefined,
      )
    },
    createIndex: (uid, primaryKey, signal) => writeJson('POST', '/indexes', { uid, primaryKey }, signal),
    updateIndex: (uid, primaryKey, signal) => writeJson('PATCH', indexPath(uid), { primaryKey }, signal),
    deleteIndex: (uid, signal) => write({ method: 'DELETE', path: indexPath(uid), signal }),
    compactIndex: (uid, signal) => write({ method: 'POST', path: `${indexPath(uid)}/compact`, signal }),
    putDocuments: (uid, { merge, primaryKey, mark }, documents, signal) =>
      write({
        method: merge ? 'PUT' : 'POST',
        path: `${indexPath(uid)}/documents?${query({ primaryKey, customMetadata: mark })}`,
        body: { kind: 'ndjson', chunks: documents, gzip: isRemote },
        signal,
      }),
    deleteDocuments: (uid, ids, mark, signal) =>
      write({
        method: 'POST',
        path: `${indexPath(uid)}/documents/delete-batch?${query({ customMetadata: mark })}`,
        body: Symbol.asyncIterator in ids ? { kind: 'list', lines: ids } : { kind: 'json', value: [] },
        signal,
      }),
    clearDocuments: (uid, mark, signal) =>
      write({ method: 'DELETE', path: `${indexPath(uid)}/documents?${query({ customMetadata: mark })}`, signal }),
    async editDocuments(uid, edit, mark, signal) {
      const members: [string, string][] = [['function', JSON.stringify(edit.function)]]
      if (edit.filter !== null) members.push(['filter', JSON.stringify(edit.filter)])
      if (edit.context !== null) members.push(['context', edit.context])
      const body: CallBody = { kind: 'text', text: joinMembers(members) }
      const path = `${indexPath(uid)}/documents/edit?${query({ customMetadata: mark })}`
      const reply = await write({ method: 'POST', path, body, signal })
      if (reply.kind !== 'refused' || reply.error.code !== 'feature_not_enabled') return reply
      // The flag of the node is ours to set: what a project may use was decided before the change was accepted.
      const flag = await call({
        method: 'PATCH',
        path: '/experimental-features',
        body: { kind: 'json', value: { editDocumentsByFunction: true } },
        isRead: true,
        signal,
      })
      return flag.kind === 'answered' ? write({ method: 'POST', path, body, signal }) : reply
    },
    applySettings: (uid, settings, signal) => writeJson('PATCH', `${indexPath(uid)}/settings`, settings, signal),
    async tasks(uids, signal, { endedOnly = false, waitSeconds } = {}) {
      const statuses = endedOnly ? `&${endedStatuses}` : ''
      const found: EngineTask[] = []
      for (let at = 0; at < uids.length; at += tasksPerRead) {
        const group = uids.slice(at, at + tasksPerRead)
        const reply = await readTasks(`uids=${group.join(',')}&limit=${group.length}${statuses}`, signal, waitSeconds)
        if (reply.kind !== 'answered') return reply
        found.push(...reply.value)
      }
      return { kind: 'answered', value: found }
    },
    newestTasks: (uid, limit, from, signal) =>
      readTasks(
        query({ indexUids: uid ?? null, limit: String(limit), from: from === undefined ? null : `${from}` }),
        signal,
      ),
    async endedTasks(from, limit, signal) {
      const page = `${endedStatuses}&reverse=true&from=${from}&limit=${limit}`
      return map(await get(`/tasks?${page}`, signal), (value) => {
        const tasks = resultsOf(value)?.map(decodeTask)
        const total = isObject(value) ? value.total : undefined
        return tasks && typeof total === 'number' ? { tasks, total } : undefined
      })
    },
    deleteTasks: (uids, signal) => write({ method: 'DELETE', path: `/tasks?uids=${uids.join(',')}`, signal }),
    cancelTasks: (uid, signal) =>
      write({ method: 'POST', path: `/tasks/cancel?${query({ indexUids: uid, statuses: 'enqueued' })}`, signal }),
    async fetchDocuments(uid, wanted, signal) {
      const { ids, filter, fields, retrieveVectors } = wanted
      const body: JsonObject = {
        limit: wanted.limit,
        offset: wanted.offset ?? 0,
        ...(ids === undefined ? {} : { ids }),
        ...(filter === undefined ? {} : { filter }),
        ...(fields === undefined ? {} : { fields }),
        ...(retrieveVectors === undefined ? {} : { retrieveVectors }),
      }
      return map(await read(`${indexPath(uid)}/documents/fetch`, body, fields !== undefined, signal), (value) => {
        const results = resultsOf(value)
        const total = isObject(value) ? value.total : undefined
        return results && typeof total === 'number' ? { results, total } : undefined
      })
    },
    async fetchDocumentTexts(uid, { ids, filter, offset, limit }, signal) {
      const value: JsonObject = {
        limit,
        offset,
        retrieveVectors: true,
        ...(ids === undefined ? {} : { ids }),
        ...(filter === undefined ? {} : { filter }),
      }
      const path = `${indexPath(uid)}/documents/fetch`
      const body: CallBody = { kind: 'json', value }
      return map(await call({ method: 'POST', path, body, isText: true, isRead: true, signal }), (text) => {
        const results = typeof text === 'string' ? splitMembers(text).get('results') : undefined
        return results === undefined ? undefined : splitItems(results)
      })
    },
    async settings(uid, signal) {
      return map(await get(`${indexPath(uid)}/settings`, signal), objectOf)
    },
    async indexes(signal) {
      const found: { uid: string; primaryKey: string | null; createdAt: string }[] = []
      const page = 1000
      for (;;) {
        const reply = map(await get(`/indexes?limit=${page}&offset=${found.length}`, signal), resultsOf)
        if (reply.kind !== 'answered') return reply
        for (const row of reply.value) {
          found.push({
            uid: String(row.uid),
            primaryKey: typeof row.primaryKey === 'string' ? row.primaryKey : null,
            createdAt: String(row.createdAt),
          })
        }
        if (reply.value.length < page) return { kind: 'answered', value: found }
      }
    },
    async indexStats(uid, signal) {
      return map(await get(`${indexPath(uid)}/stats`, signal), objectOf)
    },
    async readMarker(signal) {
      const path = `/keys/${markerKeyUid}`
      const reply = await call({ method: 'GET', path, isRead: true, mayRefuseKey: true, signal })
      if (reply.kind === 'refused' && reply.error.code === 'invalid_api_key') {
        // A key that is wrong, or one that may not see keys? The latter may see tasks.
        const tasks = await readTasks('limit=0', signal)
        return tasks.kind === 'answered' ? reply : { kind: 'failed', reason: `${reply.status} ${reply.error.code}` }
      }
      if (reply.kind === 'refused' && reply.error.code === 'api_key_not_found') return { kind: 'answered', value: null }
      return map(reply, (value) =>
        isObject(value)
          ? {
              name: String(value.name ?? ''),
              description: String(value.description ?? ''),
              createdAt: String(value.createdAt),
            }
          : undefined,
      )
    },
    async writeMarker(name, description, signal) {
      // It may do next to nothing: a key is the only thing that is kept at once and without a task.
      const key: JsonObject = {
        uid: markerKeyUid,
        name,
        description,
        actions: ['version'],
        indexes: ['*'],
        expiresAt: null,
      }
      const set = (method: 'POST' | 'PATCH', path: string, value: JsonObject) =>
        call({ method, path, body: { kind: 'json', value }, isRead: true, signal })
      const changed = await set('PATCH', `/keys/${markerKeyUid}`, { name, description })
      const isMissing = changed.kind === 'refused' && changed.error.code === 'api_key_not_found'
      return map(isMissing ? await set('POST', '/keys', key) : changed, () => 'written')
    },
    close: () => pool.destroy(),
  }
}

function indexPath(uid: string): string {
  return `/indexes/${encodeURIComponent(uid)}`
}

/** Leaves out what is null. */
function query(parameters: Readonly<Record<string, string | null>>): string {
  return Object.entries(parameters)
    .flatMap(([name, value]) => (value === null ? [] : [`${name}=${encodeURIComponent(value)}`]))
    .join('&')
}

/** Decodes an answer; one that is not of the expected form is an engine that is ill. */
function map<T>(reply: EngineReply<Json>, decode: (value: Json) => T | undefined): EngineReply<T> {
  if (reply.kind !== 'answered') return reply
  const value = decode(reply.value)
  return value === undefined ? { kind: 'failed', reason: 'an answer of unknown form' } : { kind: 'answered', value }
}

/** A write was executed when its number came back; any other 2xx leaves open what happened. */
function taskNumber(reply: EngineReply<Json>): EngineReply<number> {
  if (reply.kind !== 'answered') return reply
  const uid = isObject(reply.value) ? reply.value.taskUid : undefined
  return typeof uid === 'number'
    ? { kind: 'answered', value: uid }
    : { kind: 'unknown', reason: 'an answer without a task number' }
}

function objectOf(value: Json): JsonObject | undefined {
  return isObject(value) ? value : undefined
}

function resultsOf(value: Json): readonly JsonObject[] | undefined {
  if (!isObject(value) || !Array.isArray(value.results)) return undefined
  return value.results.every(isObject) ? value.results : undefined
}
