import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { type FakeEngine, startFakeEngine } from '../../test/support/fake-engine.ts'
import { testProject } from '../../test/support/project.ts'
import { defaultKeys } from '../api/key-body.ts'
import { signAccessToken } from '../control/access-token-signing.ts'
import { keyValue } from '../control/key-value.ts'
import { platformKey } from '../control/token-keys.ts'
import type { AppendRequest, Journal } from '../journal/ports.ts'
import { isObject, type Json } from '../lib/json.ts'
import type { ApiKey, CatalogueEvent, IndexEntry, Node, Placement, Project } from '../store/catalogue.ts'
import { type Catalogue, type CatalogueChange, StoreUnavailable } from '../store/ports.ts'
import { physicalName } from '../topology/physical-name.ts'
import { credentialHash } from '../topology/route-table.ts'
import { type Gateway, startGateway } from './gateway.ts'

const alpha = testProject('alpha', { ref: 'aaaaaaaaaaaa' })
const beta = testProject('beta', { ref: 'bbbbbbbbbbbb' })

function makeKey(
  project: Project,
  uid: string,
  actions: readonly string[],
  indexes: readonly string[] = ['*'],
): ApiKey {
  const hash = credentialHash(keyValue(project.masterKey, uid))
  return {
    project: project.id,
    uid,
    name: null,
    description: null,
    actions,
    indexes,
    expiresAt: null,
    hash,
    createdAt: 1,
    updatedAt: 1,
  }
}

const uidOf = (digit: number) => `${String(digit).repeat(8)}-1111-4111-8111-111111111111`
const keys: ApiKey[] = [
  ...defaultKeys.map(({ actions }, at) => makeKey(alpha, uidOf(at), actions)),
  makeKey(alpha, uidOf(5), ['search'], ['mov*']),
  makeKey(beta, uidOf(6), ['*']),
]
const searchKey = keyValue(alpha.masterKey, uidOf(0))
const adminKey = keyValue(alpha.masterKey, uidOf(1))
const scopedKey = keyValue(alpha.masterKey, uidOf(5))
const betaKey = keyValue(beta.masterKey, uidOf(6))

function makeIndex(project: Project, uid: string, node: string): { index: IndexEntry; placements: Placement[] } {
  const index = {
    id: `${project.id}-${uid}`,
    project: project.id,
    uid,
    primaryKey: 'id',
    createdAt: 1,
    updatedAt: 2,
    settingsPosition: 0,
    spread: null,
  }
  const physicalUid = physicalName(project.ref, uid, 1)
  return {
    index,
    placements: [
      { index: index.id, generation: 1, shards: [0], node, physicalUid, state: 'active', applied: 0, revision: 0 },
    ],
  }
}

const platform = platformKey(Buffer.alloc(32, 3))

let engine: FakeEngine
let second: FakeEngine
let gateway: Gateway
const appended: (AppendRequest & { bytes: string })[] = []
const changes: CatalogueChange[] = []
let isStoreAway = false
let placed: ReturnType<typeof makeIndex>[] = []
let outcome: 'appended' | 'stale' | 'unavailable' = 'appended'
const logLines: string[] = []

function check(): void {
  if (isStoreAway) throw new StoreUnavailable('away')
}

function record(entity: CatalogueEvent['entity'], entityId: string, now: ApiKey | undefined): void {
  const event = { version: 1 + changes.length + 1, entity, project: alpha.id, entityId }
  if (event.entity === 'key') changes.push({ event: { ...event, entity: 'key' }, now })
}

/** Only what these tests reach. */
const catalogue: Pick<
  Catalogue,
  'snapshot' | 'changesAfter' | 'onChange' | 'keys' | 'createKey' | 'deleteKey' | 'setFeatures'
> = {
  async snapshot() {
    const nodes: Node[] = [
      {
        id: 'n1',
        engine: 'meilisearch',
        url: engine.url,
        region: 'r',
        group: 0,
        capacity: null,
        state: 'active',
        key: 'node-secret',
      },
      {
        id: 'n2',
        engine: 'meilisearch',
        url: second.url,
        region: 'r',
        group: 0,
        capacity: null,
        state: 'active',
        key: null,
      },
    ]
    return {
      version: 1,
      projects: [alpha, beta],
      keys,
      indexes: placed.map(({ index }) => index),
      placements: placed.flatMap(({ placements }) => placements),
      nodes,
      credentials: [],
    }
  },
  async changesAfter(version) {
    check()
    return { version: 1 + changes.length, changes: changes.slice(version - 1) }
  },
  onChange: async () => async () => undefined,
  keys: async () => [...keys].reverse(),
  async createKey(project, key) {
    check()
    const stored = { ...makeKey(alpha, key.uid, key.actions, key.indexes), ...key, project }
    keys.push(stored)
    record('key', key.uid, stored)
    return stored
  },
  async deleteKey(_, uid) {
    check()
    keys.splice(
      keys.findIndex((key) => key.uid === uid),
      1,
    )
    record('key', uid, undefined)
    return true
  },
  setFeatures: async () => alpha,
}

const journal: Pick<Journal, 'append' | 'stage' | 'discard' | 'open' | 'writeState'> = {
  async append(request) {
    const bytes = request.payload?.kind === 'inline' ? Buffer.from(request.payload.bytes).toString() : ''
    if (outcome === 'unavailable' || isStoreAway) return { kind: 'unavailable', cause: new Error('away') }
    if (outcome === 'stale') {
      outcome = 'appended'
      return { kind: 'stale' }
    }
    appended.push({ ...request, bytes })
    return { kind: 'appended', task: appended.length - 1, enqueuedAt: 0, index: null, position: null }
  },
  async stage(bytes) {
    const chunks: Uint8Array[] = []
    for await (const chunk of bytes) chunks.push(chunk)
    check()
    return { kind: 'inline', bytes: Buffer.concat(chunks) }
  },
  discard: async () => undefined,
  async *open(payload) {
    if (payload.kind === 'inline') yield payload.bytes
  },
  writeState: async () => undefined,
}

/** The gateway asks for whole ports; what is not faked here fails loudly. */
function whole<T extends object>(part: Partial<T>): T {
  return new Proxy(part, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (value === undefined) throw new Error(`not faked: ${String(name)}`)
      return value
    },
  }) as T
}

before(async () => {
  engine = await startFakeEngine()
  second = await startFakeEngine()
  placed = [
    makeIndex(alpha, 'movies', 'n1'),
    makeIndex(alpha, 'books', 'n2'),
    makeIndex(beta, 'movies', 'n1'),
    makeIndex(beta, 'secret', 'n1'),
  ]
  const logger = pino({ level: 'info' }, { write: (line: string) => void logLines.push(line) })
  gateway = await startGateway({
    httpAddr: '127.0.0.1:0',
    catalogue: whole<Catalogue>(catalogue),
    journal: whole<Journal>(journal),
    logger,
    metrics: new Registry(),
    limits: { searchBytesMax: 10_000, documentBytesMax: 1024 * 1024 },
    platformKeys: () => [platform],
  })
})

after(async () => {
  await gateway.close(0)
  engine.server.close()
  second.server.close()
})

interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: { readonly [name: string]: Json }
}

async function call(
  method: string,
  path: string,
  key: string | null,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const isRaw = typeof body === 'string' || body instanceof Uint8Array
  const answer = await fetch(`${gateway.url}${path}`, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined || isRaw ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
  })
  const text = await answer.text()
  const parsed: unknown = text.startsWith('{') ? JSON.parse(text) : {}
  return { status: answer.status, headers: answer.headers, text, body: isObject(parsed) ? parsed : {} }
}

function respond(body: unknown, status = 200, headers?: Record<string, string>): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  engine.answer = () => ({ status, body: text, ...(headers === undefined ? {} : { headers }) })
}

function lastSeen() {
  return engine.seen.at(-1)!
}

test('a search reaches the engine untouched but for the index name, and its answer comes back byte for byte', async () => {
  const answer = '{"hits":[{"n":9007199254740993,"x":1.0}],  "query":"aaaaaaaaaaaa_movies"}'
  respond(answer)
  const sent = '{"q" : "star wars", "limit":3}'
  const reply = await call('POST', '/indexes/movies/search', searchKey, sent, { 'content-type': 'application/json' })
  assert.equal(reply.status, 200)
  assert.equal(reply.text, answer)
  assert.equal(lastSeen().url, '/indexes/aaaaaaaaaaaa_movies/search')
  assert.equal(lastSeen().body, sent)
  assert.equal(lastSeen().headers.authorization, 'Bearer node-secret')
  assert.equal(reply.headers.get('access-control-allow-origin'), '*')
  assert.equal(reply.headers.get('x-inner'), null)
  assert.match(reply.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/)
})

test('the prefix /v1, a trailing slash and the other credential headers change nothing', async () => {
  respond({ hits: [] })
  const paths = ['/v1/indexes/movies/search?q=a', '/indexes/movies/search/?q=a']
  for (const path of paths) assert.equal((await call('GET', path, searchKey)).status, 200)
  for (const header of ['X-Meili-API-Key', 'X-Flapjack-API-Key']) {
    assert.equal((await call('GET', '/indexes/movies/search', null, undefined, { [header]: searchKey })).status, 200)
  }
  assert.equal((await call('GET', '/indexes/movies/search', `fj_live_${searchKey}`)).status, 200)
  const two = await call('GET', '/indexes/movies/search', searchKey, undefined, { 'X-Meili-API-Key': adminKey })
  assert.equal(two.body.code, 'ambiguous_credentials')
})

test('who may not, learns nothing', async () => {
  const refusals = [
    [null, 'GET', '/indexes/movies/search', 401, 'missing_authorization_header'],
    ['wrong', 'GET', '/indexes/movies/search', 403, 'invalid_api_key'],
    [searchKey, 'GET', '/indexes', 403, 'invalid_api_key'],
    [scopedKey, 'GET', '/indexes/books/search', 403, 'invalid_api_key'],
    [searchKey, 'GET', '/indexes/secret/search', 404, 'index_not_found'],
    [searchKey, 'GET', '/indexes/nowhere/search', 404, 'index_not_found'],
    [adminKey, 'GET', '/indexes/bbbbbbbbbbbb_secret/search', 404, 'index_not_found'],
    [adminKey, 'POST', '/logs/stderr', 403, 'invalid_api_key'],
    [adminKey, 'GET', '/network', 400, 'feature_not_enabled'],
    [adminKey, 'POST', '/network/control', 451, 'requires_enterprise_edition'],
  ] as const
  for (const [key, method, path, status, code] of refusals) {
    const reply = await call(method, path, key)
    assert.deepEqual([reply.status, reply.body.code], [status, code], `${method} ${path}`)
    assert.deepEqual(Object.keys(reply.body), ['message', 'code', 'type', 'link'])
  }
  const scoped = await call('GET', '/indexes/books/search', scopedKey)
  assert.equal(scoped.body.message, 'The API key cannot acces the index `books`, authorized indexes are ["mov*"].')
})

test('an access token works while the store is away, and anybody may read the keys that verify it', async () => {
  respond({ hits: [] })
  const grant = {
    jti: 't1',
    issuedAt: Math.floor(Date.now() / 1000),
    seconds: 60,
    actions: ['search'],
    indexes: ['mov*'],
  }
  const token = signAccessToken(platform, { ...grant, project: alpha.ref, rules: undefined, subject: undefined })
  isStoreAway = true
  try {
    assert.equal((await call('GET', '/indexes/movies/search', token)).status, 200)
    assert.equal((await call('GET', '/indexes/books/search', token)).status, 403)
    assert.equal((await call('GET', '/indexes/movies/documents', token)).status, 403)
    const forged = `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`
    assert.equal((await call('GET', '/indexes/movies/search', forged)).body.code, 'invalid_api_key')
  } finally {
    isStoreAway = false
  }
  const jwks = await call('GET', '/.well-known/jwks.json', null)
  assert.equal(jwks.status, 200)
  assert.deepEqual(jwks.body, { keys: [platform.jwk] })
})

function tokenOf(claims: object, key: string): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
}

test('the filter of a tenant token is ANDed with whatever the client asks, in bodies and query strings', async () => {
  respond({ hits: [] })
  const token = tokenOf({ apiKeyUid: uidOf(0), searchRules: { movies: { filter: 'tenant = 1' } } }, searchKey)
  await call('POST', '/indexes/movies/search', token, { q: 'a', filter: 'x = 1) OR (y = 2' })
  assert.deepEqual(JSON.parse(lastSeen().body), { q: 'a', filter: ['tenant = 1', 'x = 1) OR (y = 2'] })
  await call('GET', '/indexes/movies/search?q=b&filter=x%20%3D%201&filter=y', token)
  const sent = new URLSearchParams(lastSeen().url.split('?')[1])
  assert.deepEqual(sent.getAll('filter'), ['["tenant = 1","y"]'])
  await call('POST', '/multi-search', token, { queries: [{ indexUid: 'movies', filter: [['a', 'b']] }] })
  assert.deepEqual(JSON.parse(lastSeen().body), {
    queries: [{ indexUid: 'aaaaaaaaaaaa_movies', filter: ['tenant = 1', ['a', 'b']] }],
  })
  const other = await call('GET', '/indexes/books/search', token)
  assert.equal(
    other.body.message,
    'The provided tenant token cannot acces the index `books`, allowed indexes are ["movies"].',
  )
  assert.equal((await call('GET', '/indexes/movies/stats', token)).status, 403)
  const forged = await call(
    'GET',
    '/indexes/movies/search',
    `${token.slice(0, -4)}${token.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`,
  )
  assert.equal(forged.body.message, 'Could not decode tenant token, InvalidSignature.')
  const past = tokenOf({ apiKeyUid: uidOf(0), searchRules: ['*'], exp: 12 }, searchKey)
  const expired = await call('GET', '/indexes/movies/search', past)
  assert.match(String(expired.body.message), /^Tenant token expired. Was valid up to `12` and we're now `\d+`.$/)
})

test('errors of an engine name logical indexes, and nothing foreign', async () => {
  const error = (message: string) => ({ message, code: 'invalid_search_filter', type: 'invalid_request', link: 'l' })
  respond(error('Index `aaaaaaaaaaaa_movies`: Attribute `availability_zone` is not filterable.'), 400)
  const reply = await call('POST', '/indexes/movies/search', searchKey, {})
  assert.equal(reply.body.message, 'Index `movies`: Attribute `availability_zone` is not filterable.')
  assert.equal(reply.status, 400)
  respond(error('Index `bbbbbbbbbbbb_secret`: not filterable.'), 400)
  const leaking = await call('POST', '/indexes/movies/search', searchKey, {})
  assert.doesNotMatch(leaking.text, /bbbb|secret/)
  respond(error('The provided API key is invalid.'), 403)
  const inner = await call('POST', '/indexes/movies/search', searchKey, {})
  assert.deepEqual([inner.status, inner.body.code], [502, 'engine_bad_response'])
})

test('search metadata shows the logical index', async () => {
  respond(
    '{"hits":[{"metadata":{"indexUid":"aaaaaaaaaaaa_movies"}}],"metadata":{"queryUid":"u","indexUid":"aaaaaaaaaaaa_movies"}}',
  )
  const reply = await call('POST', '/indexes/movies/search', searchKey, {}, { 'Meili-Include-Metadata': 'true' })
  assert.equal(
    reply.text,
    '{"hits":[{"metadata":{"indexUid":"aaaaaaaaaaaa_movies"}}],"metadata":{"queryUid":"u","indexUid":"movies"}}',
  )
})

test('a multi-search over two nodes comes back in the order of its queries', async () => {
  const echo = (url: string, body: string) => {
    assert.equal(url, '/multi-search')
    const { queries } = JSON.parse(body) as { queries: { indexUid: string; q: string }[] }
    const results = queries.map(({ indexUid, q }) => ({ indexUid, hits: [{ big: 1 }], query: q }))
    return { status: 200, body: JSON.stringify({ results }) }
  }
  engine.answer = echo
  second.answer = echo
  const queries = ['books', 'movies', 'books'].map((indexUid, at) => ({ indexUid, q: String(at) }))
  const reply = await call('POST', '/multi-search', searchKey, { queries })
  assert.equal(reply.status, 200)
  const results = reply.body.results as unknown as { indexUid: string; query: string }[]
  assert.deepEqual(
    results.map(({ indexUid, query }) => [indexUid, query]),
    [
      ['books', '0'],
      ['movies', '1'],
      ['books', '2'],
    ],
  )
  second.answer = () => ({
    status: 400,
    body: JSON.stringify({
      message: 'Inside `.queries[1]`: Index `aaaaaaaaaaaa_books`: bad',
      code: 'bad_request',
      type: 'invalid_request',
      link: 'l',
    }),
  })
  const failed = await call('POST', '/multi-search', searchKey, { queries })
  assert.equal(failed.body.message, 'Inside `.queries[2]`: Index `books`: bad')
  const missing = await call('POST', '/multi-search', searchKey, {
    queries: [{ indexUid: 'movies' }, { indexUid: 'secret' }],
  })
  assert.deepEqual([missing.status, missing.body.message], [400, 'Inside `.queries[1]`: Index `secret` not found.'])
  assert.equal(missing.body.code, 'index_not_found')
})

test('a federated search hides physical names in hits, facets and errors', async () => {
  engine.answer = (_, body) => {
    const { federation } = JSON.parse(body) as { federation: { facetsByIndex: object } }
    assert.deepEqual(Object.keys(federation.facetsByIndex), ['aaaaaaaaaaaa_movies'])
    return {
      status: 200,
      body: '{"hits":[{"id":1,"_federation":{"indexUid":"aaaaaaaaaaaa_movies","queriesPosition":0}}],"facetsByIndex":{"aaaaaaaaaaaa_movies":{"distribution":{}}}}',
    }
  }
  const federation = { facetsByIndex: { movies: ['genre'] } }
  const reply = await call('POST', '/multi-search', searchKey, { queries: [{ indexUid: 'movies' }], federation })
  assert.equal(reply.status, 200)
  assert.doesNotMatch(reply.text, /aaaaaaaaaaaa/)
  assert.match(reply.text, /"facetsByIndex":{"movies"/)
})

test('a federated search over two nodes is one list, best hits first, with what was asked for and no more', async () => {
  const answering = (uid: string, scores: readonly number[]) => (_: string, body: string) => {
    const sent = JSON.parse(body) as { federation: { limit: number; offset: number } }
    assert.deepEqual([sent.federation.offset, sent.federation.limit], [0, 3])
    const hits = scores.map((score) => ({
      id: `${uid}-${score}`,
      _federation: { indexUid: `aaaaaaaaaaaa_${uid}`, queriesPosition: 0, weightedRankingScore: score },
      _rankingScore: score,
      _rankingScoreDetails: { words: { order: 0, score } },
    }))
    return { status: 200, body: JSON.stringify({ hits, estimatedTotalHits: 10 }) }
  }
  engine.answer = answering('movies', [0.9, 0.5])
  second.answer = answering('books', [0.7, 0.6])
  const queries = [{ indexUid: 'movies' }, { indexUid: 'books', showRankingScore: true }]
  const reply = await call('POST', '/multi-search', searchKey, { queries, federation: { offset: 1, limit: 2 } })
  const { hits, estimatedTotalHits, offset, limit } = reply.body
  assert.deepEqual([estimatedTotalHits, offset, limit], [20, 1, 2])
  const origin = { indexUid: 'books', queriesPosition: 1 }
  assert.deepEqual(hits, [
    { id: 'books-0.7', _federation: { ...origin, weightedRankingScore: 0.7 }, _rankingScore: 0.7 },
    { id: 'books-0.6', _federation: { ...origin, weightedRankingScore: 0.6 }, _rankingScore: 0.6 },
  ])
})

test('documents are stored as NDJSON before they are answered with 202', async () => {
  const body = gzipSync('[{"id":1,"n":1.0},{"id":2}]')
  const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
  const reply = await call('POST', '/indexes/movies/documents?primaryKey=id&customMetadata=m', adminKey, body, headers)
  assert.equal(reply.status, 202)
  assert.deepEqual(Object.keys(reply.body), ['taskUid', 'indexUid', 'status', 'type', 'enqueuedAt', 'customMetadata'])
  const request = appended.at(-1)!
  assert.equal(request.bytes, '{"id":1,"n":1.0}\n{"id":2}\n')
  assert.equal(request.project, 'alpha')
  assert.equal(request.mayCreateIndex, true)
  assert.deepEqual(request.checkedAgainst, { primaryKey: null, embedders: null })
  outcome = 'stale'
  const again = await call('PUT', '/indexes/movies/documents', adminKey, [{ id: 3 }])
  assert.equal(again.status, 202)
  assert.equal(appended.at(-1)?.bytes, '{"id":3}\n')
})

test('a body that is broken, too large or of the wrong kind stores nothing and leaves the connection usable', async () => {
  const before = appended.length
  const path = '/indexes/movies/documents'
  const broken = await call('POST', path, adminKey, '[{"id":1}', { 'content-type': 'application/json' })
  assert.equal(broken.body.code, 'malformed_payload')
  const large = await call('POST', path, adminKey, `[{"a":"${'x'.repeat(1024 * 1024)}"}]`, {
    'content-type': 'application/json',
  })
  assert.deepEqual([large.status, large.body.code], [413, 'payload_too_large'])
  assert.match(String(large.body.message), /maximum accepted payload size is 1 MiB\.$/)
  assert.equal((await call('POST', path, adminKey, 'x', { 'content-type': 'text/plain' })).status, 415)
  const bomb = gzipSync(Buffer.alloc(5_000_000, 0x20))
  const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
  assert.equal((await call('POST', path, adminKey, bomb, headers)).status, 413)
  assert.equal((await call('POST', '/indexes/movies/search', searchKey, 'x'.repeat(20_000))).status, 413)
  assert.equal(appended.length, before)
  assert.equal((await call('GET', '/health', null)).status, 200)
})

test('while the store is away, writes are refused and searches go on', async () => {
  isStoreAway = true
  try {
    const write = await call('POST', '/indexes/movies/documents', adminKey, [{ id: 1 }])
    assert.deepEqual([write.status, write.headers.get('retry-after')], [503, '5'])
    assert.equal((await call('DELETE', '/indexes/movies', adminKey)).status, 503)
    respond({ hits: [] })
    assert.equal((await call('GET', '/indexes/movies/search', searchKey)).status, 200)
  } finally {
    isStoreAway = false
  }
})

test('a new key works at once, and a deleted one stops at once', async () => {
  respond({ hits: [] })
  const body = { actions: ['search'], indexes: ['movies'], expiresAt: null }
  const made = await call('POST', '/keys', adminKey, body)
  assert.equal(made.status, 201)
  const value = String(made.body.key)
  assert.equal((await call('GET', '/indexes/movies/search', value)).status, 200)
  assert.equal((await call('DELETE', `/keys/${value}`, adminKey)).status, 204)
  assert.equal((await call('GET', '/indexes/movies/search', value)).status, 403)
})

test('paths that two programs could read differently are refused', async () => {
  const paths = [
    '/indexes/a%2fb/search',
    '/indexes//search',
    '/indexes/%2e%2e/search',
    '/indexes/a;b/search',
    '/indexes/a%00/search',
    '/indexes/a\\b/search',
  ]
  for (const path of paths) {
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1')
    socket.end(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${adminKey}\r\nconnection: close\r\n\r\n`)
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    assert.match(text, /^HTTP\/1\.1 400 /, path)
  }
  const twice = connect(Number(new URL(gateway.url).port), '127.0.0.1')
  twice.end(
    'GET /indexes HTTP/1.1\r\nhost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\nconnection: close\r\n\r\n',
  )
  let text = ''
  for await (const chunk of twice) text += String(chunk)
  assert.match(text, /^HTTP\/1\.1 400 /)
})

test('unknown routes are 404 without a body, wrong methods 405', async () => {
  const unknown = await call('GET', '/nowhere', null)
  assert.deepEqual([unknown.status, unknown.text], [404, ''])
  const wrong = await call('PUT', '/indexes/movies/search', null)
  assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'GET, POST'])
  const preflight = await call('OPTIONS', '/indexes', null, undefined, {
    'access-control-request-method': 'GET',
    'access-control-request-headers': 'x-y',
  })
  assert.deepEqual([preflight.status, preflight.headers.get('access-control-allow-headers')], [200, 'x-y'])
})

test('compressed answers of an engine pass through, compressed errors are translated', async () => {
  const packed = (status: number, body: object) => {
    const zipped = gzipSync(JSON.stringify(body))
    engine.answer = () => ({ status, body: zipped, headers: { 'content-encoding': 'gzip' } })
    return call('GET', '/indexes/movies/search', searchKey, undefined, { 'accept-encoding': 'gzip, zstd' })
  }
  const reply = await packed(200, { hits: [1] })
  assert.deepEqual([reply.headers.get('content-encoding'), reply.text], ['gzip', '{"hits":[1]}'])
  assert.equal(lastSeen().headers['accept-encoding'], 'gzip')
  const error = { message: '`aaaaaaaaaaaa_movies`', code: 'bad_request', type: 'invalid_request', link: 'l' }
  assert.equal((await packed(400, error)).body.message, '`movies`')
})

test('a read waits for an engine that is starting again, a broken one is told as such', async () => {
  const { port } = engine.server.address() as AddressInfo
  engine.server.closeAllConnections()
  engine.server.close()
  await once(engine.server, 'close')
  respond({ hits: ['back'] })
  const waiting = call('POST', '/indexes/movies/search', searchKey, { q: 'a' })
  setTimeout(() => engine.server.listen(port, '127.0.0.1'), 100)
  assert.equal((await waiting).text, '{"hits":["back"]}')
  respond('<html>', 502)
  assert.deepEqual((await call('GET', '/indexes/movies/search', searchKey)).body.code, 'engine_bad_response')
})

// Nodes are shared: a flag that another project switched on is on there.
test('a condition behind a flag is refused while the project has not switched it on', async () => {
  respond({ hits: [] })
  const asked = { filter: ['a = 1', 'title CONTAINS b'] }
  const reply = await call('POST', '/indexes/movies/search', searchKey, asked)
  assert.equal(reply.body.code, 'feature_not_enabled')
  const query = '/indexes/movies/documents?filter=title%20CONTAINS%20b'
  assert.equal((await call('GET', query, adminKey)).body.code, 'feature_not_enabled')
  const queries = [{ indexUid: 'movies' }, { indexUid: 'movies', ...asked }]
  const multi = await call('POST', '/multi-search', searchKey, { queries })
  assert.match(String(multi.body.message), /^Inside `.queries\[1\]`: Using `CONTAINS` in a filter requires/)
  assert.equal((await call('POST', '/indexes/movies/search', searchKey, { q: 'CONTAINS' })).status, 200)
})

test('no log line holds a key, a query or a document', () => {
  const log = logLines.join('')
  for (const secret of [searchKey, adminKey, betaKey, alpha.masterKey, 'node-secret', 'star wars', 'tenant = 1']) {
    assert.ok(!log.includes(secret), `the log holds ${secret}`)
  }
  assert.match(log, /"route":"\/indexes\/{uid}\/search"/)
})
