/**
 * Single functions that stand in the way of every request: the median of many rounds of each in this process, warm. Each has a
 * limit that it is to stay under; it is shown beside, never enforced, as machines differ.
 */
import { sequenceText } from '../src/api/reserved-fields.ts'
import { splitItems } from '../src/lib/json-cut.ts'
import { seededRandom } from '../src/lib/random.ts'
import { type Hit, readHit } from '../src/search/hit.ts'
import { compareHits, mergeLists } from '../src/search/merge-order.ts'
import { ownersOf, shardOfKey } from '../src/topology/rendezvous.ts'
import { coverShards } from '../src/upstream/covering-set.ts'

export interface MicroCase {
  readonly name: string
  /** C-62. */
  readonly limitMs: number
  /** Does the whole work once. What it answers keeps it from being left out. */
  readonly run: () => unknown
}

const rounds = 100
const warmingRounds = 30

/** Add a line for yours. */
const cases: readonly (() => MicroCase)[] = [rendezvous, coveringSet, merge, mergedAnswer]

/** Shards and owners of 10,000 documents over 64 shards on 3 nodes with 2 copies. */
function rendezvous(): MicroCase {
  const keys = Array.from({ length: 10_000 }, (_, place) => `product-${place * 7919}`)
  const members = ['node-1', 'node-2', 'node-3']
  const run = () => {
    let owned = 0
    for (const key of keys) owned += ownersOf(shardOfKey(key, 64), members, 2).length
    return owned
  }
  return { name: 'owners of 10,000 documents, 64 shards over 3 nodes', limitMs: 1, run }
}

/** Who answers a read of 64 shards over 6 nodes with 2 copies, a thousand times. */
function coveringSet(): MicroCase {
  const members = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6']
  const shards = Array.from({ length: 64 }, (_, shard) => shard)
  const replicas = members.map((node) => ({
    node,
    group: 0,
    shards: shards.filter((shard) => ownersOf(shard, members, 2).includes(node)),
    physicalUid: 'index',
  }))
  const run = () => {
    let legCount = 0
    for (let turn = 0; turn < 1_000; turn += 1) {
      legCount += coverShards(replicas, shards, { turn, standing: () => 'good', cost: () => 1 }).legs.length
    }
    return legCount
  }
  return { name: 'replicas for 1,000 reads, 64 shards over 6 nodes', limitMs: 50, run }
}

/** The first 1,000 hits of 3 legs that give 1,000 each. */
function merge(): MicroCase {
  const lists = [1, 2, 3].map((leg) => hitsOf(legHits(leg, 1_000), String(leg)))
  const run = () => mergeLists(lists, compareHits, 1_000).length
  return { name: 'merge of 1,000 hits from 3 legs', limitMs: 1, run }
}

/** Hits of 4 legs of 20, cut out of their text, compared and put in order. */
function mergedAnswer(): MicroCase {
  const texts = [1, 2, 3, 4].map((leg) => legHits(leg, 20))
  const run = () =>
    mergeLists(
      texts.map((text, leg) => hitsOf(text, String(leg))),
      compareHits,
      20,
    ).length
  return { name: 'the text of 20 hits from 4 legs read and merged', limitMs: 1, run }
}

const hitsOf = (list: string, leg: string): Hit[] => splitItems(list).map((text) => readHit(text, leg))

/** JSON of a leg's hits, best first, as nodes with details write them. */
function legHits(leg: number, count: number): string {
  const random = seededRandom(leg)
  const hits = Array.from({ length: count }, (_, at) => {
    const typos = Math.floor((3 * at) / count)
    return JSON.stringify({
      id: leg * 10_000 + at,
      title: `product ${random.integer(1_000_000)} of leg ${leg}`,
      _rankingScore: 1 - at / count,
      _rankingScoreDetails: {
        words: { order: 0, matchingWords: 2, maxMatchingWords: 2, score: 1 },
        typo: { order: 1, typoCount: typos, maxTypoCount: 3, score: (4 - typos) / 4 },
        proximity: { order: 2, score: 0.75 },
        attributeRank: { order: 3, score: 1 },
        wordPosition: { order: 4, score: 0.95 },
        exactness: { order: 5, matchType: 'noExactMatch', matchingWords: 1, maxMatchingWords: 2, score: 0.22 },
        '_miroir_seq:asc': { order: 6, value: sequenceText(1, 4 * at + leg) },
      },
    })
  })
  return `[${hits.join(',')}]`
}

export function benchMicro(say: (line: string) => void): readonly unknown[] {
  return cases.map((make) => {
    const { name, limitMs, run } = make()
    for (let round = 0; round < warmingRounds; round += 1) run()
    const tookMs = Array.from({ length: rounds }, () => {
      const startedAt = performance.now()
      run()
      return performance.now() - startedAt
    }).sort((a, b) => a - b)
    const medianMs = tookMs[rounds / 2] ?? 0
    say(`${name}: ${medianMs.toFixed(3)} ms (at most ${limitMs} ms)`)
    return { name, medianMs, fastestMs: tookMs[0], limitMs }
  })
}
