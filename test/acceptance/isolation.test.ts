/**
 * No byte crosses between projects (I4, P-01): three projects own indexes of the same names, with canaries in documents,
 * settings, keys and task metadata; every key of one project walks the whole route table, and no answer may hold
 * a canary of another.
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, test } from 'node:test'
import { inEveryLayout } from './layouts.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

interface TestProject {
  readonly name: string
  readonly canary: string
  readonly ref: string
  readonly masterKey: string
  /** Credentials by kind. */
  readonly credentials: ReadonlyMap<string, string>
}

let flapjack: RunningFlapjack
const projects: TestProject[] = []

interface Answer {
  readonly status: number
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the API answers
  readonly body: any
}

async function call(credential: string | undefined, method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(flapjack.url + path, {
    method,
    headers: {
      ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const isJson = (response.headers.get('content-type') ?? '').includes('json') && text !== ''
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n')
  return { status: response.status, text: `${headers}\n${text}`, body: isJson ? JSON.parse(text) : undefined }
}

async function done(credential: string, answer: Answer): Promise<void> {
  assert.equal(answer.status, 202, answer.text)
  const deadline = Date.now() + 30_000
  for (;;) {
    const { body } = await call(credential, 'GET', `/tasks/${answer.body.taskUid}`)
    if (body.status === 'succeeded') return
    assert.ok(body.status !== 'failed' && body.status !== 'canceled', JSON.stringify(body))
    assert.ok(Date.now() < deadline, `task does not end: ${JSON.stringify(body)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const base64url = (text: string | Buffer) => Buffer.from(text).toString('base64url')

function tenantToken(key: { readonly uid: string; readonly key: string }, searchRules: unknown): string {
  const head = base64url(JSON.stringify({ alg: 'HS256', typ: 'JWT' }))
  const claims = base64url(JSON.stringify({ apiKeyUid: key.uid, searchRules }))
  const signature = createHmac('sha256', key.key).update(`${head}.${claims}`).digest()
  return `${head}.${claims}.${base64url(signature)}`
}

/** Every read of the API, and writes that are refused or harmless; `other` is a foreign project. */
function walk(
  mine: TestProject,
  other: TestProject,
): readonly (readonly [method: string, path: string, body?: unknown])[] {
  return [
    ['GET', '/'],
    ['GET', '/health'],
    ['GET', '/version'],
    ['GET', '/stats'],
    ['GET', '/indexes?limit=1000'],
    ['GET', '/indexes/products'],
    ['GET', `/indexes/only-${other.canary}`],
    ['GET', `/indexes/${other.ref}_products`],
    ['POST', `/indexes/${other.ref}_products/search`, { q: '' }],
    ['POST', `/indexes/only-${other.canary}/search`, { q: '' }],
    ['GET', '/indexes/products/stats'],
    ['GET', '/indexes/products/settings'],
    ['GET', '/indexes/products/settings/stop-words'],
    ['POST', '/indexes/products/fields', {}],
    ['GET', '/indexes/products/documents?limit=1000'],
    ['POST', '/indexes/products/documents/fetch', { limit: 1000 }],
    ['GET', '/indexes/products/documents/3'],
    ['POST', '/indexes/products/search', { q: 'item', showRankingScoreDetails: true, facets: ['color'] }],
    ['GET', '/indexes/products/search?q=item'],
    ['POST', '/indexes/products/search', { q: 'item', filter: `color = ${other.canary}` }],
    ['POST', '/indexes/products/facet-search', { facetName: 'color' }],
    ['POST', '/indexes/products/search', { q: 'item', filter: 'nope = 1' }],
    ['POST', '/indexes/products/search', { q: 'item', sort: ['nope:asc'] }],
    ['POST', '/multi-search', { queries: [{ indexUid: 'products', q: 'item' }] }],
    ['POST', '/multi-search', { federation: {}, queries: [{ indexUid: 'products', q: 'item' }] }],
    ['POST', '/multi-search', { queries: [{ indexUid: `only-${other.canary}`, q: '' }] }],
    ['GET', '/tasks?limit=1000'],
    ['GET', '/tasks/0'],
    ['GET', '/tasks/1'],
    ['GET', '/tasks/100000'],
    ['GET', '/batches?limit=1000'],
    ['GET', '/batches/0'],
    ['GET', '/keys?limit=1000'],
    ['GET', '/keys/00000000-0000-4000-8000-000000000000'],
    ['GET', '/webhooks'],
    ['GET', '/experimental-features'],
    ['GET', '/metrics'],
    ['GET', '/network'],
    ['GET', '/chats'],
    ['POST', '/logs/stderr', { target: 'info' }],
    // Not a foreign name: it would rightly stand in the caller's own list of tasks from here on.
    ['POST', '/swap-indexes', [{ indexes: ['products', 'nope'] }]],
    ['POST', '/tasks/cancel?indexUids=nope'],
    ['GET', `/v1/indexes/products/documents/3?fields=title,${mine.canary}`],
    ['GET', '/nowhere'],
  ]
}

inEveryLayout((layout) => {
  before(async () => {
    flapjack = await startFlapjack({ args: layout.args })
    projects.length = 0
    for (const name of ['red', 'green', 'blue']) {
      const created = JSON.parse(await flapjack.cli('project', 'create', name, '--json'))
      const { ref, masterKey } = created as { ref: string; masterKey: string }
      const canary = `canary${name}x7q`
      const make = async (actions: string[], indexes: string[]) => {
        const answer = await call(masterKey, 'POST', '/keys', {
          name: canary,
          description: canary,
          actions,
          indexes,
          expiresAt: null,
        })
        assert.equal(answer.status, 201, answer.text)
        return answer.body as { uid: string; key: string }
      }
      const search = await make(['search'], ['*'])
      const credentials = new Map([
        ['master', masterKey],
        ['admin', (await make(['*'], ['*'])).key],
        ['read-only', (await make(['*.get', 'search'], ['*'])).key],
        ['search', search.key],
        ['one index', (await make(['*'], ['products'])).key],
        ['tenant token', tenantToken(search, { '*': { filter: `color = ${canary}` } })],
      ])
      projects.push({ name, canary, ref, masterKey, credentials })
      const documents = Array.from({ length: 20 }, (_, id) => ({ id, title: `${canary} item ${id}`, color: canary }))
      await done(
        masterKey,
        await call(masterKey, 'PATCH', '/indexes/products/settings', {
          filterableAttributes: ['color'],
          stopWords: [`stop${canary}`],
        }),
      )
      await done(
        masterKey,
        await call(masterKey, 'POST', `/indexes/products/documents?customMetadata=${canary}`, documents),
      )
      await done(masterKey, await call(masterKey, 'POST', '/indexes', { uid: `only-${canary}`, primaryKey: 'id' }))
    }
  })

  after(() => flapjack.stop())

  test('no answer to any kind of key holds a byte of another project', async () => {
    for (const mine of projects) {
      for (const other of projects) {
        if (other === mine) continue
        for (const [kind, credential] of mine.credentials) {
          for (const [method, path, body] of walk(mine, other)) {
            const { status, text } = await call(credential, method, path, body)
            const asked = path + JSON.stringify(body ?? '')
            // What the caller itself sent may be echoed; nothing else of the other project may appear.
            const foreign = [other.canary, other.ref, other.masterKey, ...other.credentials.values()]
            for (const secret of foreign) {
              if (asked.includes(secret)) continue
              assert.ok(!text.includes(secret), `${mine.name} ${kind} ${method} ${path}: ${text}`)
            }
            assert.ok(
              !text.includes(`${mine.ref}_`),
              `${mine.name} ${kind} ${method} ${path} shows a physical name: ${text}`,
            )
            assert.notEqual(status, 500, `${kind} ${method} ${path}: ${text}`)
          }
        }
      }
    }
  })

  test('a foreign index is answered exactly as one that exists nowhere', async () => {
    const [mine, other] = projects as [TestProject, TestProject]
    for (const credential of [mine.masterKey, mine.credentials.get('admin')!, mine.credentials.get('search')!]) {
      for (const [method, suffix, body] of [
        ['GET', ''],
        ['GET', '/settings'],
        ['GET', '/documents'],
        ['POST', '/search', { q: 'item' }],
      ] as const) {
        const foreign = await call(credential, method, `/indexes/only-${other.canary}${suffix}`, body)
        const nowhere = await call(
          credential,
          method,
          `/indexes/only-${'n'.repeat(other.canary.length)}${suffix}`,
          body,
        )
        assert.equal(foreign.status, nowhere.status)
        assert.deepEqual(
          JSON.parse(JSON.stringify(foreign.body).replaceAll(other.canary, 'n'.repeat(other.canary.length))),
          nowhere.body,
        )
      }
    }
  })

  test('task numbers of each project are dense from 0', async () => {
    for (const { masterKey } of projects) {
      const { body } = await call(masterKey, 'GET', '/tasks?limit=1000&reverse=true')
      const uids = body.results.map((task: { uid: number }) => task.uid)
      assert.deepEqual(
        uids,
        uids.map((_: number, place: number) => place),
      )
    }
  })

  test("compacting tasks is behind its flag, and tells of the project's own tasks alone", async () => {
    const [mine, other] = projects as [TestProject, TestProject]
    const compact = async ({ masterKey }: TestProject) => (await call(masterKey, 'POST', '/tasks/compact')).body
    assert.equal((await compact(mine)).code, 'feature_not_enabled')
    for (const { masterKey } of [mine, other])
      await call(masterKey, 'PATCH', '/experimental-features', { taskQueueCompactionRoute: true })
    const before = await compact(other)
    assert.deepEqual([before.status, before.preSize], ['succeeded', before.postSize])
    const { preSize } = await compact(mine)
    await done(mine.masterKey, await call(mine.masterKey, 'DELETE', '/indexes/products/documents/0'))
    assert.notEqual((await compact(mine)).preSize, preSize)
    assert.deepEqual(await compact(other), before)
  })

  test("a tenant token finds only its rule's documents, whatever filter the caller sends", async () => {
    const [mine] = projects as [TestProject]
    const search = (await call(mine.masterKey, 'GET', '/keys?limit=1000')).body.results.find(
      (key: { name: string; actions: string[] }) => key.name === mine.canary && key.actions.join() === 'search',
    )
    const token = tenantToken(search, { products: { filter: 'color = nothing' } })
    for (const filter of [
      'color EXISTS',
      'color = nothing) OR (color EXISTS',
      ['color EXISTS'],
      [['color EXISTS', 'id > 0']],
    ]) {
      const { status, body } = await call(token, 'POST', '/indexes/products/search', { q: '', filter })
      if (status === 200) assert.deepEqual(body.hits, [])
      else assert.equal(status, 400)
    }
    assert.equal((await call(token, 'GET', '/indexes/products/documents')).status, 403)
    assert.equal((await call(token, 'POST', `/indexes/only-${mine.canary}/search`, {})).status, 403)
  })
})
