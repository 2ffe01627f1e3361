import assert from 'node:assert/strict'
import { lookup } from 'node:dns'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { JsonObject } from '../../lib/json.ts'
import type { EngineCore } from '../core.ts'
import { openEngine } from '../engine-core.ts'
import { startEngineServer } from './engine-server.ts'
import { startWebhookDelivery } from './webhook-delivery.ts'

interface Reply {
  readonly status: number
  readonly text: string
  readonly body: JsonObject
}

type Send = (method: string, path: string, body?: unknown) => Promise<Reply>

async function withEngine(run: (send: Send, core: EngineCore) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'flapjack-instance-'))
  let core: EngineCore | undefined
  const webhooks = startWebhookDelivery({
    store: () => core?.store,
    egress: { fault: () => undefined, lookup },
    onFailure: (reason) => assert.fail(reason),
  })
  core = await openEngine(folder, { onFinished: (tasks) => webhooks.notify(tasks) })
  const server = await startEngineServer({ core, host: '127.0.0.1', port: 0, masterKey: null })
  const send: Send = async (method, path, body) => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = text.startsWith('{')
    return { status: response.status, text, body: isJson ? (JSON.parse(text) as JsonObject) : {} }
  }
  try {
    await run(send, core)
  } finally {
    await server.close()
    await core.close()
    await webhooks.close()
    rmSync(folder, { recursive: true })
  }
}

test('a webhook of the engine alone hears of each finished task, once, in the form of Meilisearch', async () => {
  const heard: JsonObject[] = []
  let told: () => void = () => undefined
  const news = new Promise<void>((resolve) => {
    told = resolve
  })
  const receiver = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      assert.equal(request.headers['content-type'], 'application/x-ndjson')
      assert.equal(request.headers['x-secret'], 'abc')
      const lines = gunzipSync(Buffer.concat(pieces)).toString().trimEnd().split('\n')
      heard.push(...lines.map((line) => JSON.parse(line) as JsonObject))
      response.end()
      told()
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  try {
    await withEngine(async (send) => {
      const created = await send('POST', '/webhooks', {
        url,
        headers: { 'x-secret': 'abc', Authorization: 'Bearer 123456' },
      })
      assert.equal(created.status, 201)
      const webhook = `/webhooks/${String(created.body.uuid)}`
      assert.deepEqual((await send('GET', webhook)).body, created.body)
      const { taskUid } = (await send('POST', '/indexes', { uid: 'films' })).body
      await news
      assert.deepEqual(
        heard.map(({ uid, status, type }) => ({ uid, status, type })),
        [{ uid: taskUid, status: 'succeeded', type: 'indexCreation' }],
      )
      assert.equal((await send('DELETE', webhook)).status, 204)
      assert.equal((await send('GET', webhook)).body.code, 'webhook_not_found')
    })
  } finally {
    receiver.closeAllConnections()
    await new Promise((resolve) => receiver.close(resolve))
  }
})

test('metrics have the names of Meilisearch, and are shown only while their flag is on', async () => {
  await withEngine(async (send, core) => {
    assert.equal((await send('GET', '/metrics')).body.code, 'feature_not_enabled')
    await send('PATCH', '/experimental-features', { metrics: true })
    const { taskUid } = (await send('POST', '/indexes', { uid: 'films' })).body
    await core.waitForTask(Number(taskUid), 10_000)
    const { text } = await send('GET', '/metrics')
    for (const line of [
      'meilisearch_index_count 1',
      'meilisearch_index_docs_count{index="films"} 0',
      'meilisearch_nb_tasks{kind="statuses",value="succeeded"} 1',
      'meilisearch_nb_tasks{kind="types",value="indexCreation"} 1',
      'meilisearch_http_requests_total{method="POST",path="/indexes",status="202"} 1',
      'meilisearch_is_indexing 0',
    ])
      assert.ok(text.split('\n').includes(line), line)
  })
})

test('a network is kept and acts on nothing; a leader is refused as by the community edition', async () => {
  await withEngine(async (send) => {
    await send('PATCH', '/experimental-features', { network: true })
    const remotes = { b: { url: 'http://b', searchApiKey: 'k' } }
    const changed = await send('PATCH', '/network', { self: 'a', remotes })
    assert.equal(changed.status, 200)
    assert.deepEqual((await send('GET', '/network')).body, changed.body)
    assert.equal((await send('PATCH', '/network', { leader: 'a' })).status, 451)
  })
})
