import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceText } from '../api/reserved-fields.ts'
import { DocumentPlaces } from './document-places.ts'

const [at1, at2, at7] = [1, 2, 7].map((position) => sequenceText(position, 0)) as [string, string, string]

function placesOn(node: Map<string, string>) {
  const asked: string[] = []
  const places = new DocumentPlaces(async (ids) => {
    asked.push(...ids)
    return new Map(ids.flatMap((id) => (node.has(id) ? [[id, node.get(id)!] as const] : [])))
  })
  return { places, asked }
}

test('what is on the way counts before what the node holds, until it is there', async () => {
  const { places, asked } = placesOn(
    new Map([
      ['a', at1],
      ['b', at2],
    ]),
  )
  places.send(7, 'b', null)
  places.send(7, 'c', at7)
  places.send(8, 'c', at7)
  assert.deepEqual(Object.fromEntries(await places.of(9, ['a', 'b', 'c', 'd'])), { a: at1, c: at7 })
  assert.deepEqual(asked, ['a', 'd'])
  places.settle(7)
  assert.deepEqual(Object.fromEntries(await places.of(9, ['b', 'c'])), { b: at2, c: at7 })
  places.settle(8)
  assert.deepEqual(Object.fromEntries(await places.of(9, ['c'])), {})
})

test('when a change fails it is known who took a place from it first, also from one that had taken it', async () => {
  const { places } = placesOn(new Map())
  places.send(7, 'c', at7)
  await places.of(8, ['other'])
  await places.of(9, ['c'])
  places.send(9, 'c', at7)
  await places.of(10, ['c'])
  assert.equal(places.fail(7), 9)
  assert.equal(places.fail(9), undefined)
  places.clear()
  assert.deepEqual(
    [7, 8, 9].map((position) => places.relies(position)),
    [false, false, true],
  )
})

test('who relies on a deletion is an heir of it, and whoever comes after a failure is none', async () => {
  const { places } = placesOn(new Map([['b', at2]]))
  places.send(7, 'b', null)
  places.send(8, 'c', sequenceText(8, 0))
  await places.of(9, ['b'])
  assert.equal(places.fail(7), 9)
  assert.equal(places.fail(8), undefined)
  assert.deepEqual(Object.fromEntries(await places.of(10, ['b', 'c'])), { b: at2 })
  assert.equal(places.fail(8), undefined)
})

test('places of changes that the node holds have no heirs', async () => {
  const { places } = placesOn(new Map())
  places.send(7, 'c', at7)
  await places.of(8, ['c'])
  places.send(8, 'c', at7)
  places.settle(7)
  await places.of(9, ['c'])
  assert.equal(places.fail(7), undefined)
})

test('changes that are sent as one look for their documents once, and take places from each other', async () => {
  const { places, asked } = placesOn(new Map([['a', at1]]))
  places.send(7, 'c', at7)
  const heirs = new Map([
    ['a', 8],
    ['c', 9],
  ])
  assert.deepEqual(Object.fromEntries(await places.ofEach(heirs)), { a: at1, c: at7 })
  assert.deepEqual(asked, ['a'])
  places.send(8, 'b', sequenceText(8, 0))
  places.rely(10, 'b')
  places.rely(11, 'b')
  assert.deepEqual([places.fail(7), places.fail(8)], [9, 10])
  assert.deepEqual(
    [8, 9, 10, 11].map((position) => places.relies(position)),
    [false, true, true, true],
  )
})
