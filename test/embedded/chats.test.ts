/** Conversations: what the model is told, the search that it asks for, and what the client sees of it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { startEngineServer } from '../../src/embedded/server/engine-server.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'

interface Asked {
  readonly messages: readonly { readonly role: string; readonly content?: string }[]
  readonly tools: readonly JsonObject[]
}

test('a model searches the index before it answers, and the client sees only the answer', async () => {
  const asked: Asked[] = []
  const provider = createServer((request, response) => {
    let body = ''
    request.on('data', (piece: Buffer) => {
      body += piece.toString('utf8')
    })
    request.on('end', () => {
      const sent = JSON.parse(body) as Asked
      asked.push(sent)
      const send = (delta: JsonObject, finish_reason: string | null = null) =>
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      if (sent.messages.some(({ role }) => role === 'tool')) {
        send({ content: 'It is a dog.' })
        send({}, 'stop')
      } else {
        const call = (name: string | null, text: string) => ({
          tool_calls: [{ index: 0, id: 'call', function: { ...(name === null ? {} : { name }), arguments: text } }],
        })
        send(call('_meiliSearchInIndex', '{"index_uid":"animals",'))
        send(call(null, '"q":"dog","filter":""}'))
        send({}, 'tool_calls')
      }
      response.end('data: [DONE]\n\n')
    })
  })
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
  const folder = mkdtempSync(join(tmpdir(), 'flapjack-chats-'))
  const core = await openEngine(folder, { searchWorkersMax: 1 })
  const server = await startEngineServer({ core, host: '127.0.0.1', port: 0, masterKey: null, allowedNetworks: 'any' })
  const send = (method: string, path: string, body?: Json) =>
    fetch(server.url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
  try {
    await send('PATCH', '/experimental-features', { chatCompletions: true })
    const task = (await (await send('POST', '/indexes/animals/documents', [{ id: 1, name: 'a dog' }])).json()) as {
      readonly taskUid: number
    }
    await core.waitForTask(task.taskUid, 20_000)
    const baseUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`
    const saved = await send('PATCH', '/chats/zoo/settings', { baseUrl, apiKey: 'sk-test-placeholder-api-key' })
    assert.equal(((await saved.json()) as JsonObject).apiKey, 'sk-XXXXX...')
    assert.deepEqual(((await (await send('GET', '/chats')).json()) as JsonObject).results, [{ uid: 'zoo' }])

    const question = { model: 'm', stream: true, messages: [{ role: 'user', content: 'What is it?' }] }
    const text = await (await send('POST', '/chats/zoo/chat/completions', question)).text()
    assert.match(text, /^data: \{"choices":\[\{"index":0,"delta":\{"content":"It is a dog."\}/)
    assert.ok(text.endsWith('data: [DONE]\n\n'))
    assert.ok(!text.includes('_meiliSearchInIndex'))
    assert.equal(asked.length, 2)
    assert.equal(asked[1]?.messages.at(-1)?.content, 'id: 1\nname: a dog\n')

    const whole = await send('POST', '/chats/zoo/chat/completions', { ...question, stream: false })
    assert.equal(whole.status, 501)
  } finally {
    await server.close(0)
    await core.close()
    provider.closeAllConnections()
    await new Promise((resolve) => provider.close(resolve))
    rmSync(folder, { recursive: true })
  }
})
