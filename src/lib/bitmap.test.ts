import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Bitmap } from './bitmap.ts'
import { BitmapUnion } from './bitmap-union.ts'

/** Sets that reach every form: sparse, dense, across chunks, near the borders of chunks and of 32 bits. */
const values = fc.oneof(
  fc.array(fc.nat({ max: 200_000 }), { maxLength: 300 }),
  fc.array(fc.nat({ max: 0xffffffff }), { maxLength: 80 }),
  fc
    .tuple(fc.nat({ max: 70_000 }), fc.integer({ min: 1, max: 9_000 }), fc.integer({ min: 1, max: 3 }))
    .map(([start, count, step]) => Array.from({ length: count }, (_, index) => start + index * step)),
  fc.constantFrom([0], [65_535, 65_536], [0xffffffff], []),
)
const sorted = (numbers: Iterable<number>) => [...new Set(numbers)].sort((a, b) => a - b)

test('set operations agree with sets of numbers', () => {
  fc.assert(
    fc.property(values, values, (left, right) => {
      const [a, b] = [Bitmap.from(left), Bitmap.from(right)]
      const [setA, setB] = [new Set(left), new Set(right)]
      const common = sorted(left.filter((value) => setB.has(value)))
      assert.deepEqual(a.and(b).toArray(), common)
      assert.deepEqual([...a.or(b)], sorted([...left, ...right]))
      assert.equal(a.minCommon(b), common[0])
      assert.deepEqual(a.withoutSubset(a.and(b)).toArray(), a.andNot(b).toArray())
      assert.deepEqual(a.andNot(b).toArray(), sorted(left.filter((value) => !setB.has(value))))
      assert.deepEqual(a.xor(b).toArray(), sorted([...left, ...right].filter((v) => setA.has(v) !== setB.has(v))))
      assert.equal(a.andSize(b), common.length)
      assert.equal(a.intersects(b), common.length > 0)
      assert.equal(a.equals(b), setA.size === setB.size && common.length === setA.size)
      assert.ok(a.equals(Bitmap.fromSorted(sorted(left))))
      assert.deepEqual(Bitmap.union([a, b, Bitmap.of(7), a]).toArray(), sorted([...left, ...right, 7]))
      assert.deepEqual([a.toArray(), b.toArray()], [sorted(left), sorted(right)])
    }),
    { numRuns: 150 },
  )
})

test('the union of written bitmaps is that of the bitmaps', () => {
  fc.assert(
    fc.property(fc.array(values, { maxLength: 6 }), (lists) => {
      const union = new BitmapUnion()
      for (const list of lists) union.add(Bitmap.from(list).serialize())
      assert.deepEqual(union.build().toArray(), sorted(lists.flat()))
    }),
    { numRuns: 60 },
  )
})

test('what was serialised reads back, from any address', () => {
  fc.assert(
    fc.property(values, fc.nat({ max: 3 }), (numbers, shift) => {
      const bytes = Bitmap.from(numbers).serialize()
      const moved = Buffer.alloc(bytes.length + shift)
      moved.set(bytes, shift)
      const read = Bitmap.deserialize(moved.subarray(shift))
      assert.deepEqual(read.toArray(), sorted(numbers))
      read.add(123_456)
      assert.ok(read.has(123_456))
      assert.deepEqual(Bitmap.deserialize(bytes).toArray(), sorted(numbers))
    }),
    { numRuns: 150 },
  )
})

test('adding and removing changes one bitmap and none that shares with it', () => {
  fc.assert(
    fc.property(
      values,
      fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 70_000 })), { maxLength: 60 }),
      (numbers, steps) => {
        const bitmap = Bitmap.from(numbers)
        const model = new Set(numbers)
        const [copy, joined] = [bitmap.clone(), bitmap.or(Bitmap.of(1))]
        for (const [isAdded, value] of steps) {
          if (isAdded) bitmap.add(value)
          else bitmap.remove(value)
          if (isAdded) model.add(value)
          else model.delete(value)
        }
        assert.deepEqual(bitmap.toArray(), sorted(model))
        assert.equal(bitmap.size, model.size)
        assert.deepEqual(copy.toArray(), sorted(numbers))
        assert.deepEqual(joined.toArray(), sorted([...numbers, 1]))
      },
    ),
    { numRuns: 150 },
  )
})

test('smallest, largest and rank agree with the sorted values', () => {
  fc.assert(
    fc.property(values, fc.nat({ max: 200_000 }), (numbers, at) => {
      const bitmap = Bitmap.from(numbers)
      const all = sorted(numbers)
      assert.equal(bitmap.min(), all[0])
      assert.equal(bitmap.max(), all.at(-1))
      assert.equal(bitmap.rank(at), all.filter((value) => value <= at).length)
      assert.equal(bitmap.has(at), all.includes(at))
      assert.equal(bitmap.isEmpty(), all.length === 0)
    }),
    { numRuns: 150 },
  )
})

test('ranges hold every value from the first to before the last', () => {
  for (const [from, to] of [
    [0, 0],
    [5, 6],
    [65_530, 65_540],
    [10, 200_000],
    [31, 5_000],
  ] as const) {
    const range = Bitmap.range(from, to)
    assert.equal(range.size, to - from)
    assert.deepEqual(
      range.toArray(),
      Array.from({ length: to - from }, (_, index) => from + index),
    )
  }
})

test('a list that grows at its end is written as if it had been written whole', () => {
  fc.assert(
    fc.property(values, fc.nat(100), (numbers, cut) => {
      const all = sorted(numbers)
      const before = all.slice(0, cut)
      const longer = Bitmap.appendToList(Bitmap.serializeSorted(before), all.slice(cut))
      if (longer !== undefined) assert.deepEqual(longer, Bitmap.serializeSorted(all))
      else assert.ok(all.length > 64 || cut >= all.length)
    }),
  )
  assert.equal(Bitmap.appendToList(Bitmap.serializeSorted([5, 9]), [9]), undefined)
})
