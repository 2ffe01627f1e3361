/** Dynamic search rules through the gateway: every project has its own, by its own names, wherever its indexes lie. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { startEngine } from '../embedded/running-engine.ts'
import { apiCalls } from './api-calls.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

const args = process.env.MEILISEARCH_BIN === undefined ? [] : ['--engine', 'meilisearch']

let flapjack: RunningFlapjack
let neighbour: string

const { call, write } = apiCalls(() => flapjack)

const put = (uid: string, rule: object, key = flapjack.masterKey) =>
  write('PATCH', `/dynamic-search-rules/${uid}`, rule, key)
const pin = (id: string, position: number, indexUid?: string) => ({
  selector: indexUid === undefined ? { id } : { indexUid, id },
  action: { type: 'pin', position },
})

async function hits(path: string, search: object | undefined, key = flapjack.masterKey): Promise<readonly number[]> {
  const { status, text, body } = await call(search === undefined ? 'GET' : 'POST', path, search, key)
  assert.equal(status, 200, text)
  return body.hits.map(({ id }: { readonly id: number }) => id)
}

before(async () => {
  flapjack = await startFlapjack({ args: [...args, '--nodes', '2'] })
  const made: unknown = JSON.parse(await flapjack.cli('project', 'create', 'neighbour', '--json'))
  neighbour = (made as { readonly masterKey: string }).masterKey
  for (const key of [flapjack.masterKey, neighbour]) {
    const early = await call('PATCH', '/dynamic-search-rules/top', {}, key)
    assert.equal(early.body.code, 'feature_not_enabled')
    await call('PATCH', '/experimental-features', { dynamicSearchRules: true }, key)
    for (const [uid, first] of [
      ['movies', 1],
      ['books', 11],
    ] as const) {
      const documents = [0, 1, 2, 3].map((at) => ({ id: first + at, title: 'the same words' }))
      await write('POST', `/indexes/${uid}/documents`, documents, key)
    }
  }
})
after(() => flapjack?.stop())

test('rules of one name pin other documents in each project, and nothing in a project without them', async () => {
  const task = await put('top', { actions: [pin('3', 0, 'movies')] })
  assert.deepEqual([task.type, task.indexUid, task.details.updatedRules], ['dsrUpdate', '.meili_dsr', 1])
  assert.deepEqual(await hits('/indexes/movies/search', { q: 'words' }), [3, 1, 2, 4])
  assert.deepEqual(await hits('/indexes/movies/search', { q: 'words' }, neighbour), [1, 2, 3, 4])
  await put('top', { actions: [pin('4', 1, 'movies')] }, neighbour)
  assert.deepEqual(await hits('/indexes/movies/search', { q: 'words' }, neighbour), [1, 4, 2, 3])
  assert.deepEqual(await hits('/indexes/movies/search?q=words&limit=2', undefined), [3, 1])
  assert.deepEqual(await hits('/indexes/books/search', { q: 'words' }), [11, 12, 13, 14])

  assert.deepEqual((await call('POST', '/dynamic-search-rules', {})).body, {
    results: [{ uid: 'top', active: true, conditions: {}, actions: [pin('3', 0, 'movies')] }],
    offset: 0,
    limit: 20,
    total: 1,
  })
  await write('DELETE', '/dynamic-search-rules')
  assert.equal((await call('GET', '/dynamic-search-rules/top')).body.code, 'dynamic_search_rule_not_found')
  assert.deepEqual(await hits('/indexes/movies/search', { q: 'words' }), [1, 2, 3, 4])
  assert.equal((await call('GET', '/dynamic-search-rules/top', undefined, neighbour)).body.uid, 'top')
  await write('DELETE', '/dynamic-search-rules/top', undefined, neighbour)
  assert.deepEqual(await hits('/indexes/movies/search', { q: 'words' }, neighbour), [1, 2, 3, 4])
})

test('searches of several indexes show what is pinned in each, on whatever nodes they lie', async () => {
  await put('both', { actions: [pin('4', 1, 'movies'), pin('13', 3)] })
  const queries = [
    { indexUid: 'movies', q: 'words' },
    { indexUid: 'books', q: 'words' },
  ]
  const { body } = await call('POST', '/multi-search', { queries })
  const lists = body.results.map(({ hits }: { readonly hits: readonly { readonly id: number }[] }) =>
    hits.map(({ id }) => id),
  )
  assert.deepEqual(lists, [
    [1, 4, 2, 3],
    [11, 12, 14, 13],
  ])
  const merged = await hits('/multi-search', { queries, federation: { limit: 5 } })
  assert.deepEqual([merged[1], merged[3]], [4, 13])
  await write('DELETE', '/dynamic-search-rules')
})

test('what is wrong with a search is told as without rules, and a client cannot bring rules along', async () => {
  await put('top', { actions: [pin('3', 0)] })
  const wrong = ['{"q":', '{"q":1}', '{"rules":[],"search":{}}', '{"filter":"title ="}']
  for (const body of wrong) {
    const [ruled, plain] = [
      await call('POST', '/indexes/movies/search', body),
      await call('POST', '/indexes/movies/search', body, neighbour),
    ]
    assert.deepEqual([ruled.status, ruled.text], [plain.status, plain.text])
    assert.equal(ruled.status, 400)
  }
  const smuggled = await fetch(`${flapjack.url}/indexes/movies/search`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${neighbour}`,
      'content-type': 'application/json',
      'x-miroir-search-rules': '1',
    },
    body: JSON.stringify({ rules: [{ actions: [pin('3', 0)] }], search: { q: 'words' } }),
  })
  assert.equal(smuggled.status, 400)
  await write('DELETE', '/dynamic-search-rules')
})

test('an index in shards shows what is pinned where an index on one node shows it', async () => {
  await flapjack.cli('index', 'create', 'spread', '--project', 'default', '--shards', '4', '--json')
  const documents = Array.from({ length: 30 }, (_, at) => ({
    id: at + 1,
    title: `the same words ${at % 7}`,
    year: at % 3,
  }))
  for (const uid of ['spread', 'whole']) {
    await write('PATCH', `/indexes/${uid}/settings`, { filterableAttributes: ['year'], sortableAttributes: ['id'] })
    await write('POST', `/indexes/${uid}/documents?primaryKey=id`, documents)
  }
  await put('any', { precedence: 2, actions: [pin('9', 0), pin('30', 3), pin('12', 40), pin('99', 1)] })
  await put('words', {
    precedence: 1,
    conditions: { query: { words: 'words' } },
    actions: [pin('17', 0, 'spread'), pin('17', 0, 'whole'), pin('5', 6)],
  })
  const questions: readonly object[] = [
    {},
    { q: 'words' },
    { q: 'words 3', limit: 7, showRankingScoreDetails: true, showRankingScore: true },
    { q: 'words', page: 2, hitsPerPage: 4, facets: ['year'] },
    { q: 'same', offset: 3, limit: 5, filter: 'year != 2', attributesToRetrieve: ['title'] },
    { q: 'same', sort: ['id:desc'], attributesToHighlight: ['*'] },
    { q: 'nothing like it' },
    { q: 'words', limit: 100 },
    { q: 'words', distinct: 'year' },
  ]
  const steady = ({ processingTimeMs: _time, requestUid: _uid, ...answer }: Record<string, unknown>) => answer
  for (const question of questions) {
    const [spread, whole] = await Promise.all(
      ['spread', 'whole'].map((uid) => call('POST', `/indexes/${uid}/search`, question)),
    )
    assert.deepEqual(steady(spread!.body), steady(whole!.body), JSON.stringify(question))
  }
  const federated = async (uid: string) => {
    const queries = ['words', 'same 3'].map((q) => ({ indexUid: uid, q }))
    const found = await call('POST', '/multi-search', { federation: { limit: 9 }, queries })
    return found.body.hits.map(({ id }: { readonly id: number }) => id)
  }
  assert.deepEqual(await federated('spread'), await federated('whole'))
  assert.deepEqual((await federated('spread')).slice(0, 2), [17, 9])
})

test('the plan of a search shows the rules that hold now', async () => {
  await put('late', { conditions: { time: { start: '2090-01-01T00:00:00Z' } }, actions: [pin('1', 0)] })
  const { body } = await call('POST', '/indexes/spread/explain', { q: 'words' })
  assert.deepEqual(
    body.plan.search_rules.map(({ uid, precedence }: { uid: string; precedence: number }) => [uid, precedence]),
    [
      ['words', 1],
      ['any', 2],
    ],
  )
})

test('a dump of the project holds its rules, as Meilisearch writes them', async () => {
  const { details } = await write('POST', '/dumps')
  const folder = join(flapjack.folder, 'dumps')
  const [project] = await readdir(folder)
  const path = join(folder, project!, `${details.dumpUid}.dump`)
  const engine = await startEngine({ load: { kind: 'dump', path, ignoreMissing: false, ignoreIfExists: false } })
  try {
    const { results } = await engine.post('/dynamic-search-rules', {})
    const shown = (results as readonly { readonly uid: string }[]).map(({ uid }) => uid)
    assert.deepEqual(shown, ['any', 'words', 'late'])
  } finally {
    await engine.close()
  }
})
