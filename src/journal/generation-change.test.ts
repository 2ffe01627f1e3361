import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Spread } from '../store/catalogue.ts'
import { addedGeneration, forgottenGeneration, readGeneration } from './generation-change.ts'
import type { ReplicaStanding } from './write-index.ts'

const three: Spread = { shards: 3, replicationFactor: 1, exactTies: true }
const four: Spread = { ...three, shards: 4 }

function replica(generation: number, shards: readonly number[], more: Partial<ReplicaStanding> = {}): ReplicaStanding {
  const usual = { group: 0, isLive: true, applied: 7, revision: 0, turn: null, state: 'active' as const }
  return {
    ...usual,
    node: 'n0',
    physicalUid: `g${generation}`,
    generation,
    isCurrent: generation === 1,
    shards,
    ...more,
  }
}

const state = (...others: readonly ReplicaStanding[]) => ({
  generation: 1,
  spread: three,
  beside: { number: 2, spread: four },
  replicas: [replica(1, [0, 1, 2]), ...others],
})

test('a generation is read when every replica of it could be, and together they hold every shard', () => {
  const next = readGeneration(state(replica(2, [0, 1]), replica(2, [2, 3])), 2)
  assert.ok(typeof next === 'object')
  assert.deepEqual([next.generation, next.spread, next.beside], [2, four, { number: 1, spread: three }])
  assert.deepEqual(
    next.replicas.map(({ isCurrent }) => isCurrent),
    [false, true, true],
  )
})

test('the generation that is read stays while the other one is not whole, is filled, or takes settings', () => {
  assert.equal(readGeneration(state(replica(2, [0, 1])), 2), 'needed')
  assert.equal(readGeneration(state(replica(2, [0, 1]), replica(2, [2, 3], { state: 'joining' })), 2), 'needed')
  const turn = { position: 7, role: 'late', ageMs: 0 } as const
  assert.equal(readGeneration(state(replica(2, [0, 1, 2, 3], { turn })), 2), 'needed')
  assert.equal(readGeneration(state(), 3), 'unsuited')
  assert.equal(readGeneration(state(), 1), 'done')
})

test('a number is never used twice, and a second generation waits until the first is forgotten', () => {
  const rooms = [{ id: 'n0', group: 0, load: 0 }]
  const alone = { ...state(), beside: null }
  assert.deepEqual(addedGeneration(alone, four, rooms, 5), {
    number: 6,
    places: [{ node: 'n0', shards: [0, 1, 2, 3] }],
  })
  assert.equal(addedGeneration(alone, four, [], 5), 'needed')
  assert.equal(addedGeneration(state(), four, rooms, 2), 'done')
  assert.equal(addedGeneration({ ...state(), generation: 3 }, four, rooms, 3), 'unsuited')
  assert.equal(forgottenGeneration(state(replica(2, [0])), 2), 'needed')
  assert.equal(forgottenGeneration(state(), 2), 'now')
  assert.equal(forgottenGeneration(alone, 2), 'done')
})
