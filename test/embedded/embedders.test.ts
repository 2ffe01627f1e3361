/** Embedders over HTTP against a local server: what is embedded, what is not embedded again, and what fails how. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { startEngineServer } from '../../src/embedded/server/engine-server.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'
import { type StubEmbedder, startStubEmbedder, stubDimensions, stubSettings, stubVector } from './stub-embedder.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-embedders-'))
const closing: (() => Promise<void>)[] = []
let stub: StubEmbedder
let base = ''

before(async () => {
  stub = await startStubEmbedder()
  const core = await openEngine(folder, { searchWorkersMax: 1, allowedNetworks: 'any' })
  const server = await startEngineServer({ core, host: '127.0.0.1', port: 0, masterKey: null })
  base = server.url
  closing.push(
    () => server.close(0),
    () => core.close(),
    () => stub.close(),
  )
  await call('PATCH', '/experimental-features', { multimodal: true, compositeEmbedders: true, renderRoute: true })
})
after(async () => {
  for (const close of closing) await close()
  rmSync(folder, { recursive: true })
})

async function call(method: string, path: string, body?: Json): Promise<{ status: number; body: JsonObject }> {
  const answer = await fetch(base + path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  return { status: answer.status, body: (await answer.json()) as JsonObject }
}

interface Ended {
  readonly status: string
  readonly code: string | null
  readonly message: string
}

async function run(method: string, path: string, body: Json): Promise<Ended> {
  const { status, body: summary } = await call(method, path, body)
  assert.equal(status, 202, JSON.stringify(summary))
  for (;;) {
    const { body: task } = await call('GET', `/tasks/${summary.taskUid}`)
    if (task.status === 'enqueued' || task.status === 'processing') continue
    const error = task.error as JsonObject | null
    return {
      status: String(task.status),
      code: (error?.code ?? null) as string | null,
      message: String(error?.message),
    }
  }
}

const settings = (uid: string, embedders: JsonObject) => run('PATCH', `/indexes/${uid}/settings`, { embedders })
const put = (uid: string, documents: Json) => run('POST', `/indexes/${uid}/documents`, documents)

/** `_vectors` of one embedder by document id. */
async function vectorsOf(uid: string, embedder: string): Promise<ReadonlyMap<Json, JsonObject | undefined>> {
  const { body } = await call('GET', `/indexes/${uid}/documents?retrieveVectors=true&limit=100`)
  const documents = body.results as readonly { readonly id: Json; readonly _vectors: JsonObject }[]
  return new Map(documents.map(({ id, _vectors }) => [id, _vectors[embedder] as JsonObject | undefined]))
}

test('documents are embedded in batches, and again only when what is sent of them changes', async () => {
  assert.equal((await settings('batches', { e: stubSettings(stub.url) })).status, 'succeeded')
  assert.deepEqual(stub.takeTexts(), ['test'])
  const documents = Array.from({ length: 25 }, (_, id) => ({ id, name: `name ${id}`, note: 'a' }))
  assert.equal((await put('batches', documents)).status, 'succeeded')
  assert.equal(stub.takeTexts().length, 25)
  const stored = await vectorsOf('batches', 'e')
  assert.deepEqual(stored.get(7), { embeddings: [stubVector('name 7')], regenerate: true })

  await put(
    'batches',
    documents.map((document) => ({ ...document, note: 'b' })),
  )
  assert.deepEqual(stub.takeTexts(), [])
  await put('batches', [{ id: 3, name: 'other' }])
  assert.deepEqual(stub.takeTexts(), ['other'])
})

test('vectors that come with a document stay until it asks for new ones, and a document may do without', async () => {
  const given = Array.from({ length: stubDimensions }, () => 1)
  await settings('given', { e: stubSettings(stub.url) })
  await put('given', [
    { id: 1, name: 'one', _vectors: { e: given } },
    { id: 2, name: 'two', _vectors: { e: null } },
    { id: 3, name: 'three', _vectors: { e: { regenerate: true, embeddings: given } } },
  ])
  stub.takeTexts()
  await put('given', [
    { id: 1, name: 'uno' },
    { id: 2, name: 'due' },
    { id: 3, name: 'tre' },
  ])
  assert.deepEqual(stub.takeTexts(), ['tre'])
  const stored = await vectorsOf('given', 'e')
  assert.deepEqual(stored.get(1), { embeddings: [given], regenerate: false })
  assert.deepEqual(stored.get(2), { embeddings: [], regenerate: false })
  await put('given', [{ id: 1, name: 'uno', _vectors: { e: { regenerate: true } } }])
  assert.deepEqual((await vectorsOf('given', 'e')).get(1), { embeddings: [stubVector('uno')], regenerate: true })
})

test('a change of settings embeds what it must, and nothing when only a secret changes', async () => {
  await settings('changes', { e: stubSettings(stub.url) })
  await put('changes', [
    { id: 1, name: 'a', more: 'x' },
    { id: 2, name: 'b', more: 'y' },
  ])
  stub.takeTexts()
  const change = async (embedder: JsonObject) => {
    assert.equal((await settings('changes', { e: embedder })).status, 'succeeded')
    return stub.takeTexts().filter((text) => text !== 'test')
  }
  assert.deepEqual(await change({ apiKey: 'secret' }), [])
  assert.deepEqual(await change({ documentTemplate: '{{ doc.name }}' }), [])
  assert.deepEqual(await change({ documentTemplate: '{{doc.more}}' }), ['x', 'y'])
  assert.deepEqual(await change({ url: `${stub.url}/busy` }), ['x', 'y'])
  assert.deepEqual(await change({ binaryQuantized: true }), [])
  const bits = stubVector('x').map((value) => (value > 0 ? 1 : 0))
  assert.deepEqual((await vectorsOf('changes', 'e')).get(1)?.embeddings, [bits])
})

test('a failure of the embedder fails the whole batch with its reason, and stores nothing', async () => {
  await settings('failures', {
    e: stubSettings(`${stub.url}`, { url: `${stub.url}/explode`, dimensions: stubDimensions }),
  })
  const failed = await put('failures', [
    { id: 1, name: 'fine' },
    { id: 2, name: 'explode' },
  ])
  assert.equal(failed.code, 'vector_embedding_error')
  assert.match(
    failed.message,
    /^Index `failures`: While embedding documents for embedder `e`: user error: sent a bad request/,
  )
  assert.deepEqual([...(await vectorsOf('failures', 'e')).keys()], [])

  const missing = await run('PATCH', '/indexes/failures/settings', {
    embedders: { e: { documentTemplate: '{{doc.absent}}', url: `${stub.url}/multi` } },
  })
  assert.equal(missing.status, 'succeeded')
  const unknown = await put('failures', [{ id: 1, name: 'fine' }])
  assert.equal(unknown.code, 'invalid_document_fields')
  assert.match(unknown.message, /missing field in document `1`: liquid: Unknown index\n {2}with:\n {4}variable=doc/)
})

test('settings of an embedder that cannot be asked are refused, and the former ones stay', async () => {
  await settings('refused', { e: stubSettings(stub.url) })
  const unreachable = await settings('refused', { e: { url: `${stub.url}/refuse` } })
  assert.equal(unreachable.code, 'vector_embedding_error')
  assert.match(
    unreachable.message,
    /could not determine model dimensions:\n {2}- test embedding failed with user error/,
  )
  const { body } = await call('GET', '/indexes/refused/settings/embedders')
  assert.equal((body.e as JsonObject).url, `${stub.url}/multi`)
  const local = { e: { source: 'huggingFace' } }
  assert.equal((await settings('refused', local)).status, 'succeeded')
  const embedded = await put('refused', [{ id: 1, name: 'x' }])
  assert.match(embedded.message, /does not run models of Hugging Face itself/)

  const { status, body: faulty } = await call('PATCH', '/indexes/refused/settings', {
    embedders: { e: stubSettings(stub.url, { request: { input: '{{text}}' } }) },
  })
  assert.equal(status, 400)
  assert.match(String(faulty.message), /`response` has multiple embeddings, but `request` has only one text to embed/)
})

test('queries are embedded; what words find comes alone when that fails', async () => {
  await settings('queries', {
    e: stubSettings(stub.url),
    down: stubSettings(stub.url, { url: `${stub.url}/refuse`, dimensions: stubDimensions }),
  })
  const none = { down: null }
  await put('queries', [
    { id: 1, name: 'a dog', _vectors: none },
    { id: 2, name: 'a cat', _vectors: none },
    { id: 3, name: 'nothing', _vectors: { ...none, e: null } },
  ])
  const search = async (body: JsonObject) => call('POST', '/indexes/queries/search', body)
  const idsOf = ({ body }: { readonly body: JsonObject }) => (body.hits as readonly JsonObject[]).map(({ id }) => id)

  const semantic = await search({ q: 'a dog', hybrid: { embedder: 'e', semanticRatio: 1 }, showRankingScore: true })
  assert.deepEqual(idsOf(semantic).slice(0, 1), [1])
  assert.equal((semantic.body.hits as readonly JsonObject[])[0]?._rankingScore, 1)
  assert.equal((semantic.body.hits as readonly JsonObject[])[2]?._rankingScore, 0)
  assert.equal(semantic.body.semanticHitCount, 3)

  const hybrid = await search({ q: 'dog', hybrid: { embedder: 'e' } })
  assert.equal(idsOf(hybrid)[0], 1)
  assert.equal(idsOf(hybrid).length, 3)
  const fallback = await search({ q: 'dog', hybrid: { embedder: 'down' } })
  assert.deepEqual(idsOf(fallback), [1])
  const refused = await search({ q: 'dog', hybrid: { embedder: 'down', semanticRatio: 1 } })
  assert.equal(refused.body.code, 'vector_embedding_error')
  const similar = await call('POST', '/indexes/queries/similar', { id: 1, embedder: 'e' })
  assert.deepEqual(idsOf(similar), [2])
})

test('fragments make one vector each, and a query is sent as the fragment that fits', async () => {
  const fragments = {
    request: { input: ['{{fragment}}', '{{..}}'] },
    dimensions: stubDimensions,
    indexingFragments: { name: { value: { text: '{{doc.name}}' } }, image: { value: { image: '{{doc.image}}' } } },
    searchFragments: { words: { value: { text: '{{q}}' } }, picture: { value: { image: '{{media.image}}' } } },
  }
  const { documentTemplate: _, ...plain } = stubSettings(stub.url, fragments)
  assert.equal((await settings('fragments', { e: plain })).status, 'succeeded')
  await put('fragments', [
    { id: 1, name: 'dog', image: 'dog.png' },
    { id: 2, name: 'cat' },
  ])
  const stored = await vectorsOf('fragments', 'e')
  assert.deepEqual(
    [1, 2].map((id) => (stored.get(id)?.embeddings as Json[] | undefined)?.length),
    [2, 1],
  )
  const found = await call('POST', '/indexes/fragments/search', {
    media: { image: 'dog.png' },
    hybrid: { embedder: 'e', semanticRatio: 1 },
    showRankingScore: true,
  })
  assert.deepEqual((found.body.hits as readonly JsonObject[])[0], {
    id: 1,
    name: 'dog',
    image: 'dog.png',
    _rankingScore: 1,
  })
})

test('the halves of a composite embedder must agree', async () => {
  const half = (more: JsonObject): JsonObject => {
    const { documentTemplate: _, ...plain } = stubSettings(stub.url, more)
    return plain
  }
  const unlike = await settings('halves', {
    e: { source: 'composite', searchEmbedder: half({}), indexingEmbedder: half({ url: `${stub.url}/short` }) },
  })
  assert.match(unlike.message, /Search time dimensions: 6\n {2}- Indexing time dimensions: 5/)
  const alike = await settings('halves', {
    e: { source: 'composite', searchEmbedder: half({}), indexingEmbedder: half({ documentTemplate: '{{doc.name}}' }) },
  })
  assert.equal(alike.status, 'succeeded', alike.message)
})

test('a template is rendered as embedders would send it', async () => {
  const render = (template: JsonObject, input: JsonObject) => call('POST', '/render-template', { template, input })
  const inline = { kind: 'inlineDocument', inline: { id: 'it', tags: ['a', 'b'], of: { x: 1 } } }
  const shown = await render({ kind: 'inlineDocumentTemplate', inline: '{{doc.id}} {{doc.tags}} {{doc.of}}' }, inline)
  assert.equal(shown.body.rendered, 'it ab x1')
  const broken = await render({ kind: 'inlineDocumentTemplate', inline: '{{ doc.name' }, inline)
  assert.equal(broken.body.code, 'template_parsing_error')
  assert.equal(
    broken.body.message,
    'error while fetching template: user error: cannot parse template: liquid:  --> 1:4\n  |\n1 | {{ doc.name\n  |    ^---\n  |\n  = expected Literal\n',
  )
  const endless = await render(
    { kind: 'inlineDocumentTemplate', inline: '{% for i in (1..999999999) %}x{% endfor %}' },
    inline,
  )
  assert.equal(endless.body.code, 'template_rendering_error')
})

test('private addresses are not called unless the operator allows them', async () => {
  const closed = await openEngine(join(folder, 'closed'), { searchWorkersMax: 1 })
  const server = await startEngineServer({ core: closed, host: '127.0.0.1', port: 0, masterKey: null })
  const open = base
  base = server.url
  try {
    stub.takeTexts()
    const refused = await settings('closed', { e: stubSettings(stub.url) })
    assert.match(refused.message, /Rejected IP$/)
    assert.deepEqual(stub.takeTexts(), [])
  } finally {
    base = open
    await server.close(0)
    await closed.close()
  }
})
