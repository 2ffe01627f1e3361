import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryReader } from '../../../test/embedded/memory-reader.ts'
import { seededRandom } from '../../lib/random.ts'
import { Vocabulary, walk } from './vocabulary.ts'

/** Optimal string alignment, written down as its definition. */
function distance(left: string, right: string): number {
  const rows = Array.from({ length: left.length + 1 }, () => new Array<number>(right.length + 1).fill(0))
  for (let i = 0; i <= left.length; i += 1) {
    for (let j = 0; j <= right.length; j += 1) {
      if (i === 0 || j === 0) {
        rows[i]![j] = i + j
        continue
      }
      const swap = i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1]
      rows[i]![j] = Math.min(
        rows[i - 1]![j]! + 1,
        rows[i]![j - 1]! + 1,
        rows[i - 1]![j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1),
        swap ? rows[i - 2]![j - 2]! + 1 : Number.POSITIVE_INFINITY,
      )
    }
  }
  return rows[left.length]![right.length]!
}

/** Settled by the first beginning of the candidate that is as near to the whole word as to any part of it. */
function prefixDistance(word: string, candidate: string, max: number): number {
  for (let length = 0; length <= candidate.length; length += 1) {
    const begun = candidate.slice(0, length)
    const parts = Array.from({ length: word.length + 1 }, (_, part) => distance(begun, word.slice(0, part)))
    const whole = distance(begun, word)
    if (Math.min(...parts) > max) return whole
    if (whole <= max && whole === Math.min(...parts)) return whole
  }
  return distance(candidate, word)
}

test('the walk finds every word within reach, in order, and no other', () => {
  const seed = 11
  const random = seededRandom(seed)
  const word = (longest: number) =>
    Array.from({ length: 1 + random.integer(longest) }, () => 'abc'[random.integer(3)]).join('')
  for (let round = 0; round < 60; round += 1) {
    const words = [...new Set(Array.from({ length: 120 }, () => word(7)))].sort()
    const typed = word(6)
    for (const max of [1, 2]) {
      for (const isPrefix of [false, true]) {
        const found: [string, number][] = []
        walk(words, typed, max, isPrefix, (candidate, typos) => {
          found.push([candidate, typos])
          return true
        })
        const expected = words
          .map((candidate): [string, number] => [
            candidate,
            isPrefix ? prefixDistance(typed, candidate, max) : distance(typed, candidate),
          ])
          .filter(([, typos]) => typos <= max)
        assert.deepEqual(found, expected, `seed ${seed}, round ${round}, ${typed}`)
      }
    }
  }
})

test('another first letter counts as two typos', () => {
  const reader = new MemoryReader([{ id: 1, t: 'xonderful wxnderful wonderful onderful owinderful' }])
  const { one, two } = new Vocabulary().likeByTwo(reader, 'wonderful', false)
  assert.deepEqual(one, ['wxnderful'])
  assert.deepEqual(two, ['onderful', 'xonderful'])
})

test('no more than 150 words are one typo away', () => {
  const letters = 'abcdefghijklmnopqrstuvwxyz'
  const many = [...letters].flatMap((letter) =>
    [0, 1, 2, 3, 4, 5, 6].map((at) => `planets`.slice(0, at + 1) + letter + `planets`.slice(at + 1)),
  )
  const reader = new MemoryReader([{ id: 1, t: many.join(' ') }])
  assert.equal(new Vocabulary().likeByOne(reader, 'planets', false).length, 150)
})

test('a vocabulary that follows the words that come and go answers as one that reads all of them', () => {
  const seed = 17
  const random = seededRandom(seed)
  // With characters whose order differs in UTF-8 and UTF-16.
  const letters = ['a', 'b', 'c', '\u{fb01}', '\u{1f600}']
  const word = () =>
    Array.from({ length: 1 + random.integer(6) }, () => letters[random.integer(letters.length)]).join('')
  const readerOf = (words: ReadonlySet<string>) => new MemoryReader([{ id: 1, t: [...words].join(' ') }])
  const vocabularyIn = (reader: MemoryReader) => new Set(reader.words(''))
  const words = new Set(Array.from({ length: 200 }, word))
  const kept = new Vocabulary()
  let before = vocabularyIn(readerOf(words))
  for (let round = 0; round < 60; round += 1) {
    for (const typed of Array.from({ length: 20 }, word)) {
      const reader = readerOf(words)
      const fresh = new Vocabulary()
      for (const isPrefix of [false, true]) {
        const what = `seed ${seed}, round ${round}, ${typed}`
        assert.deepEqual(kept.likeByOne(reader, typed, isPrefix), fresh.likeByOne(reader, typed, isPrefix), what)
        assert.deepEqual(kept.likeByTwo(reader, typed, isPrefix), fresh.likeByTwo(reader, typed, isPrefix), what)
      }
      assert.equal(kept.has(reader, typed), new Vocabulary().has(reader, typed))
    }
    for (let count = random.integer(5); count > 0; count -= 1) words.add(word())
    for (const one of words) if (random.float() < 0.02) words.delete(one)
    const after = vocabularyIn(readerOf(words))
    const changes = new Map([...after].filter((one) => !before.has(one)).map((one): [string, boolean] => [one, true]))
    for (const one of before) if (!after.has(one)) changes.set(one, false)
    kept.follow(readerOf(words), changes)
    before = after
  }
})
