import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Node } from '../store/catalogue.ts'
import { type Leaver, planDrain } from './drain-plan.ts'

function node(id: string, more: Partial<Node> = {}): Node {
  const usual = {
    engine: 'embedded',
    url: '',
    region: 'eu',
    group: 0,
    capacity: null,
    state: 'active',
    key: null,
  } as const
  return { id, ...usual, ...more }
}

function leaver(index: string, more: Partial<Leaver> = {}): Leaver {
  return { index, uid: index, project: 'p', spread: null, node: 'a', holders: ['a'], ...more }
}

const spread = { shards: 4, replicationFactor: 1, exactTies: true }

test('indexes go where the fewest are, and each counts at once', () => {
  const nodes = [node('a', { state: 'draining' }), node('b'), node('c')]
  const { orders, stuck } = planDrain(
    ['1', '2', '3', '4'].map((id) => leaver(id)),
    nodes,
    new Map([
      ['b', 2],
      ['c', 0],
    ]),
  )
  assert.deepEqual(
    orders.map(({ target }) => target),
    ['c', 'c', 'b', 'c'],
  )
  assert.deepEqual(stuck, [])
})

test('a replica stays in its region, its kind of engine and its group, and is never put beside another of its index', () => {
  const nodes = [
    node('a', { state: 'draining' }),
    node('far', { region: 'us' }),
    node('other', { engine: 'meilisearch' }),
    node('leaves', { state: 'draining' }),
    node('b', { group: 1 }),
  ]
  const plan = planDrain([leaver('plain'), leaver('wide', { spread })], nodes, new Map())
  assert.deepEqual(
    plan.orders.map((order) => [order.leaver.index, order.target]),
    [['plain', 'b']],
  )
  assert.match(plan.stuck[0]?.reason ?? '', /no other active embedded node is in replica group 0/)
  const held = planDrain([leaver('wide', { spread, holders: ['a', 'c'] })], [...nodes, node('c')], new Map())
  assert.match(held.stuck[0]?.reason ?? '', /holds a replica of it already/)
})
