import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { JsonObject } from '../../src/lib/json.ts'
import { type RunningEngine, startEngine } from './running-engine.ts'

let engine: RunningEngine
before(async () => {
  engine = await startEngine()
  await engine.patch('/experimental-features', { dynamicSearchRules: true })
  const documents = ['invoice one', 'invoice two', 'other', 'plain', 'invoice five'].map((t, at) => ({ id: at + 1, t }))
  await engine.done(await engine.post('/indexes/movies/documents', documents))
  await engine.done(await engine.post('/indexes/songs/documents', [{ id: 1, t: 'invoice song' }]))
  await engine.done(await engine.patch('/indexes/movies/settings', { filterableAttributes: ['id'] }))
})
after(() => engine.close())

const put = async (uid: string, rule: JsonObject) =>
  engine.done(await engine.patch(`/dynamic-search-rules/${uid}`, rule))
const clear = async () => engine.done(await engine.send('DELETE', '/dynamic-search-rules'))
const pin = (id: string, position: number, indexUid?: string) => ({
  selector: { ...(indexUid === undefined ? {} : { indexUid }), id },
  action: { type: 'pin', position },
})
const hits = async (query: JsonObject, uid = 'movies') => {
  const found = await engine.post(`/indexes/${uid}/search`, query)
  assert.ok(Array.isArray(found.hits), JSON.stringify(found))
  return (found.hits as readonly JsonObject[]).map(({ id }) => id)
}

test('a rule puts a document at its place when the words of its condition are in the query', async () => {
  await put('r', { conditions: { query: { words: 'Invoice' } }, actions: [pin('3', 1, 'movies')] })
  assert.deepEqual(await hits({ q: 'invoice' }), [1, 3, 2, 5])
  assert.deepEqual(await hits({ q: 'INVOICE one' }), [1, 3, 2, 5])
  assert.deepEqual(await hits({ q: 'invoice', limit: 2, offset: 1 }), [3, 2])
  assert.deepEqual(await hits({ q: 'invoice', page: 2, hitsPerPage: 1 }), [3])
  assert.deepEqual(await hits({ q: 'invoice', filter: 'id != 3' }), [1, 2, 5])
  assert.deepEqual(await hits({ q: 'invoices' }), [1, 2, 5])
  assert.deepEqual(await hits({ q: '"invoice one"' }), [1])
  assert.deepEqual(await hits({ q: 'invoice' }, 'songs'), [1])
  const scored = await engine.post('/indexes/movies/search', { q: 'invoice', showRankingScoreDetails: true, limit: 2 })
  assert.deepEqual((scored.hits as readonly JsonObject[])[1]?._rankingScoreDetails, { pin: { order: 0, position: 1 } })
  assert.equal(scored.estimatedTotalHits, 4)
  await clear()
})

test('rules that meet at a place go by precedence; pins beyond the last hit follow it by their places', async () => {
  await put('late', { actions: [pin('4', 0)] })
  await put('early', { precedence: 1, actions: [pin('3', 0), pin('5', 90)] })
  assert.deepEqual(await hits({ q: 'two' }), [3, 4, 2, 5])
  assert.deepEqual(await hits({ q: 'two', limit: 3 }), [3, 2, 5])
  // A page behind the first, before the place of any pin.
  await put('late', { actions: [pin('4', 90)] })
  await put('early', { actions: [pin('3', 80)] })
  assert.equal((await hits({ q: 'two', page: 2, hitsPerPage: 1 })).length, 1)
  await put('late', { actions: [pin('4', 0)] })
  await put('early', { actions: [pin('3', 0), pin('5', 90)] })
  await put('late', { precedence: 0 })
  assert.deepEqual(await hits({ q: 'two' }), [4, 3, 2, 5])
  await clear()
})

test('rules hold within their time, for empty queries, and while they are active', async () => {
  await put('old', { active: true, conditions: { time: { end: '2020-01-01T00:00:00Z' } }, actions: [pin('5', 0)] })
  await put('off', { active: false, actions: [pin('4', 0)] })
  await put('empty', { active: true, conditions: { query: { isEmpty: true } }, actions: [pin('3', 0)] })
  assert.deepEqual(await hits({ q: '' }), [3, 1, 2, 4, 5])
  assert.deepEqual(await hits({ q: 'two' }), [2])
  await clear()
})

test('a federated search shows what is pinned in each of its queries, as Meilisearch does', async () => {
  await put('r', { actions: [pin('4', 0, 'movies'), pin('3', 2, 'movies')] })
  const query = { indexUid: 'movies', q: 'invoice' }
  const found = await engine.post('/multi-search', {
    federation: {},
    queries: [query, query, { ...query, indexUid: 'songs' }],
  })
  assert.deepEqual(
    (found.hits as readonly JsonObject[]).map(({ id, _federation }) => [(_federation as JsonObject).indexUid, id]),
    [
      ['movies', 4],
      ['movies', 4],
      ['movies', 3],
      ['movies', 3],
      ['movies', 1],
      ['movies', 2],
      ['movies', 5],
      ['songs', 1],
    ],
  )
  await clear()
})

test('rules are listed as they came, found by their words, and gone when they were deleted', async () => {
  await put('b', { description: 'Black friday', active: true })
  await put('a', { conditions: { query: { words: 'gift' } } })
  const list = async (body: JsonObject) => {
    const { results, total } = await engine.post('/dynamic-search-rules', body)
    return [(results as readonly JsonObject[]).map(({ uid }) => uid), total]
  }
  assert.deepEqual(await list({}), [['b', 'a'], 2])
  assert.deepEqual(await list({ limit: 1, offset: 1 }), [['a'], 2])
  assert.deepEqual(await list({ filter: { query: 'green friday' } }), [[], 0])
  assert.deepEqual(await list({ filter: { query: 'black sheep' } }), [['b'], 1])
  assert.deepEqual(await list({ filter: { active: true } }), [['b'], 1])
  const task = await put('a', { precedence: 2 })
  assert.deepEqual(
    [task.type, task.indexUid, task.details],
    ['dsrUpdate', '.meili_dsr', { rule: { precedence: 2 }, updatedRules: 1 }],
  )
  assert.deepEqual(await engine.get('/dynamic-search-rules/a'), {
    uid: 'a',
    precedence: 2,
    active: true,
    conditions: { query: { words: 'gift' } },
    actions: [],
  })
  await engine.done(await engine.send('DELETE', '/dynamic-search-rules/a'))
  assert.equal(((await engine.get('/dynamic-search-rules/a')) as JsonObject).code, 'dynamic_search_rule_not_found')
  assert.deepEqual((await clear()).details, { deletedDocuments: 1 })
})

test('mistakes in rules are told in the words of Meilisearch', async () => {
  const refusal = async (rule: JsonObject) => (await engine.patch('/dynamic-search-rules/r', rule)).message
  assert.equal(
    await refusal({ conditions: { time: { start: '2026-11-28T00:00:00+02:00', end: '2025-11-28T00:00:00Z' } } }),
    'Invalid value at `.conditions.time`: `end` (`2025-11-28 0:00:00.0 +00:00:00`) should be later than `start` (`2026-11-28 0:00:00.0 +02:00:00`)',
  )
  assert.equal(
    await refusal({ conditions: { query: { isEmpty: true, words: 'x' } } }),
    'Invalid value at `.conditions.query`: either `isEmpty` or `words` can be used, not both at once',
  )
  assert.equal(
    await refusal({ actions: [{ selector: { id: '1' }, action: { type: 'boost', position: 0 } }] }),
    'Invalid value at `.actions[0].action`: Incorrect tag value',
  )
  assert.equal(
    await refusal({ actions: [{ selector: { id: '1' }, action: { type: 'pin', place: 0 } }] }),
    'Unknown field `place` inside `.actions[0].action`: expected one of `position`',
  )
})
