import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkBodyFlags, checkQueryFlags } from './filter-flags.ts'

const notEnabled = { code: 'feature_not_enabled' }

test('a filter that needs a flag is refused without it, however it is spelled', () => {
  for (const body of ['{"filter":"title CONTAINS a"}', '{"filter":"title CONT\\u0041INS a"}']) {
    assert.throws(() => checkBodyFlags(Buffer.from(body), {}), notEnabled, body)
    checkBodyFlags(Buffer.from(body), { containsFilter: true, multimodal: true })
  }
  const long = JSON.stringify({ q: 'x'.repeat(10_000), filter: 'title CONTAINS a' })
  assert.throws(() => checkBodyFlags(Buffer.from(long), {}), notEnabled)
  for (const search of ['filter=title%20CONTAINS%20a', 'filter=title%20CONT%41INS%20a']) {
    assert.throws(() => checkQueryFlags(search, {}), notEnabled, search)
  }
})

test('what needs no flag is left for the engine to judge', () => {
  checkBodyFlags(Buffer.from('{"filter":"title = a","q":"caf\\u00e9"}'), {})
  checkBodyFlags(Buffer.from('{"q":"\\u0041", broken'), {})
  checkQueryFlags('q=caf%C3%A9&filter=%5B', {})
})
