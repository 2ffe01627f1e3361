import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bitmap } from '../../lib/bitmap.ts'
import { seededRandom } from '../../lib/random.ts'
import { byCount, type PlacedCount } from './facet-ties.ts'

interface Entry {
  readonly count: number
  readonly level: number
  /** Of its first value. */
  readonly place: number
}

/** The tree as it is built, and the walk over it with the greatest entry first. */
function byWalking(docids: readonly Bitmap[], candidates: Bitmap): readonly number[] {
  const levels: Bitmap[][] = [[...docids]]
  const isWhole = docids.length >= 1000
  for (let size = docids.length; size / 4 >= 5 && (isWhole || levels.length < 2); size = levels.at(-1)!.length) {
    const below = levels.at(-1)!
    levels.push(Array.from({ length: Math.ceil(size / 4) }, (_, at) => Bitmap.union(below.slice(at * 4, at * 4 + 4))))
  }
  const open: Entry[] = []
  const add = (level: number, from: number, to: number) => {
    for (const [at, found] of levels[level]!.slice(from, to).entries()) {
      const count = found.andSize(candidates)
      if (count > 0) open.push({ count, level, place: from + at })
    }
  }
  add(levels.length - 1, 0, Number.POSITIVE_INFINITY)
  const places: number[] = []
  for (;;) {
    open.sort((a, b) => b.count - a.count || a.level - b.level || b.place - a.place)
    const next = open.shift()
    if (next === undefined) return places
    if (next.level === 0) places.push(next.place)
    else add(next.level - 1, next.place * 4, next.place * 4 + 4)
  }
}

test('values of equal counts stand in the order of a walk over the tree of values', () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = seededRandom(seed)
    const total = seed % 8 === 0 ? 1000 + random.integer(200) : 1 + random.integer(60)
    const documents = 5 + random.integer(seed % 8 === 0 ? 400 : 60)
    const docids = Array.from({ length: total }, () =>
      Bitmap.of(...Array.from({ length: 1 + random.integer(3) }, () => random.integer(documents))),
    )
    const candidates = Bitmap.of(...Array.from({ length: documents }, (_, id) => id).filter(() => random.float() < 0.4))
    const values = docids.flatMap((found, place): PlacedCount[] => {
      const count = found.andSize(candidates)
      return count === 0 ? [] : [{ place, count, docids: found }]
    })
    const expected = byWalking(docids, candidates)
    for (const max of [3, total]) {
      const places = byCount(values, total, candidates, max).map(({ place }) => place)
      assert.deepEqual(places, expected.slice(0, max), `seed ${seed}, the first ${max} of ${total}`)
    }
  }
})
