/** The published fixtures of C-02: whoever computes placements outside finds the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { xxh64 } from '../lib/xxh64.ts'
import { canonicalKey, keyHash, ownersOf, shardOfKey, shardScore } from './rendezvous.ts'

const threeNodes = ['meili-0', 'meili-1', 'meili-2']
const shardsUpTo = (count: number) => Array.from({ length: count }, (_, shard) => shard)
/** Owners by the last character of their ids. */
const owners = (shard: number, members: readonly string[], copies: number) =>
  ownersOf(shard, members, copies)
    .map((node) => node.at(-1))
    .join('')
const counts = (members: readonly string[], shards: number) => {
  const owned = shardsUpTo(shards).map((shard) => ownersOf(shard, members, 1)[0])
  return members.map((node) => owned.filter((owner) => owner === node).length).sort((a, b) => b - a)
}

test('documents go to the published shards', () => {
  assert.equal(xxh64(new Uint8Array()), 0xef46db3751d8e999n)
  const fixtures: readonly (readonly [string, bigint, readonly (readonly [number, number])[]])[] = [
    ['user:12345', 0x432540795fb541cfn, [[64, 15]]],
    ['product:abc', 0xcff49e817839ec58n, [[64, 24]]],
    ['order:99999', 0x3b02f5b214437704n, [[64, 4]]],
    ['test', 0x2e9144fe90d9fddan, [[16, 10]]],
    ['hello', 0x1fd6badd7bf258a6n, [[32, 6]]],
    ['1', 0x13bbf5d430c49824n, [[64, 36]]],
    [
      '42',
      0xb6cf972c370e5475n,
      [
        [64, 53],
        [128, 117],
      ],
    ],
    [
      'sku_123',
      0xc6bdc7cc14b542fen,
      [
        [64, 62],
        [128, 126],
      ],
    ],
    ['é', 0x5cba9507552b5626n, [[64, 38]]],
    [
      'a'.repeat(40),
      0xf037138ffdd800can,
      [
        [64, 10],
        [128, 74],
      ],
    ],
  ]
  for (const [key, hash, places] of fixtures) {
    assert.equal(keyHash(key), hash, key)
    for (const [shards, shard] of places) assert.equal(shardOfKey(key, shards), shard, `${key} of ${shards}`)
  }
})

test('any number of shards takes the remainder of the whole hash', () => {
  const random = ['', 'x', 'a-much-longer-key_'.repeat(20), '漢字', ...shardsUpTo(200).map((n) => `doc-${n * 7919}`)]
  for (const key of random) {
    for (const shards of [1, 2, 3, 7, 48, 480, 4096]) {
      assert.equal(BigInt(shardOfKey(key, shards)), keyHash(key) % BigInt(shards), `${key} of ${shards}`)
    }
  }
  assert.throws(() => shardOfKey('1', 0), /0 shards/)
})

test('nodes score as published', () => {
  assert.equal(shardScore(0, 'meili-0'), 0xb0add2a1eb6a95ffn)
  assert.equal(shardScore(0, 'meili-1'), 0xf53608266d35162dn)
  assert.equal(shardScore(0, 'meili-2'), 0xaa7521bae8bfdf94n)
  assert.equal(shardScore(42, 'meili-0'), 0x0ca07a72647dfe62n)
  assert.equal(shardScore(42, 'meili-1'), 0xc077eb60808bcab0n)
  assert.equal(shardScore(42, 'node1'), 0xe3b9e24566f30686n)
})

test('shards have the published owners', () => {
  const one = shardsUpTo(16).map((shard) => owners(shard, threeNodes, 1))
  assert.equal(one.join(' '), '1 1 2 0 2 0 0 1 2 2 0 1 0 0 0 0')
  const two = shardsUpTo(16).map((shard) => owners(shard, threeNodes, 2))
  assert.equal(two.join(' '), '10 12 20 01 21 01 01 12 21 21 02 10 02 02 01 02')
  assert.deepEqual(counts(threeNodes, 64), [25, 22, 17])
  assert.deepEqual(counts(['node1', 'node2', 'node3'], 64), [27, 22, 15])
})

test('a batch is divided as published (C-07)', () => {
  const batch = ['user:12345', 'product:abc', 'order:99999', '42']
  assert.deepEqual(
    batch.map((key) => shardOfKey(key, 16)),
    [15, 8, 4, 5],
  )
  const held = (node: string) => batch.filter((key) => ownersOf(shardOfKey(key, 16), threeNodes, 2).includes(node))
  assert.deepEqual(threeNodes.map(held), [
    ['user:12345', '42'],
    ['product:abc', 'order:99999', '42'],
    ['user:12345', 'product:abc', 'order:99999'],
  ])
})

test('a fourth node takes exactly the shards that it wins', () => {
  const fourNodes = [...threeNodes, 'meili-3']
  const moved = shardsUpTo(64).filter((shard) => ownersOf(shard, threeNodes, 1)[0] !== ownersOf(shard, fourNodes, 1)[0])
  assert.equal(moved.length, 22)
  for (const shard of moved) assert.equal(ownersOf(shard, fourNodes, 1)[0], 'meili-3')
})

test('owners are the same every time, in whatever order the nodes are named', () => {
  const first = shardsUpTo(64).map((shard) => owners(shard, threeNodes, 2))
  for (let round = 0; round < 1000; round += 1) {
    const members = round % 2 === 0 ? threeNodes : [...threeNodes].reverse()
    assert.deepEqual(
      shardsUpTo(64).map((shard) => owners(shard, members, 2)),
      first,
    )
  }
})

test('a whole number and its text are the same key, and fractions are none', () => {
  assert.equal(canonicalKey(42), canonicalKey('42'))
  assert.equal(canonicalKey(-5), '-5')
  assert.equal(canonicalKey(18446744073709551615n), '18446744073709551615')
  for (const wrong of [1.5, -0, Number.NaN, 2 ** 60]) assert.equal(canonicalKey(wrong), undefined)
})
