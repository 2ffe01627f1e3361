import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Place, Replica } from '../moves/move-context.ts'
import { layersOf } from './generation-side.ts'

function place(node: string, shards: readonly number[]): Pick<Place, 'replica'> {
  const replica: Replica = {
    ...{ index: 'i', generation: 1, node, physicalUid: node, shards, state: 'active', applied: 1, revision: 0 },
    ...{ pendingBytes: 0, diskEpoch: 1, diskMarker: null, proof: null },
  }
  return { replica }
}

const three = { shards: 3, replicationFactor: 2, exactTies: true }
const named = (...places: readonly Pick<Place, 'replica'>[]) =>
  layersOf(three, places).map((layer) => layer.map((leg) => [leg.place.replica.node, ...leg.shards]))

test('every copy of every shard stands in some layer, and each layer holds every shard once', () => {
  assert.deepEqual(named(place('a', [0, 1]), place('b', [1, 2]), place('c', [0, 2])), [
    [
      ['a', 0, 1],
      ['b', 2],
    ],
    [
      ['c', 0, 2],
      ['b', 1],
    ],
  ])
  assert.deepEqual(named(place('a', [0, 1, 2])), [[['a', 0, 1, 2]]])
  assert.deepEqual(named(place('a', [0, 1])), [])
})
