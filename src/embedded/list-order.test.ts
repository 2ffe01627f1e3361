import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { orderLists } from './list-order.ts'

test('lists come in the order of both numbers', () => {
  const number = fc.oneof(fc.nat(5), fc.nat(5_000), fc.integer({ min: 0, max: 0xffffffff }))
  fc.assert(
    fc.property(fc.array(fc.tuple(number, number)), (pairs) => {
      const numbered = pairs.map(([high, low], list) => ({ high, low, list }))
      const expected = [...numbered].sort((l, r) => l.high - r.high || l.low - r.low).map(({ list }) => list)
      const column = (of: (pair: (typeof numbered)[number]) => number) => Uint32Array.from(numbered, of)
      const ordered = orderLists(
        column(({ list }) => list),
        column(({ high }) => high),
        column(({ low }) => low),
      )
      assert.deepEqual([...ordered], expected)
    }),
  )
})
