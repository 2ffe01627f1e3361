/**
 * Single functions that stand in the way of every request: the median of many rounds of each in this process, warm. Each has a
 * limit that it is to stay under; it is shown beside, never enforced, as machines differ.
 */
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
const cases: readonly (() => MicroCase)[] = [rendezvous, coveringSet]

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
