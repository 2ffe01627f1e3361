/** The engine's HTTP surface over a core that holds one empty index: what is refused, who may do what. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { ApiError } from '../../api/errors.ts'
import { indexNotFound } from '../../api/index-uid.ts'
import { rethrowInside } from '../../api/multi-search-query.ts'
import { systemClock } from '../../lib/clock.ts'
import { isObject, type Json } from '../../lib/json.ts'
import type { EngineCore, EnqueueRequest } from '../core.ts'
import { type EngineServer, startEngineServer } from './engine-server.ts'

const masterKey = 'a-master-key-of-some-length'
const enqueued: (EnqueueRequest & { readonly text: string })[] = []
const searched: { readonly uid: string; readonly filter: Json }[] = []

/** Knows the index `t`, keeps what it is given, and answers searches with their filter. */
function stubCore(): EngineCore {
  const entries = new Map<string, Json>()
  const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))
  const known = (uid: string) => {
    if (uid !== 't') throw indexNotFound(uid)
  }
  const index = { uid: 't', createdAt: '', updatedAt: '', primaryKey: 'id' }
  const stats = {
    numberOfDocuments: 0,
    rawDocumentDbSize: 0,
    avgDocumentSize: 0,
    isIndexing: false,
    numberOfEmbeddings: 0,
    numberOfEmbeddedDocuments: 0,
    fieldDistribution: {},
  }
  const page = { results: [], total: 0, limit: 0, from: null, next: null }
  const searchOf = async (uid: string, query: { readonly filter: Json }) => {
    known(uid)
    searched.push({ uid, filter: query.filter })
    return bytes({})
  }
  return {
    compactTasks: async () => ({ bytesBefore: 2048, bytesAfter: 1024 }),
    integrity: () => ({ checkedBytes: 0, lastPassAt: null, damaged: [] }),
    rules: { get: () => undefined, list: () => ({ results: [], total: 0 }) },
    indexes: () => [index, { ...index, uid: 'other' }],
    index: (uid) => (uid === 't' ? index : undefined),
    async indexStats(uid) {
      known(uid)
      return stats
    },
    stats: async () => ({
      databaseSize: 0,
      usedDatabaseSize: 0,
      lastUpdate: null,
      indexes: { t: stats, other: stats },
    }),
    async fields(uid) {
      known(uid)
      return [{ name: 'id', displayed: { enabled: true } }]
    },
    async settings(uid) {
      known(uid)
      return {}
    },
    async document(uid, id) {
      known(uid)
      throw new ApiError('document_not_found', `Document \`${id}\` not found.`)
    },
    async documents(uid) {
      known(uid)
      return bytes({ results: [] })
    },
    search: searchOf,
    async multiSearch({ queries }) {
      for (const [position, query] of queries.entries()) {
        rethrowInside(position, () => known(query.indexUid))
        await searchOf(query.indexUid, query)
      }
      return bytes({ results: [] })
    },
    facetSearch: searchOf,
    similar: searchOf,
    renderTemplate: async () => bytes({}),
    async enqueue(request) {
      let text = ''
      for await (const piece of request.payload ?? []) text += Buffer.from(piece).toString()
      enqueued.push({ ...request, text })
      return { taskUid: 1, indexUid: request.uid, status: 'enqueued', type: 'indexCreation', enqueuedAt: '' }
    },
    task: () => undefined,
    tasks: () => page,
    batch: () => undefined,
    batches: () => page,
    taskPayload: () => undefined,
    waitForTask: async () => undefined,
    someTaskEnds: async () => false,
    store: {
      get: (key) => entries.get(key),
      list: (prefix) => [...entries].filter(([key]) => key.startsWith(prefix)).map(([key, value]) => ({ key, value })),
      put: async (key, value) => void entries.set(key, value),
      delete: async (key) => entries.delete(key),
    },
    snapshots: {
      create: notAsked,
      restore: notAsked,
      job: notAsked,
      byteCount: notAsked,
      files: {
        ...{ list: notAsked, find: notAsked, size: notAsked, read: notAsked, write: notAsked, remove: notAsked },
        ...{
          path: '/',
          rawHeader: notAsked,
          keepRaw: notAsked,
          copyRaw: notAsked,
          link: notAsked,
          readPart: notAsked,
          freeBytes: notAsked,
          addPart: notAsked,
        },
      },
    },
    close: async () => undefined,
  }
}

function notAsked(): never {
  throw new Error('no test asks for it')
}

let server: EngineServer
const failures: unknown[] = []
before(async () => {
  server = await startEngineServer({
    core: stubCore(),
    host: '127.0.0.1',
    port: 0,
    masterKey,
    payloadBytesMax: 1_000_000,
    onFailure: (error) => failures.push(error),
  })
})
after(() => server.close(0))

interface Options {
  readonly body?: string | undefined
  readonly type?: string | undefined
  readonly key?: string | null
}

async function ask(method: string, path: string, { body, type = 'application/json', key = masterKey }: Options = {}) {
  const answer = await fetch(server.url + path, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': type }),
    },
    ...(body === undefined ? {} : { body }),
  })
  const text = await answer.text()
  const value: Json = text === '' ? null : (JSON.parse(text) as Json)
  return { status: answer.status, headers: answer.headers, value: isObject(value) ? value : {} }
}

interface Vector {
  readonly method: string
  readonly path: string
  readonly body?: string
  readonly type?: string
  readonly status: number
  readonly code?: string
  readonly message?: string
}

test('what Meilisearch refuses is refused in its words', async () => {
  const lines = readFileSync(new URL('../../../test/vectors/refusals.jsonl', import.meta.url), 'utf8')
    .trim()
    .split('\n')
  for (const line of lines) {
    const { method, path, body, type, status, code, message } = JSON.parse(line) as Vector
    const answer = await ask(method, path, { body, type })
    const { code: foundCode, message: foundMessage } = answer.value
    assert.deepEqual({ status: answer.status, code: foundCode, message: foundMessage }, { status, code, message }, line)
  }
  assert.deepEqual(failures, [])
})

test('nothing of a refused request is learnt without a key', async () => {
  const missing = await ask('POST', '/indexes/t/search', { body: '{"q":1}', key: null })
  assert.deepEqual([missing.status, missing.value.code], [401, 'missing_authorization_header'])
  const wrong = await ask('POST', '/indexes/t/search', { body: '{"q":1}', key: 'wrong' })
  assert.deepEqual([wrong.status, wrong.value.code], [403, 'invalid_api_key'])
  assert.equal((await ask('GET', '/health', { key: null })).status, 200)
})

async function makeKey(key: { readonly actions: readonly string[]; readonly indexes: readonly string[] }) {
  const { status, value } = await ask('POST', '/keys', { body: JSON.stringify({ ...key, expiresAt: null }) })
  assert.equal(status, 201)
  return { uid: String(value.uid), value: String(value.key) }
}

test('a key does what it was made for, on its indexes, until it is deleted', async () => {
  const { uid, value } = await makeKey({
    actions: ['search', 'tasks.get', 'stats.get', 'indexes.get'],
    indexes: ['t*'],
  })
  assert.equal((await ask('POST', '/indexes/t/search', { body: '{}', key: value })).status, 200)
  assert.equal((await ask('DELETE', '/indexes/t', { key: value })).value.code, 'invalid_api_key')
  assert.equal(
    (await ask('POST', '/indexes/other/search', { body: '{}', key: value })).value.message,
    'The API key cannot acces the index `other`, authorized indexes are ["t*"].',
  )
  assert.equal((await ask('GET', '/indexes', { key: value })).value.total, 1)
  assert.deepEqual(Object.keys((await ask('GET', '/stats', { key: value })).value.indexes ?? {}), ['t'])
  assert.equal((await ask('GET', `/keys/${value}`)).value.uid, uid)
  assert.equal((await ask('DELETE', `/keys/${uid}`)).status, 204)
  assert.equal((await ask('POST', '/indexes/t/search', { body: '{}', key: value })).status, 403)
})

test('the four default keys exist, in their order', async () => {
  const { value } = await ask('GET', '/keys?limit=4')
  const names = Array.isArray(value.results) ? value.results.map((key: Json) => isObject(key) && key.name) : []
  assert.deepEqual(names, [
    'Default Search API Key',
    'Default Admin API Key',
    'Default Read-Only Admin API Key',
    'Default Chat API Key',
  ])
})

function token(claims: object, secret: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

test('the filter of a tenant token stands beside the one of the request, in every query', async () => {
  const { uid, value } = await makeKey({ actions: ['search'], indexes: ['*'] })
  const key = token({ apiKeyUid: uid, searchRules: { t: { filter: 'tenant = 1' } } }, value)
  searched.length = 0
  const body = JSON.stringify({ filter: 'a = 1) OR (b = 2' })
  assert.equal((await ask('POST', '/indexes/t/search', { body, key })).status, 200)
  const queries = JSON.stringify({ queries: [{ indexUid: 't', filter: ['a = 1'] }, { indexUid: 't' }] })
  assert.equal((await ask('POST', '/multi-search', { body: queries, key })).status, 200)
  assert.deepEqual(
    searched.map(({ filter }) => filter),
    [['tenant = 1', 'a = 1) OR (b = 2'], ['tenant = 1', 'a = 1'], 'tenant = 1'],
  )
  assert.equal((await ask('GET', '/indexes/t/documents', { key })).status, 403)
  assert.equal((await ask('POST', '/indexes/other/search', { body: '{}', key })).status, 403)
  const old = token({ apiKeyUid: uid, searchRules: ['*'], exp: Math.floor(systemClock.now() / 1000) - 5 }, value)
  assert.match(
    String((await ask('POST', '/indexes/t/search', { body: '{}', key: old })).value.message),
    /^Tenant token expired\./,
  )
})

test('documents reach the queue as lines, and refused ones do not', async () => {
  enqueued.length = 0
  const put = (body: string, type: string, query = '') => ask('POST', `/indexes/t/documents${query}`, { body, type })
  assert.equal((await put('[{"id":1},\n{"id":2}]', 'application/json', '?customMetadata=m')).status, 202)
  assert.equal((await put('id;a\n1;x', 'text/csv', '?csvDelimiter=%3B')).status, 202)
  assert.equal((await put('[{"id":1},', 'application/json')).value.code, 'malformed_payload')
  assert.equal((await put(`[{"id":"${'x'.repeat(1_000_000)}"}]`, 'application/json')).status, 413)
  assert.deepEqual(
    enqueued.map(({ text, customMetadata }) => [text, customMetadata]),
    [
      ['{"id":1}\n{"id":2}\n', 'm'],
      ['{"id":"1","a":"x"}\n', null],
    ],
  )
})

test('paths that could be read in two ways are refused', async () => {
  for (const path of ['/indexes/a%2fb', '/indexes//search', '/indexes/a;b', '/indexes/a%00'])
    assert.equal((await ask('GET', path)).status, 400, path)
})

test('anybody may ask before a call from another site', async () => {
  const answer = await ask('OPTIONS', '/indexes/t/search', { key: null })
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
})

// Else every stop of an engine that a lane waits on would take until the end of that wait.
test('an answer that waits for tasks goes out when the server closes', async () => {
  const held = new AbortController()
  const core: EngineCore = {
    ...stubCore(),
    someTaskEnds: (_timeoutMs, signal) =>
      new Promise((resolve) => {
        signal?.addEventListener('abort', () => resolve(false))
        held.abort()
      }),
  }
  const closing = await startEngineServer({ core, host: '127.0.0.1', port: 0, masterKey })
  const asking = fetch(`${closing.url}/tasks`, {
    headers: { authorization: `Bearer ${masterKey}`, prefer: 'respond-async, wait=30' },
  })
  if (!held.signal.aborted) await new Promise((resolve) => held.signal.addEventListener('abort', resolve))
  const closed = closing.close(1_000)
  const answer = await asking
  assert.equal(answer.headers.get('preference-applied'), 'wait=30')
  assert.equal(((await answer.json()) as { total: number }).total, 0)
  await closed
})
