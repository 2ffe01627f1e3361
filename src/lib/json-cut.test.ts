import assert from 'node:assert/strict'
import { test } from 'node:test'
import { splitAround, splitItems, splitMembers } from './json-cut.ts'

test('an object is cut into its members, and its list into items, with every byte of their values', () => {
  const text = ' { "n" : 1.0, "hits" : [ {"a":"]}\\\\\\""} , [1, 2],3e5 ], "last":{"hits":[7]} } '
  const { members, items } = splitAround(text, 'hits', 'query')
  assert.deepEqual([...items], ['{"a":"]}\\\\\\""}', '[1, 2]', '3e5'])
  assert.deepEqual(
    [...members],
    [
      ['n', '1.0'],
      ['last', '{"hits":[7]}'],
    ],
  )
  assert.deepEqual(splitItems(splitMembers(text).get('hits') ?? ''), [...items])
  assert.throws(() => splitAround('{"results":[]}', 'hits', 'query'), /a list hits/)
})

// The list is not read through to find its end: what stands in documents must not be taken for it.
test('an answer is cut behind its list, whatever documents hold', () => {
  const cuts = (hits: readonly string[], rest: string) => {
    const { members, items } = splitAround(`{"hits":[${hits.join()}]${rest}}`, 'hits', 'query')
    assert.deepEqual([...items], hits)
    assert.deepEqual(members, splitMembers(`{${rest.slice(1)}}`))
  }
  const hostile = [
    '{"hits":[],"query":"x"}',
    '{"a":{"b":[{"c":[1],"query":"d"}],"query":2},"e":"],\\"query\\":"}',
    '{"text":"],\\\\","query":"}]"}',
  ]
  cuts([], ',"query":""')
  cuts([], '')
  cuts(hostile, ',"query":"],\\"query\\":1","facetDistribution":{"],":{"query":1}},"total":3')
  cuts(hostile, ',"total":3,"query":[{"query":[1],"query":2}]')
  cuts(hostile, ',"total":3')
  cuts(['{"hits":[],"query":"x"}'], '')
})
