/** What operators ask of moves over HTTP. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMoveOrders } from '../../src/control/move-orders.ts'
import { answerMoves } from '../../src/gateway/move-routes.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { World } from './journal-world.ts'

const drawn = { clock: systemClock, random: seededRandom(1) }

/** An index `books` on the first of two nodes. @param owners  projects that have one. */
async function start(owners = 1) {
  const store = openMemoryStore(drawn)
  const world = await World.open(store)
  const other = await store.catalogue.createProject({ organisation: world.project.organisation, name: 'other' })
  const create = { kind: 'index-create', primaryKey: null } as const
  for (const project of [world.project.id, other.id].slice(0, owners)) await world.append('books', create, { project })
  await world.deliverAll()
  await store.catalogue.putNode({ id: 'n2', engine: 'embedded', url: 'http://n2', region: 'local', key: null })
  const orders = createMoveOrders({ ...store, ...drawn })
  return async (method: string, path: string, body?: Json): Promise<{ status: number; body: JsonObject }> => {
    const url = new URL(`http://operator/internal/moves${path}`)
    const reply = await answerMoves({ method, url, body: async () => body }, orders)
    assert.ok(reply !== undefined && isObject(reply.body))
    return { status: reply.status, body: reply.body }
  }
}

const target = 'n2'

test('an operator plans a move, opens it, follows it, and cancels it', async () => {
  const ask = await start()
  const plan = await ask('POST', '', { index: 'books', to: target, dryRun: true })
  assert.deepEqual([plan.status, plan.body.target, plan.body.ahead], [200, target, 0])
  assert.deepEqual((await ask('GET', '')).body, { results: [] })

  const order = { index: 'books', to: target, keepMs: 5, priority: 'low', windows: ['22:00-06:00'] }
  const opened = await ask('POST', '', order)
  assert.equal(opened.status, 202)
  assert.deepEqual(opened.body.options, {
    ...{ keepMs: 5, bytesPerSecond: null, priority: 'low', windows: ['22:00-06:00'] },
  })
  assert.equal((await ask('POST', '', order)).status, 409)
  assert.equal((await ask('POST', '/books/pause')).body.isPaused, true)
  assert.equal((await ask('POST', `/${opened.body.id}/resume`)).body.isPaused, false)
  const refused = await ask('POST', '/books/undo')
  assert.deepEqual([refused.status, refused.body.code], [409, 'miroir_conflict'])
  assert.match(String(refused.body.message), /possible: cancel/)
  assert.equal((await ask('POST', '/books/cancel')).body.wish, 'cancel')
  const { indexUid, step } = (await ask('GET', `/${opened.body.id}`)).body
  assert.deepEqual([indexUid, step], ['books', 'planned'])
  const { results } = (await ask('GET', '?open=true&project=books')).body
  assert.ok(Array.isArray(results) && results.length === 1)
  assert.deepEqual((await ask('GET', '?project=other')).body, { results: [] })
})

test('what cannot be done is refused in words, and nothing is left of it', async () => {
  const ask = await start()
  const refusals: readonly (readonly [string, string, Json | undefined, number])[] = [
    ['GET', '/nothing', undefined, 404],
    ['GET', '/%zz', undefined, 400],
    ['GET', '?limit=0', undefined, 400],
    ['GET', '?open=maybe', undefined, 400],
    ['DELETE', '/books', undefined, 404],
    ['POST', '/books/hurry', undefined, 404],
    ['POST', '', undefined, 400],
    ['POST', '', { index: 'books' }, 400],
    ['POST', '', { index: 'books', to: target, haste: 1 }, 400],
    ['POST', '', { index: 'books', to: target, priority: 'high' }, 400],
    ['POST', '', { index: 'books', to: target, windows: ['25:00-26:00'] }, 400],
    ['POST', '', { index: 'films', to: target }, 404],
    ['POST', '', { index: 'books', to: 'nowhere' }, 409],
    ['POST', '', { index: 'books', to: target, project: 'nobody' }, 404],
  ]
  for (const [method, path, body, status] of refusals) {
    const reply = await ask(method, path, body)
    assert.equal(reply.status, status, `${method} ${path} ${JSON.stringify(body)}`)
    assert.equal(typeof reply.body.message, 'string')
  }
  assert.deepEqual((await ask('GET', '')).body, { results: [] })
})

test('an index whose name several projects use is moved once it is said whose', async () => {
  const ask = await start(2)
  assert.equal((await ask('POST', '', { index: 'books', to: target })).status, 400)
  assert.equal((await ask('POST', '', { index: 'books', to: target, project: 'other' })).status, 202)
})
