import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PlacementState } from '../../store/catalogue.ts'
import type { Replica } from './move-context.ts'
import { pairsOf } from './verification.ts'

function replica(node: string, shards: readonly number[], state: PlacementState = 'active'): Replica {
  const usual = {
    index: 'i',
    generation: 1,
    physicalUid: node,
    applied: 1,
    revision: 0,
    pendingBytes: 0,
    diskEpoch: 1,
    diskMarker: null,
    proof: null,
  }
  return { ...usual, node, shards, state }
}

const named = (replicas: readonly Replica[]) => pairsOf(replicas).map(([a, b, shards]) => [a.node, b.node, ...shards])

test('every shard of every replica is compared with the first that is read', () => {
  assert.deepEqual(named([replica('a', [0, 1]), replica('b', [1, 2]), replica('c', [0, 2])]), [
    ['a', 'b', 1],
    ['a', 'c', 0],
    ['b', 'c', 2],
  ])
})

test('what is kept back is compared, what is being filled is not, and one replica stands alone', () => {
  assert.deepEqual(named([replica('a', [0], 'standby'), replica('b', [0])]), [['b', 'a', 0]])
  assert.deepEqual(named([replica('a', [0], 'filling'), replica('b', [0])]), [])
  assert.deepEqual(named([replica('b', [0])]), [])
})
