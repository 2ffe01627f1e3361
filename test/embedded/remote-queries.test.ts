import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { JsonObject } from '../../src/lib/json.ts'
import { type RunningEngine, startEngine } from './running-engine.ts'

let engine: RunningEngine
before(async () => {
  engine = await startEngine()
  await engine.patch('/experimental-features', { network: true })
  await engine.done(await engine.post('/indexes/movies/documents', [{ id: 1, t: 'two' }]))
})
after(() => engine.close())

const federated = (remote: string) =>
  engine.post('/multi-search', {
    federation: {},
    queries: [{ indexUid: 'movies', q: 'two', federationOptions: { remote } }],
  })

test('a query for another server is refused, not answered from here', async () => {
  assert.deepEqual(await federated('there'), {
    message: 'Inside `.queries[0]`: Invalid `.federation_options.remote`: remote `there` is not registered',
    code: 'invalid_multi_search_remote',
    type: 'invalid_request',
    link: 'https://docs.meilisearch.com/errors#invalid_multi_search_remote',
  })
  const remotes = { here: { url: 'http://127.0.0.1:1' }, there: { url: 'http://127.0.0.1:2' } }
  await engine.patch('/network', { self: 'here', remotes })
  assert.equal((await federated('there')).code, 'feature_not_available')
  const all = await engine.post('/indexes/movies/search', { q: 'two', useNetwork: true })
  assert.equal(all.code, 'feature_not_available')
  const here = await federated('here')
  const places = (here.hits as readonly JsonObject[]).map(({ _federation }) => (_federation as JsonObject).remote)
  assert.deepEqual(places, ['here'])
  assert.deepEqual(here.remoteErrors, {})
})
