import assert from 'node:assert/strict'
import { test } from 'node:test'
import { shardClause } from './shard-clause.ts'

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at)

test('a leg names its shards, unless its node holds no others', () => {
  assert.equal(shardClause({ shards: [0, 9], isWhole: false }, 16), '_miroir_shard IN ["!!!!", "!!%%"]')
  assert.equal(shardClause({ shards: [0, 9], isWhole: true }, 16), null)
  assert.equal(shardClause({ shards: range(0, 16), isWhole: false }, 16), null)
})

test('many shards are named by those that are left out', () => {
  assert.equal(shardClause({ shards: range(0, 63), isWhole: false }, 64), '_miroir_shard NOT IN ["!!??"]')
  assert.match(String(shardClause({ shards: range(0, 31), isWhole: false }, 64)), /^_miroir_shard IN /)
})
