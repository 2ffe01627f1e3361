import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DocumentPlaces } from './document-places.ts'

test('what is on the way counts before what the node holds, until it is there', async () => {
  const node = new Map([
    ['a', '1'],
    ['b', '2'],
  ])
  const asked: string[] = []
  const places = new DocumentPlaces(async (ids) => {
    asked.push(...ids)
    return new Map(ids.flatMap((id) => (node.has(id) ? [[id, node.get(id)!] as const] : [])))
  })
  places.send(7, 'b', null)
  places.send(7, 'c', '7')
  places.send(8, 'c', '7')
  assert.deepEqual(Object.fromEntries(await places.of(['a', 'b', 'c', 'd'])), { a: '1', c: '7' })
  assert.deepEqual(asked, ['a', 'd'])
  places.settle(7)
  assert.deepEqual(Object.fromEntries(await places.of(['b', 'c'])), { b: '2', c: '7' })
  places.settle(8)
  assert.deepEqual(Object.fromEntries(await places.of(['c'])), {})
})
