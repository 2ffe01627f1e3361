import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type RunningEngine, startEngine } from './running-engine.ts'

let engine: RunningEngine
before(async () => {
  engine = await startEngine()
  const documents = '[{"id":1,"t":"x","n":12345678901234567890,"m":{"a":[9007199254740993]}},{"id":2,"t":"y"}]'
  await engine.done(await engine.post('/indexes/big/documents', documents))
})
after(() => engine.close())

const textOf = async (path: string, body: object) => {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  return (await fetch(`${engine.url}${path}`, init)).text()
}

test('the context of an edit is shown with every digit', async () => {
  await engine.patch('/experimental-features', { editDocumentsByFunction: true })
  const edit = '{"function":"doc.c = context.a","context":{"a":9007199254740993,"b":[12345678901234567890]}}'
  const { uid } = await engine.done(await engine.post('/indexes/big/documents/edit', edit))
  const shown = '"context":{"a":9007199254740993,"b":[12345678901234567890]}'
  for (const path of [`/tasks/${uid}`, '/tasks?types=documentEdition'])
    assert.ok((await engine.text(path)).includes(shown), await engine.text(path))
})

test('hits keep every digit of whole numbers, in parts, in formatted fields and in federated searches', async () => {
  const starts = (text: string, wanted: string) => assert.ok(text.includes(wanted), text)
  const whole = '{"id":1,"t":"x","n":12345678901234567890,"m":{"a":[9007199254740993]}'
  starts(await textOf('/indexes/big/search', { q: 'x' }), whole)
  const part = { q: 'x', attributesToRetrieve: ['m', 'n'], attributesToHighlight: ['n'] }
  starts(
    await textOf('/indexes/big/search', part),
    '{"n":12345678901234567890,"m":{"a":[9007199254740993]},"_formatted":{"n":"12345678901234567890","m":{"a":["9007199254740993"]}}',
  )
  starts(await textOf('/multi-search', { federation: {}, queries: [{ indexUid: 'big', q: 'x' }] }), whole)
})
