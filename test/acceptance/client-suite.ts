/**
 * What the official client does with a Meilisearch, as one suite over any target: through the gateway, straight to the
 * embedded engine, and to a real Meilisearch. Index names begin with `prefix`, so that runs do not meet.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Meilisearch, MeilisearchApiError, type Settings } from 'meilisearch'
import { generateTenantToken } from 'meilisearch/token'

export interface ClientTarget {
  readonly url: string
  readonly masterKey: string
}

interface Book {
  readonly id: number
  readonly title: string
  readonly author?: string
  readonly genre: string | null
  readonly year?: number
  readonly price?: number
  readonly info?: { readonly pages: number; readonly tags: readonly string[] }
  readonly _geo?: { readonly lat: number; readonly lng: number }
}

const books: readonly Book[] = [
  {
    id: 1,
    title: 'Le Petit Prince',
    author: 'Saint-Exupéry',
    genre: 'fable',
    year: 1943,
    info: { pages: 96, tags: ['french', 'classic'] },
  },
  {
    id: 2,
    title: 'Pride and Prejudice',
    author: 'Austen',
    genre: 'romance',
    year: 1813,
    price: 9.5,
    info: { pages: 432, tags: ['classic'] },
  },
  {
    id: 3,
    title: 'Alice in Wonderland',
    author: 'Carroll',
    genre: 'fantasy',
    year: 1865,
    price: 25,
    _geo: { lat: 51.75, lng: -1.25 },
  },
  {
    id: 4,
    title: 'Harry Potter and the Half-Blood Prince',
    author: 'Rowling',
    genre: 'fantasy',
    year: 2005,
    price: 18,
  },
  {
    id: 5,
    title: "The Hitchhiker's Guide to the Galaxy",
    author: 'Adams',
    genre: 'fantasy',
    year: 1979,
    price: 42,
    _geo: { lat: 52.2, lng: 0.12 },
  },
  { id: 6, title: 'A French book about cooking', genre: null, year: 2001 },
  { id: 7, title: 'The Great Gatsby', author: 'Fitzgerald', genre: 'novel', year: 1925, price: 12 },
]

const settings: Settings = {
  filterableAttributes: ['genre', 'year', 'price', 'info.tags', '_geo'],
  sortableAttributes: ['year', 'price', '_geo'],
}

/** @param target  called inside tests, when the server is up. */
export function clientSuite(name: string, prefix: string, target: () => ClientTarget): void {
  const client = (apiKey = target().masterKey) =>
    new Meilisearch({ host: target().url, apiKey, defaultWaitOptions: { interval: 10, timeout: 30_000 } })
  const uid = (suffix: string) => `${prefix}-${suffix}`

  const succeed = async (pending: { waitTask(): Promise<{ status: string; error: unknown }> }) => {
    const task = await pending.waitTask()
    assert.equal(task.status, 'succeeded', JSON.stringify(task))
    return task
  }
  const fails = async (promise: Promise<unknown>, code: string, status?: number) => {
    await assert.rejects(promise, (error) => {
      assert.ok(error instanceof MeilisearchApiError, String(error))
      assert.equal(error.cause?.code, code)
      if (status !== undefined) assert.equal(error.response.status, status)
      return true
    })
  }
  const library = async (suffix: string) => {
    const index = client().index<Book>(uid(suffix))
    await succeed(index.updateSettings(settings))
    await succeed(index.addDocuments([...books], { primaryKey: 'id' }))
    return index
  }

  test(`${name}: health, version and stats answer`, async () => {
    assert.deepEqual(await client().health(), { status: 'available' })
    assert.equal(typeof (await client().getVersion()).pkgVersion, 'string')
    assert.equal(typeof (await client().getStats()).databaseSize, 'number')
  })

  test(`${name}: an index is created, listed, updated, renamed, swapped and deleted`, async () => {
    const [one, two, three] = [uid('one'), uid('two'), uid('three')]
    await succeed(client().createIndex(one, { primaryKey: 'id' }))
    await succeed(client().createIndex(two))
    assert.equal((await client().getRawIndex(one)).primaryKey, 'id')
    assert.equal((await client().getRawIndex(two)).primaryKey, null)
    await succeed(client().updateIndex(two, { primaryKey: 'key' }))
    assert.equal((await client().getRawIndex(two)).primaryKey, 'key')
    const again = await client().createIndex(one).waitTask()
    assert.equal(again.status, 'failed')
    assert.equal(again.error?.code, 'index_already_exists')
    assert.equal(again.error?.message, `Index \`${one}\` already exists.`)
    await succeed(
      client()
        .index(one)
        .addDocuments([{ id: 1, side: 'one' }]),
    )
    await succeed(
      client()
        .index(two)
        .addDocuments([{ key: 'k', side: 'two' }]),
    )
    const compacted = await client().index(one).compact().waitTask()
    assert.deepEqual([compacted.type, compacted.status, compacted.indexUid], ['indexCompaction', 'succeeded', one])
    const sizes = Object.entries(compacted.details ?? {})
    assert.deepEqual(sizes.map(([name]) => name).sort(), ['postCompactionSize', 'preCompactionSize'])
    for (const [name, size] of sizes) assert.match(String(size), /^[\d.]+ [KM]iB$/, name)
    await succeed(client().swapIndexes([{ indexes: [one, two], rename: false }]))
    assert.equal((await client().index(one).getDocument('k')).side, 'two')
    assert.equal((await client().index(two).getDocument(1)).side, 'one')
    await succeed(client().swapIndexes([{ indexes: [two, three], rename: true }]))
    assert.equal((await client().index(three).getDocument(1)).side, 'one')
    await fails(client().getRawIndex(two), 'index_not_found', 404)
    const listed = (await client().getRawIndexes({ limit: 1000 })).results.map((index) => index.uid)
    assert.deepEqual(
      listed.filter((each) => [one, two, three].includes(each)),
      [one, three],
    )
    await succeed(client().deleteIndex(one))
    await succeed(client().deleteIndex(three))
    const absent = await client().deleteIndex(three).waitTask()
    assert.equal(absent.error?.code, 'index_not_found')
  })

  test(`${name}: documents are added, merged, read, filtered and deleted`, async () => {
    const index = await library('documents')
    assert.equal((await index.getDocuments({ limit: 3 })).total, 7)
    await succeed(index.updateDocuments([{ id: 1, price: 7 }]))
    assert.deepEqual(await index.getDocument(1), { ...books[0], price: 7 })
    await succeed(index.addDocuments([{ id: 1, title: 'Only this', genre: null }]))
    assert.deepEqual(await index.getDocument(1), { id: 1, title: 'Only this', genre: null })
    const fantasy = await index.getDocuments({ filter: 'genre = fantasy', sort: ['year:desc'], fields: ['id'] })
    assert.deepEqual(fantasy.results, [{ id: 4 }, { id: 5 }, { id: 3 }])
    await succeed(index.deleteDocument(4))
    await succeed(index.deleteDocuments({ filter: 'genre = fantasy' }))
    const task = await succeed(index.deleteDocuments([1, 2, 99]))
    assert.deepEqual((task as { details?: unknown }).details, {
      providedIds: 3,
      deletedDocuments: 2,
      originalFilter: null,
    })
    assert.deepEqual(
      (await index.getDocuments({ limit: 10 })).results.map(({ id }) => id),
      [6, 7],
    )
    await fails(index.getDocument(4), 'document_not_found', 404)
    await succeed(index.deleteAllDocuments())
    assert.equal((await index.getStats()).numberOfDocuments, 0)
  })

  test(`${name}: NDJSON and CSV are taken, and bad documents fail as Meilisearch says`, async () => {
    const index = client().index(uid('formats'))
    await succeed(index.addDocumentsFromString('{"id":1,"a":"x"}\n{"id":2,"a":"y"}\n', 'application/x-ndjson'))
    await succeed(
      index.addDocumentsFromString('id;a;n:number\n3;z;1.5\n4;"q;r";2\n', 'text/csv', { csvDelimiter: ';' }),
    )
    assert.deepEqual(await index.getDocument(4), { id: '4', a: 'q;r', n: 2 })
    const noId = await index.addDocuments([{ id: 9, a: 'ok' }, { a: 'no id' }]).waitTask()
    assert.equal(noId.error?.code, 'missing_document_id')
    const badId = await index.addDocuments([{ id: 'not good!' }]).waitTask()
    assert.equal(badId.error?.code, 'invalid_document_id')
    await fails(index.getDocument(9), 'document_not_found')
    await fails(Promise.resolve(index.addDocumentsFromString('[{"id":1', 'application/json')), 'malformed_payload', 400)
    const otherKey = await index.addDocuments([{ id: 10 }], { primaryKey: 'a' }).waitTask()
    assert.equal(otherKey.error?.code, 'index_primary_key_already_exists')
    const inferred = client().index(uid('inferred'))
    const two = await inferred.addDocuments([{ object_id: 1, user_id: 2 }]).waitTask()
    assert.equal(two.error?.code, 'index_primary_key_multiple_candidates_found')
    const none = await inferred.addDocuments([{ name: 1 }]).waitTask()
    assert.equal(none.error?.code, 'index_primary_key_no_candidate_found')
    await succeed(inferred.addDocuments([{ findmeid: 1 }]))
    assert.equal((await client().getRawIndex(uid('inferred'))).primaryKey, 'findmeid')
  })

  test(`${name}: settings are set, read, merged and reset`, async () => {
    const index = client().index(uid('settings'))
    await succeed(
      index.updateSettings({
        stopWords: ['the', 'a'],
        synonyms: { wolverine: ['logan'] },
        typoTolerance: { minWordSizeForTypos: { oneTypo: 3 } },
      }),
    )
    await succeed(index.updateRankingRules(['words', 'typo', 'year:desc']))
    const now = await index.getSettings()
    assert.deepEqual(now.stopWords, ['a', 'the'])
    assert.deepEqual(now.rankingRules, ['words', 'typo', 'year:desc'])
    assert.deepEqual(now.typoTolerance?.minWordSizeForTypos, { oneTypo: 3, twoTypos: 9 })
    await succeed(index.updateFaceting({ maxValuesPerFacet: 5 }))
    assert.deepEqual(await index.getFaceting(), { maxValuesPerFacet: 5, sortFacetValuesBy: { '*': 'alpha' } })
    await succeed(index.resetStopWords())
    assert.deepEqual(await index.getStopWords(), [])
    await fails(Promise.resolve(index.updateRankingRules(['nonsense'])), 'invalid_settings_ranking_rules', 400)
    await succeed(index.resetSettings())
    assert.deepEqual(await index.getRankingRules(), [
      'words',
      'typo',
      'proximity',
      'attributeRank',
      'sort',
      'wordPosition',
      'exactness',
    ])
    await fails(client().index(uid('nowhere')).getSettings(), 'index_not_found', 404)
  })

  test(`${name}: searches rank, filter, sort, facet, highlight and page`, async () => {
    const index = await library('search')
    const prince = await index.search('prince', { showRankingScore: true })
    assert.deepEqual(
      prince.hits.map(({ id }) => id),
      [1, 4],
    )
    assert.ok(Math.abs((prince.hits[0]!._rankingScore ?? 0) - 116 / 132) < 1e-6)
    assert.ok(Math.abs((prince.hits[1]!._rankingScore ?? 0) - 110 / 132) < 1e-6)
    const ids = async (query: string, options: object = {}) =>
      (await index.search(query, options)).hits.map(({ id }) => id)
    assert.deepEqual(await ids('prinse'), [1, 4])
    assert.deepEqual(await ids('galax'), [5])
    assert.deepEqual(await ids('"half-blood"'), [4])
    assert.deepEqual(await ids('french book', { matchingStrategy: 'all' }), [6])
    assert.deepEqual(await ids('', { filter: 'genre = fantasy AND price > 20', sort: ['price:desc'] }), [5, 3])
    assert.deepEqual(await ids('', { filter: [['year < 1850', 'year > 2003'], 'genre EXISTS'] }), [2, 4])
    assert.deepEqual(await ids('', { filter: 'info.tags IN [french]' }), [1])
    assert.deepEqual(await ids('', { filter: '_geoRadius(51.75, -1.25, 10000)' }), [3])
    assert.deepEqual(await ids('', { sort: ['_geoPoint(52.2, 0.12):asc'], limit: 2 }), [5, 3])
    const facets = await index.search('', { facets: ['genre', 'year'], limit: 0 })
    assert.deepEqual(facets.facetDistribution?.genre, { fable: 1, fantasy: 3, novel: 1, romance: 1 })
    assert.deepEqual(facets.facetStats?.year, { min: 1813, max: 2005 })
    const marked = await index.search('prince', {
      attributesToHighlight: ['title'],
      showMatchesPosition: true,
      limit: 1,
    })
    assert.equal(marked.hits[0]!._formatted?.title, 'Le Petit <em>Prince</em>')
    assert.deepEqual(marked.hits[0]!._matchesPosition?.title, [{ start: 9, length: 6 }])
    const page = await index.search('', { page: 2, hitsPerPage: 3 })
    assert.deepEqual([page.totalHits, page.totalPages, page.page, page.hits.length], [7, 3, 2, 3])
    assert.deepEqual(await ids('', { attributesToRetrieve: ['title'], limit: 1, sort: ['year:asc'] }), [undefined])
    const found = await index.searchForFacetValues({ facetName: 'genre', facetQuery: 'fan' })
    assert.deepEqual(found.facetHits, [{ value: 'fantasy', count: 3 }])
    const viaGet = await index.searchGet('prince', { filter: 'year > 2000', attributesToRetrieve: ['id'] })
    assert.deepEqual(viaGet.hits, [{ id: 4 }])
    await fails(index.search('x', { filter: 'title = x' }), 'invalid_search_filter', 400)
    await fails(index.search('x', { sort: ['title:asc'] }), 'invalid_search_sort', 400)
    await fails(client().index(uid('nowhere')).search('x'), 'index_not_found', 404)
  })

  test(`${name}: several searches go in one request, apart or federated`, async () => {
    const index = await library('multi')
    const { results } = await client().multiSearch({
      queries: [
        { indexUid: index.uid, q: 'prince' },
        { indexUid: index.uid, q: 'galaxy', limit: 1 },
      ],
    })
    assert.deepEqual(
      results.map((result) => [result.indexUid, result.hits.map((hit) => hit.id)]),
      [
        [index.uid, [1, 4]],
        [index.uid, [5]],
      ],
    )
    const merged = await client().multiSearch({
      federation: { limit: 3, facetsByIndex: { [index.uid]: ['genre'] } },
      queries: [
        { indexUid: index.uid, q: 'prince' },
        { indexUid: index.uid, q: 'galaxy', federationOptions: { weight: 2 } },
      ],
    })
    assert.deepEqual(
      merged.hits.map((hit) => hit.id),
      [5, 1, 4],
    )
    assert.equal(merged.hits[0]!._federation?.indexUid, index.uid)
    assert.deepEqual(Object.keys(merged.facetsByIndex ?? {}), [index.uid])
    await fails(
      client().multiSearch({
        queries: [
          { indexUid: index.uid, q: 'a' },
          { indexUid: uid('nowhere'), q: 'a' },
        ],
      }),
      'index_not_found',
      400,
    )
  })

  test(`${name}: tasks and batches are listed, filtered, cancelled and deleted`, async () => {
    const index = client().index(uid('tasks'))
    const first = await succeed(index.addDocuments([{ id: 1 }], { customMetadata: 'mine' }))
    const { uid: number } = first as unknown as { uid: number }
    const task = await client().tasks.getTask(number)
    assert.equal(task.type, 'documentAdditionOrUpdate')
    assert.deepEqual(task.details, { receivedDocuments: 1, indexedDocuments: 1 })
    assert.equal(task.customMetadata, 'mine')
    assert.match(task.duration ?? '', /^PT/)
    const listed = await client().tasks.getTasks({
      indexUids: [index.uid],
      types: ['documentAdditionOrUpdate'],
      statuses: ['succeeded'],
    })
    assert.deepEqual(
      listed.results.map((each) => each.uid),
      [number],
    )
    assert.deepEqual(Object.keys(listed), ['results', 'total', 'limit', 'from', 'next'])
    const batch = await client().batches.getBatch(task.batchUid ?? -1)
    assert.equal(batch.stats.totalNbTasks >= 1, true)
    assert.equal(batch.stats.indexUids[index.uid], 1)
    const cancel = await client()
      .tasks.cancelTasks({ uids: [number] })
      .waitTask()
    assert.equal(cancel.type, 'taskCancelation')
    assert.deepEqual(cancel.details, { matchedTasks: 1, canceledTasks: 0, originalFilter: `?uids=${number}` })
    const deleted = await client()
      .tasks.deleteTasks({ uids: [number] })
      .waitTask()
    assert.deepEqual(deleted.details, { matchedTasks: 1, deletedTasks: 1, originalFilter: `?uids=${number}` })
    await fails(client().tasks.getTask(number), 'task_not_found', 404)
    await fails(Promise.resolve(client().tasks.cancelTasks({})), 'missing_task_filters', 400)
  })

  test(`${name}: keys are made, limited to indexes and actions, changed and revoked`, async () => {
    const index = await library('keys')
    const names = (await client().getKeys({ limit: 100 })).results.map((key) => key.name)
    for (const each of [
      'Default Search API Key',
      'Default Admin API Key',
      'Default Read-Only Admin API Key',
      'Default Chat API Key',
    ])
      assert.ok(names.includes(each), each)
    const key = await client().createKey({ name: 'n', actions: ['search'], indexes: [index.uid], expiresAt: null })
    assert.deepEqual(
      (await client(key.key).index(index.uid).search('prince')).hits.map((hit) => hit.id),
      [1, 4],
    )
    await fails(client(key.key).index(uid('tasks')).search('x'), 'invalid_api_key', 403)
    await fails(client(key.key).index(index.uid).getDocuments(), 'invalid_api_key', 403)
    assert.equal((await client().updateKey(key.uid, { name: 'changed' })).name, 'changed')
    await fails(
      client().createKey({ actions: ['nonsense'] as never, indexes: ['*'], expiresAt: null }),
      'invalid_api_key_actions',
      400,
    )
    const token = await generateTenantToken({
      apiKey: key.key,
      apiKeyUid: key.uid,
      searchRules: { [index.uid]: { filter: 'year > 2000' } },
    })
    assert.deepEqual(
      (await client(token).index(index.uid).search('prince')).hits.map((hit) => hit.id),
      [4],
    )
    await client().deleteKey(key.uid)
    await fails(client(key.key).index(index.uid).search('x'), 'invalid_api_key', 403)
    await fails(client(token).index(index.uid).search('x'), 'invalid_api_key', 403)
    await fails(client('wrong').index(index.uid).search('x'), 'invalid_api_key', 403)
    await fails(
      new Meilisearch({ host: target().url }).index(index.uid).search('x'),
      'missing_authorization_header',
      401,
    )
  })

  test(`${name}: vectors are stored, searched and compared`, async () => {
    const index = client().index(uid('vectors'))
    await succeed(index.updateEmbedders({ default: { source: 'userProvided', dimensions: 2 } }))
    await succeed(
      index.addDocuments([
        { id: 1, title: 'one', _vectors: { default: [1, 1] } },
        { id: 2, title: 'two', _vectors: { default: [1, 2] } },
        { id: 3, title: 'three', _vectors: { default: [-1, 0] } },
      ]),
    )
    const near = await index.search('', {
      vector: [1, 1],
      hybrid: { embedder: 'default', semanticRatio: 1 },
      showRankingScore: true,
    })
    assert.deepEqual(
      near.hits.map((hit) => hit.id),
      [1, 2, 3],
    )
    assert.ok(Math.abs((near.hits[1]!._rankingScore ?? 0) - 0.97434) < 1e-4)
    const similar = await index.searchSimilarDocuments({ id: '1', embedder: 'default' })
    assert.deepEqual(
      similar.hits.map((hit) => hit.id),
      [2, 3],
    )
    const bad = await index.addDocuments([{ id: 4, _vectors: { default: [1, 2, 3] } }]).waitTask()
    assert.equal(bad.error?.code, 'invalid_vector_dimensions')
  })
}
