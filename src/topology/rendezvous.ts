/**
 * Which shard a document belongs to, and which nodes own a shard (C-02, C-03). Pure: the same input gives the same answer in
 * every process and release, as documents that lie on disks depend on it.
 */
import { AssertionError, assert } from '../lib/assert.ts'
import { shortBytesMax, shortXxh64 } from '../lib/short-xxh64.ts'
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

/** XXH64 of a canonical key and the end byte: what its shard is taken from. */
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
  if (!Number.isInteger(shards) || shards < 1) throw new AssertionError(`${shards} shards`)
  const length = shards <= shortDivisorMax ? shortBytes(key) : undefined
  if (length === undefined) return Number(keyHash(key) % BigInt(shards))
  shortXxh64(shortScratch, length, digest)
  const low = digest[0]!
  if ((shards & (shards - 1)) === 0) return low & (shards - 1)
  // Every step stays below 2³², and says so, as remainders of other numbers are ten times slower.
  const divisor = shards >>> 0
  const fold = ((0xffffffff % divisor) + 1) >>> 0
  const high = Math.imul((digest[1]! >>> 0) % divisor, fold) >>> 0
  return ((high + ((low >>> 0) % divisor)) >>> 0) % divisor
}

const digest = new Int32Array(2)
const shortScratch = new Uint8Array(shortBytesMax)
/** Its square is below 2³¹. */
const shortDivisorMax = 2 ** 15

/** Writes a short key of ASCII alone and the end byte to `shortScratch`, as almost every key is: their length, else `undefined`. */
function shortBytes(key: string): number | undefined {
  const { length } = key
  if (length >= shortBytesMax) return undefined
  let seen = 0
  for (let at = 0; at < length; at += 1) {
    const code = key.charCodeAt(at)
    seen |= code
    shortScratch[at] = code
  }
  if (seen > 0x7f) return undefined
  shortScratch[length] = endByte
  return length + 1
}

/** How much a node wants a shard: an unsigned 64-bit number. */
export function shardScore(shard: number, node: NodeId): bigint {
  const bytes = scratchBytes(node, 4)
  new DataView(bytes.buffer).setUint32(0, shard, true)
  return xxh64(bytes)
}

/** Owners by replication factor and shard, by lists of members, which never change. */
const owners = new WeakMap<readonly NodeId[], (readonly NodeId[])[][]>()

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
  return owners.get(members)?.[replicationFactor]?.[shard] ?? findOwners(shard, members, replicationFactor)
}

function findOwners(shard: number, members: readonly NodeId[], replicationFactor: number): readonly NodeId[] {
  assert(Number.isInteger(replicationFactor) && replicationFactor >= 1, `replication factor ${replicationFactor}`)
  assert(Number.isInteger(shard) && shard >= 0, `shard ${shard}`)
  const known = owners.get(members) ?? []
  const byShard = known[replicationFactor] ?? []
  const found = rank(shard, members).slice(0, replicationFactor)
  byShard[shard] = found
  known[replicationFactor] = byShard
  owners.set(members, known)
  return found
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
