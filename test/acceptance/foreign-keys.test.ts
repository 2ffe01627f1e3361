/**
 * Foreign keys through the gateway: what a hit names is looked up in the index that has the name now, whatever became of it.
 * With MEILISEARCH_BIN, real Meilisearch stands behind it.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { apiCalls } from './api-calls.ts'
import { inEveryLayout } from './layouts.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

let flapjack: RunningFlapjack
let neighbour: string

const { call, write } = apiCalls(() => flapjack)

async function authorsOf(search: Record<string, unknown> = {}): Promise<unknown> {
  const { body, status, text } = await call('POST', '/indexes/books/search', search)
  assert.equal(status, 200, text)
  return body.hits.map(({ author }: { readonly author: unknown }) => author)
}

inEveryLayout((layout) => {
  before(async () => {
    flapjack = await startFlapjack({ args: layout.args })
    const made: unknown = JSON.parse(await flapjack.cli('project', 'create', 'neighbour', '--json'))
    neighbour = (made as { readonly masterKey: string }).masterKey
    const flag = await call('PATCH', '/experimental-features', { foreignKeys: true })
    assert.equal(flag.body.foreignKeys, true)
    await write('PUT', '/indexes/books/settings/filterable-attributes', ['author', 'title'])
    await write('PUT', '/indexes/books/settings/foreign-keys', [{ foreignIndexUid: 'authors', fieldName: 'author' }])
    await write('POST', '/indexes/books/documents', [
      { id: 1, title: 'Mrs Dalloway', author: 7 },
      { id: 2, title: 'Emma', author: [8, 'nobody', 'no one!'] },
    ])
  })

  after(() => flapjack.stop())

  test('a key whose index does not exist yet is told by searches, and answered once it is created', async () => {
    const missing = await call('POST', '/indexes/books/search', {})
    assert.deepEqual([missing.status, missing.body.code], [404, 'index_not_found'])
    assert.equal(missing.body.message, 'Index `authors` not found.')
    const several = await call('POST', '/multi-search', { queries: [{ indexUid: 'books' }] })
    assert.deepEqual([several.status, several.body.message], [404, 'Inside `.queries[0]`: Index `authors` not found.'])
    const unknown = { queries: [{ indexUid: 'books', limit: 0 }, { indexUid: 'nope' }] }
    const listed = await call('POST', '/multi-search', unknown)
    assert.deepEqual([listed.status, listed.body.message], [404, 'Inside `.queries[1]`: Index `nope` not found.'])
    const merged = await call('POST', '/multi-search', { ...unknown, federation: {} })
    assert.deepEqual([merged.status, merged.body.message], [404, 'Index `nope` not found.'])
    await write(
      'POST',
      '/indexes/authors/documents',
      '[{"id":7,"name":"Woolf","isni":12345678901234567890},{"id":8,"name":"Austen"}]',
    )
    assert.deepEqual(await authorsOf(), [
      { id: 7, name: 'Woolf', isni: Number('12345678901234567890') },
      [{ id: 8, name: 'Austen' }, {}, 'no one!'],
    ])
  })

  test('foreign documents keep every digit, and show what their own index displays', async () => {
    assert.match((await call('GET', '/indexes/books/search?q=dalloway')).text, /"isni":12345678901234567890[,}]/)
    await write('PUT', '/indexes/authors/settings/displayed-attributes', ['name'])
    assert.deepEqual(await authorsOf({ q: 'dalloway' }), [{ name: 'Woolf' }])
    await write('DELETE', '/indexes/authors/settings/displayed-attributes')
  })

  test('the setting shows the names that the client gave', async () => {
    const keys = [{ foreignIndexUid: 'authors', fieldName: 'author' }]
    assert.deepEqual((await call('GET', '/indexes/books/settings/foreign-keys')).body, keys)
    const { body } = await call('GET', '/indexes/books/settings')
    assert.deepEqual(body.foreignKeys, keys)
    assert.equal(Object.keys(body)[4], 'foreignKeys')
  })

  test('searches of several indexes and federated ones hold foreign documents', async () => {
    const queries = [
      { indexUid: 'books', q: 'emma', filter: '_foreign(author, name = Austen)' },
      { indexUid: 'authors' },
    ]
    await write('PUT', '/indexes/authors/settings/filterable-attributes', ['name'])
    const { body, text } = await call('POST', '/multi-search', { queries })
    assert.deepEqual(body.results?.[0]?.hits[0].author, [{ id: 8, name: 'Austen' }, {}, 'no one!'], text)
    const federated = await call('POST', '/multi-search', { queries: queries.slice(0, 1), federation: {} })
    assert.deepEqual(federated.body.hits?.[0]?.author, [{ id: 8, name: 'Austen' }, {}, 'no one!'], federated.text)
    // What is wrong with the other index is told with the place of the query, or without when it is federated.
    const wrong = { queries: [{ indexUid: 'books', filter: '_foreign(author, nobody = 1)' }] }
    const placed = await call('POST', '/multi-search', wrong)
    assert.match(placed.body.message, /^Inside `\.queries\[0\]`: Index `authors`: Attribute `nobody` is not filterable/)
    const bare = await call('POST', '/multi-search', { ...wrong, federation: {} })
    assert.match(bare.body.message, /^Index `authors`: Attribute `nobody` is not filterable/)
  })

  test('conditions on a foreign index are answered, or refused in the words of the reference', async () => {
    const filter = '_foreign(author, name = Woolf)'
    assert.deepEqual(await authorsOf({ filter, attributesToRetrieve: ['author'] }), [
      { id: 7, name: 'Woolf', isni: Number('12345678901234567890') },
    ])
    const asked = await call('GET', `/indexes/books/search?filter=${encodeURIComponent(filter)}`)
    assert.equal(asked.body.hits.length, 1)
    const listed = await call('POST', '/indexes/books/documents/fetch', { filter })
    assert.deepEqual(listed.body.results, [{ id: 1, title: 'Mrs Dalloway', author: 7 }])
    const facets = await call('POST', '/indexes/books/facet-search', { facetName: 'title', filter })
    assert.deepEqual(facets.body.facetHits, [{ value: 'Mrs Dalloway', count: 1 }])
    const deleted = await call('POST', '/indexes/books/documents/delete', { filter })
    assert.match(deleted.body.message, /^Filter condition `_foreign` is not supported for this endpoint\./)
    const unknown = await call('POST', '/indexes/books/search', { filter: '_foreign(title, name = Woolf)' })
    assert.equal(unknown.body.message, 'Index `books`: Field `title` is not a foreign key')
    const inner = await call('POST', '/indexes/books/search', { filter: '_foreign(author, born = 1882)' })
    assert.match(inner.body.message, /^Index `authors`: Attribute `born` is not filterable\./)
  })

  test('the index that has the name counts after a swap, a rename and a deletion', async () => {
    await write('POST', '/indexes/new_authors/documents', [{ id: 7, name: 'V. Woolf' }])
    await write('POST', '/swap-indexes', [{ indexes: ['authors', 'new_authors'] }])
    assert.deepEqual(await authorsOf({ q: 'dalloway' }), [{ id: 7, name: 'V. Woolf' }])
    await write('DELETE', '/indexes/authors')
    assert.equal((await call('POST', '/indexes/books/search', {})).body.code, 'index_not_found')
    await write('PATCH', '/indexes/new_authors', { uid: 'authors' })
    assert.deepEqual(await authorsOf({ q: 'emma' }), [[{ id: 8, name: 'Austen' }, {}, 'no one!']])
    await write('PATCH', '/indexes/books', { uid: 'novels' })
    const moved = await call('GET', '/indexes/novels/settings/foreign-keys')
    assert.deepEqual(moved.body, [{ foreignIndexUid: 'authors', fieldName: 'author' }])
    await write('PATCH', '/indexes/novels', { uid: 'books' })
  })

  test('an index of another project is never named, and its flag is its own', async () => {
    await write('POST', '/indexes/secrets/documents', [{ id: 7, name: 'canary' }], neighbour)
    await write('PUT', '/indexes/books/settings/foreign-keys', [{ foreignIndexUid: 'secrets', fieldName: 'author' }])
    const refused = await call('POST', '/indexes/books/search', {})
    assert.deepEqual([refused.status, refused.body.code], [404, 'index_not_found'])
    const filtered = await call('POST', '/indexes/secrets/search', { filter: '_foreign(a, b = 1)' }, neighbour)
    assert.equal(filtered.body.code, 'feature_not_enabled')
    assert.ok(!('foreignKeys' in (await call('GET', '/indexes/secrets/settings', undefined, neighbour)).body))
    await write('DELETE', '/indexes/books/settings/foreign-keys')
    assert.deepEqual(await authorsOf({ q: 'dalloway' }), [7])
  })
})
