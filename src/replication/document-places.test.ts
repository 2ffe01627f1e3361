import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DocumentPlaces } from './document-places.ts'

function placesOn(node: Map<string, string>) {
  const asked: string[] = []
  const places = new DocumentPlaces(async (ids) => {
    asked.push(...ids)
    return new Map(ids.flatMap((id) => (node.has(id) ? [[id, node.get(id)!] as const] : [])))
  })
  return { places, asked }
}

const never = new AbortController().signal

test('a change waits for others on the way that are about the same documents, and asks the node then', async () => {
  const node = new Map([['b', '2']])
  const { places, asked } = placesOn(node)
  places.at(7, never).send('a', '7')
  const later = places.at(8, never).of(['a', 'b'])
  assert.deepEqual(Object.fromEntries(await places.at(8, never).of(['b'])), { b: '2' })
  node.set('a', '7')
  places.settle(7)
  assert.deepEqual(Object.fromEntries(await later), { a: '7', b: '2' })
  assert.deepEqual(asked, ['b', 'a', 'b'])
})

test('a change knows where it has put a document itself, and that it has deleted one', async () => {
  const { places } = placesOn(new Map([['gone', '1']]))
  const own = places.at(7, never)
  own.send('a', '7')
  own.send('gone', null)
  assert.deepEqual(Object.fromEntries(await own.of(['a', 'gone'])), { a: '7' })
})

test('a lane that stops ends the wait', async () => {
  const { places } = placesOn(new Map())
  places.at(7, never).send('a', '7')
  const stop = new AbortController()
  const waiting = places.at(8, stop.signal).of(['a'])
  stop.abort()
  await assert.rejects(waiting)
})
