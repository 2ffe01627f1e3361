import assert from 'node:assert/strict'
import { test } from 'node:test'
import { splitAround, splitItems, splitMembers } from './json-cut.ts'

test('an object is cut into its members, and its list into items, with every byte of their values', () => {
  const text = ' { "n" : 1.0, "hits" : [ {"a":"]}\\\\\\""} , [1, 2],3e5 ], "last":{"hits":[7]} } '
  const { members, items } = splitAround(text, 'hits')
  assert.deepEqual(items, ['{"a":"]}\\\\\\""}', '[1, 2]', '3e5'])
  assert.deepEqual(
    [...members],
    [
      ['n', '1.0'],
      ['last', '{"hits":[7]}'],
    ],
  )
  assert.deepEqual(splitItems(splitMembers(text).get('hits') ?? ''), items)
  assert.deepEqual(splitAround('{"hits":[]}', 'hits'), { members: new Map(), items: [] })
  assert.throws(() => splitAround('{"results":[]}', 'hits'), /a list hits/)
})
