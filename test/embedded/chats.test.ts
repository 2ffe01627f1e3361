/** Conversations: what the model is told, the search that it asks for, and what the client sees of it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { startEngineServer } from '../../src/embedded/server/engine-server.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'
import { startStubProvider } from './stub-provider.ts'

test('a model searches the index before it answers, and the client sees only the answer', async () => {
  const provider = await startStubProvider(() => ({ index_uid: 'animals', q: 'dog', filter: '' }))
  const { asked, baseUrl } = provider
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
    await provider.close()
    rmSync(folder, { recursive: true })
  }
})
