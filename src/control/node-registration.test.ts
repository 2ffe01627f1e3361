import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { ApiError } from '../api/errors.ts'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import { addNode, type NewNode } from './node-registration.ts'

/** The name of the engine's marker key; empty = there is none. */
let marker = ''
const engine = createServer(({ url: path, headers }, response) => {
  const isAllowed = path === '/health' || headers.authorization === 'Bearer right'
  const isAbsent = path?.startsWith('/keys/') === true && marker === ''
  response
    .writeHead(isAllowed ? (isAbsent ? 404 : 200) : 403)
    .end(JSON.stringify({ name: marker, description: 'x', createdAt: '2030-01-01T00:00:00Z' }))
})
let url = ''
before(async () => {
  engine.listen(0, '127.0.0.1')
  await once(engine, 'listening')
  url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`
})
after(() => {
  engine.close()
  engine.closeAllConnections()
})

test('a node is taken in once it answered with its key, under an id and an address that nobody has', async () => {
  const { catalogue } = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const deps = { catalogue, clock: systemClock, signal: new AbortController().signal }
  const good: NewNode = {
    id: 'search-1',
    url,
    key: 'right',
    region: 'eu',
    group: 3,
    engine: 'meilisearch',
    capacity: { diskBytes: 1e12, memoryBytes: null },
  }
  const refusal = async (change: Partial<NewNode>): Promise<string> => {
    const error = await addNode({ ...good, ...change }, deps).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    assert(error instanceof ApiError)
    return error.code
  }
  for (const id of ['', 'Upper', 'a_b', '-a', 'a-', 'a'.repeat(64), 'n1', 'm12', 'r1']) {
    assert.equal(await refusal({ id }), 'miroir_invalid_request', id)
  }
  for (const wrong of ['nowhere', 'ftp://a', `${url}/path`, 'http://user:password@a', 'http://a?b', 'http://a/#b']) {
    assert.equal(await refusal({ url: wrong }), 'miroir_invalid_request', wrong)
  }
  for (const group of [-1, 1.5, 64]) assert.equal(await refusal({ group }), 'miroir_invalid_request')
  assert.equal(await refusal({ key: 'wrong' }), 'miroir_invalid_request')
  assert.equal(await refusal({ key: null }), 'miroir_invalid_request')
  assert.deepEqual(await catalogue.nodes(), [])

  marker = 'flapjack node elsewhere'
  assert.equal(await refusal({}), 'miroir_conflict')
  marker = ''

  const added = await addNode({ ...good, url: `${url}/` }, deps)
  assert.deepEqual(added, { ...good, state: 'active' })
  assert.deepEqual(await catalogue.nodes(), [added])
  assert.equal(await refusal({}), 'miroir_conflict')
  assert.equal(await refusal({ id: 'search-2' }), 'miroir_conflict')
})
