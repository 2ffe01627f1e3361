import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readHit } from './hit.ts'
import { withCommonTypoCounts } from './typo-counts.ts'

const hit = (id: number, words: number, typos: number, max: number, score: number) =>
  readHit(
    `{"id":${id},"_rankingScore":${score},"_rankingScoreDetails":${JSON.stringify({
      words: { order: 0, matchingWords: words, maxMatchingWords: 2, score: words / 2 },
      typo: { order: 1, typoCount: typos, maxTypoCount: max, score: (max + 1 - typos) / (max + 1) },
      exactness: { order: 2, matchType: 'noExactMatch', matchingWords: 0, maxMatchingWords: 2, score: 1 / 9 },
    })}}`,
    'node',
  )

// A shard that knows the two words as one allows a typo more: a hit of one node with both shards says 3 for all.
test('hits of all shards show the typos that one node would allow, and the score that follows', () => {
  // Folded as an engine does: words 2 of 2, then typo, then exactness 1 of 9.
  const fold = (max: number, typos: number) =>
    ((2 - 1) * (max + 1) * 9 + (max + 1 - typos - 1) * 9 + 1) / (2 * (max + 1) * 9)
  const [[first], [second]] = withCommonTypoCounts([[hit(1, 2, 1, 2, fold(2, 1))], [hit(2, 2, 1, 3, fold(3, 1))]]) as [
    [ReturnType<typeof hit>],
    [ReturnType<typeof hit>],
  ]
  assert.equal(first.details[1]?.fields.maxTypoCount, 3)
  assert.equal(first.details[1]?.fields.score, 0.75)
  assert.ok(Math.abs(first.score - fold(3, 1)) < 1e-12)
  assert.equal(first.scoreText, null)
  assert.equal(second.scoreText, String(fold(3, 1)))
})

test('hits that other rules told apart before keep their own number', () => {
  const lists = withCommonTypoCounts([[hit(1, 2, 0, 2, 0.9)], [hit(2, 1, 0, 1, 0.4)]])
  assert.deepEqual(
    lists.flat().map(({ details }) => details[1]?.fields.maxTypoCount),
    [2, 1],
  )
})
