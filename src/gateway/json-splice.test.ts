import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { answerPlaces } from './index-places.ts'
import { compilePlaces, elementsOf, spliceNames, UnreadableJson } from './json-splice.ts'

const upper = (name: string) => name.toUpperCase()
const splice = (text: string, places: readonly string[]) =>
  spliceNames(Buffer.from(text), compilePlaces(places), upper).toString()

test('only names change: numbers, spaces and documents keep every byte', () => {
  const text =
    '{ "results":[ {"indexUid":"a","hits":[{"indexUid":"a","n":1.0,"s":"\\"}"}], "x":9007199254740993 } ,{"indexUid" : "b"}]}'
  assert.equal(
    splice(text, answerPlaces.multiSearch),
    '{ "results":[ {"indexUid":"A","hits":[{"indexUid":"a","n":1.0,"s":"\\"}"}], "x":9007199254740993 } ,{"indexUid" : "B"}]}',
  )
  assert.equal(
    splice('{"facetsByIndex":{"a":{"a":1},"b":null}}', answerPlaces.federatedSearch),
    '{"facetsByIndex":{"A":{"a":1},"B":null}}',
  )
  assert.equal(
    splice('[{"foreignIndexUid":"a"},7,"x",[]]', ['[].foreignIndexUid']),
    '[{"foreignIndexUid":"A"},7,"x",[]]',
  )
})

test('names in escaped spelling are names too', () => {
  assert.equal(splice('{"\\u0061b":"\\u0063"}', ['ab']), '{"\\u0061b":"C"}')
})

test('any JSON keeps its meaning outside the listed places', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string(), (value, name) => {
      const text = JSON.stringify({ before: value, results: [{ indexUid: name, rest: value }], after: value }, null, 1)
      const spliced: unknown = JSON.parse(splice(text, answerPlaces.multiSearch))
      const expected = { before: value, results: [{ indexUid: upper(name), rest: value }], after: value }
      assert.deepEqual(spliced, JSON.parse(JSON.stringify(expected)))
    }),
  )
})

test('an answer that is cut off is noticed', () => {
  for (const text of ['{"results":[{"indexUid":"a"', '{"results":[', '{"results"', '{"results":[{"indexUid":"a']) {
    assert.throws(() => splice(text, answerPlaces.multiSearch), UnreadableJson)
  }
})

test('elements of a list are handed out as they stand', () => {
  const text = Buffer.from('{"x":{"results":[0]},"results":[ {"a":[1,2]}, "b" ,3.0]}')
  assert.deepEqual(elementsOf(text, 'results')?.map(String), ['{"a":[1,2]}', '"b"', '3.0'])
  assert.deepEqual(elementsOf(Buffer.from('{"results":[]}'), 'results'), [])
  assert.equal(elementsOf(Buffer.from('{}'), 'results'), undefined)
})
