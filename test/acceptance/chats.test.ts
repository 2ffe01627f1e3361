/** Conversations through the gateway: the model's searches are those of the caller, by the names that the caller knows. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { JsonObject } from '../../src/lib/json.ts'
import { type StubProvider, startStubProvider } from '../embedded/stub-provider.ts'
import { inEveryLayout } from './layouts.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

let flapjack: RunningFlapjack
let provider: StubProvider
let asks: JsonObject = {}

async function call(method: string, path: string, body?: unknown, key = flapjack.masterKey) {
  const response = await fetch(flapjack.url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, text: await response.text() }
}

async function write(method: string, path: string, body: unknown): Promise<void> {
  const { text } = await call(method, path, body)
  const { taskUid } = JSON.parse(text) as { readonly taskUid: number }
  for (const deadline = Date.now() + 30_000; ; ) {
    const { status } = JSON.parse((await call('GET', `/tasks/${taskUid}`)).text) as { readonly status: string }
    if (status === 'succeeded') return
    assert.ok(status !== 'failed' && Date.now() < deadline, status)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** What the model was told of its search. */
async function converse(search: JsonObject, key = flapjack.masterKey) {
  asks = search
  const body = { model: 'm', stream: true, messages: [{ role: 'user', content: 'What is it?' }] }
  const answer = await call('POST', '/chats/zoo/chat/completions', body, key)
  const last = provider.asked.at(-1)
  return { ...answer, told: last?.messages.at(-1)?.content, offered: JSON.stringify(last?.tools) }
}

async function keyFor(indexes: readonly string[], actions: readonly string[]): Promise<string> {
  const made = await call('POST', '/keys', { indexes, actions, expiresAt: null })
  return (JSON.parse(made.text) as { readonly key: string }).key
}

inEveryLayout((layout) => {
  before(async () => {
    flapjack = await startFlapjack({ args: [...layout.args, '--experimental-allowed-ip-networks', 'any'] })
    provider = await startStubProvider(() => asks)
    await call('PATCH', '/experimental-features', { chatCompletions: true, renderRoute: true })
    await call('PATCH', '/chats/zoo/settings', { baseUrl: provider.baseUrl, apiKey: 'sk-test-placeholder-api-key' })
    await write('PATCH', '/indexes/animals/settings', {
      filterableAttributes: ['owner'],
      chat: { description: 'Beasts', documentTemplate: 'An animal: {{ doc.name }}', searchParameters: { limit: 5 } },
    })
    await write('POST', '/indexes/animals/documents', [
      { id: 1, name: 'a dog', owner: 'ann' },
      { id: 2, name: 'a hot dog', owner: 'bob' },
    ])
    await write('POST', '/indexes/secrets/documents', [{ id: 1, name: 'a hidden dog' }])
  })

  after(async () => {
    await flapjack.stop()
    await provider.close()
  })

  test('chat settings of an index are read back as they were written', async () => {
    const { text } = await call('GET', '/indexes/animals/settings/chat')
    const { description, documentTemplate, searchParameters } = JSON.parse(text) as JsonObject
    assert.deepEqual(
      [description, documentTemplate, searchParameters],
      ['Beasts', 'An animal: {{ doc.name }}', { limit: 5 }],
    )
  })

  test('a model is told of indexes by name, searches one, and its answer is passed on', async () => {
    const { status, text, told, offered } = await converse({ index_uid: 'animals', q: 'dog', filter: 'owner = ann' })
    assert.equal(status, 200, text)
    assert.match(text, /It is a dog\./)
    assert.ok(text.endsWith('data: [DONE]\n\n'))
    assert.equal(told, 'An animal: a dog')
    assert.match(offered, /"enum":\["animals","secrets"\]/)
    assert.match(offered, / - animals: Beasts/)
  })

  test('a model sees what the key sees, and nothing else', async () => {
    const key = await keyFor(['animals'], ['chatCompletions', 'search'])
    const { told, offered } = await converse({ index_uid: 'secrets', q: '', filter: '' }, key)
    assert.equal(told, 'Index `secrets` not found.')
    assert.ok(!offered.includes('secrets'))
    const only = await keyFor(['*'], ['chatCompletions'])
    assert.equal((await converse({}, only)).status, 403)
  })

  test('what is wrong with a search is told to the model by the names of the project', async () => {
    const { told } = await converse({ index_uid: 'animals', q: '', filter: 'size = 1' })
    assert.match(told ?? '', /^Index `animals`: Attribute `size` is not filterable/)
  })

  test('a template and a document that stand in the request are rendered in a project without that index', async () => {
    const template = { kind: 'inlineDocumentTemplate', inline: 'A {{ doc.name }}' }
    const body = { template, input: { kind: 'inlineDocument', inline: { name: 'cat' } } }
    const { status, text } = await call('POST', '/render-template', body)
    assert.deepEqual([status, JSON.parse(text)], [200, { template: 'A {{ doc.name }}', rendered: 'A cat' }])
  })

  test('a template of one index shows a document of it or of another, with nothing but its own fields', async () => {
    const template = { kind: 'chatDocumentTemplate', indexUid: 'animals' }
    for (const [indexUid, id, rendered] of [
      ['animals', '2', 'An animal: a hot dog'],
      ['secrets', '1', 'An animal: a hidden dog'],
    ]) {
      const { text } = await call('POST', '/render-template', {
        template,
        input: { kind: 'indexDocument', indexUid, id },
      })
      assert.deepEqual(JSON.parse(text), { template: 'An animal: {{ doc.name }}', rendered })
    }
    const all = { kind: 'inlineDocumentTemplate', inline: '{% for field in fields %}{{ field.name }} {% endfor %}' }
    const input = { kind: 'indexDocument', indexUid: 'animals', id: '1' }
    const shown = await call('POST', '/render-template', { template: all, input })
    assert.equal(JSON.parse(shown.text).rendered, 'id name owner ')
    const missing = await call('POST', '/render-template', { template, input: { ...input, id: '7' } })
    assert.equal(JSON.parse(missing.text).message, 'error while fetching input: document `7` not found in `animals`')
  })
})
