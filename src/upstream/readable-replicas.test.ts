import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Node, Placement } from '../store/catalogue.ts'
import { readableReplicas, replicasAbove, settingsFloor } from './readable-replicas.ts'

function placement(node: string, more: Partial<Placement> = {}): Placement {
  const usual = { index: 'i', generation: 1, shards: [0], physicalUid: `x-${node}`, applied: 5, revision: 0 } as const
  return { ...usual, node, state: 'active', ...more }
}

const nodes: Readonly<Record<string, Pick<Node, 'group' | 'state'>>> = {
  a: { group: 0, state: 'active' },
  b: { group: 1, state: 'draining' },
  c: { group: 0, state: 'lost' },
}

test('replicas are read that hold what is completed, on nodes that are there', () => {
  const found = readableReplicas(
    [
      placement('b', { state: 'draining' }),
      placement('a'),
      placement('c'),
      placement('gone'),
      placement('a', { state: 'filling', physicalUid: 'new' }),
    ],
    (id) => nodes[id],
  )
  assert.deepEqual(found, [
    { node: 'a', group: 0, shards: [0], physicalUid: 'x-a', applied: 5 },
    { node: 'b', group: 1, shards: [0], physicalUid: 'x-b', applied: 5 },
  ])
})

test('a read never mixes generations', () => {
  const found = readableReplicas([placement('a'), placement('b', { generation: 2 })], (id) => nodes[id])
  assert.deepEqual(
    found.map(({ node }) => node),
    ['b'],
  )
  assert.deepEqual(
    readableReplicas([], () => undefined),
    [],
  )
})

test('a floor of settings leaves out replicas that are behind it, and a malformed one is ignored', () => {
  const replicas = readableReplicas([placement('a', { applied: 4 }), placement('b')], (id) => nodes[id])
  const above = (header: string | undefined, position = 0) =>
    replicasAbove(replicas, settingsFloor(header), position).map(({ node }) => node)
  assert.deepEqual(above('5'), ['b'])
  assert.deepEqual(above('5', 5), ['a', 'b'])
  assert.deepEqual(above('18446744073709551615', 5), [])
  for (const header of [undefined, '', '-1', '1.5', 'x', '0']) assert.deepEqual(above(header), ['a', 'b'], header)
})
