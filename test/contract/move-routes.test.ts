/** What operators ask of moves over HTTP. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMoveOrders } from '../../src/control/move-orders.ts'
import { createReshardOrders } from '../../src/control/reshard-orders.ts'
import { answerMoves } from '../../src/gateway/move-routes.ts'
import { answerReshards } from '../../src/gateway/reshard-routes.ts'
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
  const moves = createMoveOrders({ ...store, ...drawn })
  const defaults = { replicationFactor: 1, exactTies: true }
  const reshards = createReshardOrders({ ...store, ...drawn, keepsPayloads: true, defaults })
  return async (method: string, path: string, body?: Json): Promise<{ status: number; body: JsonObject }> => {
    const isOfReshard = path.startsWith('/_miroir')
    const url = new URL(`http://operator${isOfReshard ? '' : '/internal/moves'}${path}`)
    const asked = { method, url, body: async () => body }
    const reply = await (isOfReshard ? answerReshards(asked, { reshards, moves }) : answerMoves(asked, moves))
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

const reshard = '/_miroir/indexes/books/reshard'

test('an operator plans a reshard, opens it, follows it, and aborts it', async () => {
  const ask = await start()
  const idle = (await ask('GET', `${reshard}/status`)).body
  assert.deepEqual([idle.phase, idle.new_shards, idle.error], ['idle', null, null])
  const plan = await ask('POST', reshard, { new_shards: 4, dry_run: true })
  assert.deepEqual([plan.status, plan.body.before, plan.body.after, plan.body.copy], [200, null, 4, 'journal'])
  assert.equal((await ask('GET', `${reshard}/status`)).body.phase, 'idle', 'nothing was done')

  const opened = await ask('POST', reshard, { new_shards: 4, throttle_docs_per_sec: 100, force: true })
  assert.equal(opened.status, 202)
  const { phase, old_shards: old, new_shards: wanted, pct, move } = opened.body
  assert.deepEqual([phase, old, wanted, pct], ['shadow', 1, 4, 0])
  const { options, kind } = (await ask('GET', `/${move}`)).body
  assert.deepEqual(
    [kind, isObject(options) && options.priority, isObject(options) && options.bytesPerSecond],
    ['reshard', 'urgent', 1_024],
  )
  assert.equal((await ask('POST', reshard, { new_shards: 8 })).status, 409, 'one of an index')
  assert.equal((await ask('POST', `${reshard}/rollback`)).body.code, 'miroir_conflict', 'it has not switched')
  const aborted = await ask('POST', `${reshard}/abort`)
  assert.deepEqual([aborted.status, aborted.body.move], [202, move])
  assert.equal((await ask('GET', `/${move}`)).body.wish, 'cancel')
})

test('a reshard that cannot be is refused in words, and nothing is left of it', async () => {
  const ask = await start(2)
  const two = await ask('POST', reshard, { new_shards: 4 })
  assert.deepEqual([two.status, two.body.code], [400, 'miroir_invalid_request'])
  assert.equal((await ask('POST', `${reshard}?project=other`, { new_shards: 4, dry_run: true })).status, 200)
  for (const body of [
    {},
    { new_shards: 0 },
    { new_shards: 4, plain: true },
    { plain: true, replication_factor: 2 },
    { new_shards: 4, force: 'yes' },
    { new_shards: 4, more: 1 },
    'no object',
  ]) {
    const { status, body: told } = await ask('POST', `${reshard}?project=other`, body)
    assert.deepEqual([status, told.code], [400, 'miroir_invalid_request'], JSON.stringify(body))
  }
  assert.equal((await ask('POST', `${reshard}?project=other`, { plain: true })).status, 409, 'it lies so already')
  assert.equal((await ask('POST', '/_miroir/indexes/none/reshard', { new_shards: 4 })).status, 404)
  assert.equal((await ask('POST', `${reshard}/abort?project=other`)).status, 404)
  assert.equal((await ask('PUT', reshard)).status, 404)
  assert.equal((await ask('GET', '/_miroir/indexes/books')).status, 404)
  assert.deepEqual((await ask('GET', '')).body, { results: [] })
})
