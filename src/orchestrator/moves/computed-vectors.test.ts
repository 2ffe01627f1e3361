import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutComputed } from './computed-vectors.ts'

const vectors = (regenerate: boolean, first: number) => `{"embeddings":[[${first},0]],"regenerate":${regenerate}}`

test('vectors that nodes compute may differ, those that were given may not', () => {
  const document = (computed: number, given: number) =>
    `{"id":1,"_vectors":{"own":${vectors(false, given)},"asked":${vectors(true, computed)}}}`
  assert.equal(withoutComputed(document(1, 1)), withoutComputed(document(2, 1)))
  assert.notEqual(withoutComputed(document(1, 1)), withoutComputed(document(1, 2)))
})

test('a document without vectors keeps every digit', () => {
  const text = '{"id":1,"serial":12345678901234567890123,"regenerate":"\\"regenerate\\""}'
  assert.equal(withoutComputed(text), text)
})
