/**
 * Which shard a document belongs to, and which nodes own a shard (C-02, C-03). Pure: the same input gives the same answer in
 * every process and release, as documents that lie on disks depend on it.
 */
import { assert } from '../lib/assert.ts'
import { xxh64 } from '../lib/xxh64.ts'
import type { NodeId } from '../store/catalogue.ts'

/** Ends every hashed text. It is part of no UTF-8 text. */
const endByte = 0xff

const encoder = new TextEncoder()
/** Holds any id of a document (M-E3) in one go. */
let scratch = new Uint8Array(2048)

/** Writes `text` from `offset` on, and the end byte: the bytes from 0 to its end. They last until the next call. */
function scratchBytes(text: string, offset: number): Uint8Array {
  const length = offset + 3 * text.length + 1
  if (scratch.length < length) {
    const larger = new Uint8Array(2 * length)
    larger.set(scratch)
    scratch = larger
  }
  const end = offset + encoder.encodeInto(text, scratch.subarray(offset)).written
  scratch[end] = endByte
  return scratch.subarray(0, end + 1)
}

/**
 * The text by which a document's id is hashed: `1` and `"1"` are the same document. `undefined` for what is no id.
 *
 * @param id  whole numbers beyond 2⁵³ as a `bigint` of their digits: a `number` has lost some of them.
 */
export function canonicalKey(id: string | number | bigint): string | undefined {
  if (typeof id !== 'number') return String(id)
  return Number.isSafeInteger(id) && !Object.is(id, -0) ? String(id) : undefined
}

/** XXH64 of a canonical key. */
export function keyHash(key: string): bigint {
  return xxh64(scratchBytes(key, 0))
}

/**
 * The shard of a document.
 *
 * @param key     its canonical primary key.
 * @param shards  how many the index has, from 1.
 */
export function shardOfKey(key: string, shards: number): number {
  assert(Number.isInteger(shards) && shards >= 1, `${shards} shards`)
  return Number(keyHash(key) % BigInt(shards))
}

/** How much a node wants a shard: an unsigned 64-bit number. */
export function shardScore(shard: number, node: NodeId): bigint {
  const bytes = scratchBytes(node, 4)
  new DataView(bytes.buffer).setUint32(0, shard, true)
  return xxh64(bytes)
}

/** Every member, the best owner of a shard first; by lists of members, which never change. */
const rankings = new WeakMap<readonly NodeId[], Map<number, readonly NodeId[]>>()

/**
 * The nodes of one replica group that hold a shard, the best first: all of them when there are fewer than the copies.
 * Scoped to a group, as a ranking over all nodes could leave a group without the shard.
 *
 * @param members  ids of the group's nodes, in any order. What was found is kept for as long as this list lives: do not
 *                 change it afterwards.
 * @param replicationFactor  copies in the group, from 1.
 * @see Thaler and Ravishankar, Using name-based mappings to increase hit rates, 1998.
 */
export function ownersOf(shard: number, members: readonly NodeId[], replicationFactor: number): readonly NodeId[] {
  assert(Number.isInteger(replicationFactor) && replicationFactor >= 1, `replication factor ${replicationFactor}`)
  const known = rankings.get(members) ?? new Map<number, readonly NodeId[]>()
  const ranking = known.get(shard) ?? rank(shard, members)
  rankings.set(members, known.set(shard, ranking))
  return replicationFactor >= ranking.length ? ranking : ranking.slice(0, replicationFactor)
}

function rank(shard: number, members: readonly NodeId[]): readonly NodeId[] {
  return members
    .map((node) => ({ node, score: shardScore(shard, node) }))
    .sort((a, b) => (a.score === b.score ? compareIds(a.node, b.node) : a.score > b.score ? -1 : 1))
    .map(({ node }) => node)
}

/** By bytes. */
export function compareIds(a: NodeId, b: NodeId): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
