import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, test } from 'node:test'
import type { JsonObject } from '../../src/lib/json.ts'
import { type RunningEngine, startEngine } from './running-engine.ts'

const running: RunningEngine[] = []
afterEach(async () => {
  for (const engine of running.splice(0)) await engine.close()
})

async function engine(): Promise<RunningEngine> {
  const started = await startEngine({ allowedNetworks: 'any' })
  running.push(started)
  return started
}

test('an export brings documents, primary key and settings to another engine, and tells how many it sent', async () => {
  const [from, to] = [await engine(), await engine()]
  const big = '{"id":3,"genre":"a","views":12345678901234567890}'
  await from.done(await from.post('/indexes/movies/documents', `[{"id":1,"genre":"a"},{"id":2,"genre":"b"},${big}]`))
  await from.done(await from.patch('/indexes/movies/settings', { filterableAttributes: ['genre'], stopWords: ['the'] }))
  await from.done(await from.post('/indexes/songs/documents?primaryKey=key', [{ key: 'x', name: 'y' }]))
  const sent = await from.post('/export', {
    url: to.url,
    apiKey: 'a-key-of-the-target',
    payloadSize: '1 MiB',
    indexes: { 'mov*': { filter: 'genre = a' }, songs: {} },
  })
  const task = await from.done(sent)
  assert.deepEqual(task.details, {
    url: to.url,
    apiKey: 'a-XXXX...',
    payloadSize: '1 MiB',
    indexes: {
      movies: { filter: 'genre = a', overrideSettings: false, matched_documents: 2 },
      songs: { filter: null, overrideSettings: false, matched_documents: 1 },
    },
  })
  await to.idle()
  const found = await to.text('/indexes/movies/documents')
  assert.ok(found.includes(big), found)
  assert.ok(found.includes('"total":2'), found)
  const settings = (await to.get('/indexes/movies/settings')) as JsonObject
  assert.deepEqual([settings.filterableAttributes, settings.stopWords], [['genre'], ['the']])
  assert.equal(((await to.get('/indexes/songs')) as JsonObject).primaryKey, 'key')
})

test('settings of an index that is there already stay, unless they are overridden', async () => {
  const [from, to] = [await engine(), await engine()]
  await from.done(await from.post('/indexes/movies/documents', [{ id: 1 }]))
  await from.done(await from.patch('/indexes/movies/settings', { stopWords: ['the'] }))
  await to.done(await to.patch('/indexes/movies/settings', { stopWords: ['of'], searchableAttributes: ['name'] }))
  const stopWords = async () => {
    await to.idle()
    const settings = (await to.get('/indexes/movies/settings')) as JsonObject
    return [settings.stopWords, settings.searchableAttributes]
  }
  await from.done(await from.post('/export', { url: to.url }))
  assert.deepEqual(await stopWords(), [['of'], ['name']])
  await from.done(await from.post('/export', { url: to.url, indexes: { '*': { overrideSettings: true } } }))
  assert.deepEqual(await stopWords(), [['the'], ['*']])
})

test('an export fails with the words of the filter, of the other server, and of an address that is none', async () => {
  const from = await engine()
  await from.done(await from.post('/indexes/movies/documents', [{ id: 1 }]))
  const refusing = createServer((_, response) => {
    response.writeHead(403, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({ message: 'The provided API key is invalid.', code: 'invalid_api_key', type: 'auth', link: 'l' }),
    )
  })
  await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}`
  const errorOf = async (body: JsonObject) => (await from.done(await from.post('/export', body), 'failed')).error
  try {
    assert.equal(
      (await errorOf({ url, indexes: { '*': { filter: 'genre = a' } } }))?.message,
      'Index `movies`: Attribute `genre` is not filterable. This index does not have configured filterable attributes.\n1:6 genre = a',
    )
    assert.deepEqual(await errorOf({ url }), {
      message:
        'Failed to export documents to remote server invalid_api_key (auth): The provided API key is invalid. <l>',
      code: 'internal',
      type: 'internal',
      link: 'https://docs.meilisearch.com/errors#internal',
    })
    assert.equal(
      (await errorOf({ url: 'nonsense' }))?.message,
      'Failed to export documents to remote server: `nonsense` is not an address',
    )
  } finally {
    refusing.closeAllConnections()
    await new Promise((resolve) => refusing.close(resolve))
  }
})

test('an export to a server that is away can be cancelled', async () => {
  const from = await engine()
  await from.done(await from.post('/indexes/movies/documents', [{ id: 1 }]))
  const { taskUid } = await from.post('/export', { url: 'http://127.0.0.1:1' })
  await from.done(await from.post(`/tasks/cancel?uids=${taskUid}`, undefined))
  assert.equal(((await from.get(`/tasks/${taskUid}`)) as JsonObject).status, 'canceled')
})
