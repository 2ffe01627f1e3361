/** Spread indexes under simulated faults. */
import { test } from 'node:test'
import { simulateAll } from './seed-range.ts'

test('spread indexes: replicas hold what was acknowledged and reads see what is completed', () =>
  simulateAll(150, { isSpread: true, isCalm: true }, '--spread --calm'))

test('spread indexes: the same while nodes, gateways, workers, store and network fail', () =>
  simulateAll(450, { isSpread: true }, '--spread'))

test('replicas of spread indexes go from node to node while everything fails, and every answer is whole', () =>
  simulateAll(200, { isSpread: true, isMoving: true }, '--spread --moves'))

test('indexes come to lie over other numbers of shards while everything fails, and end whole in the old or the new ones', () =>
  simulateAll(120, { isMoving: true, isResharding: true }, '--moves --reshards'))
