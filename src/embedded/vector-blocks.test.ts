import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Bitmap } from '../lib/bitmap.ts'
import { seededRandom } from '../lib/random.ts'
import { mainKeys, openIndexEnv, raiseRevision } from './index-env.ts'
import { LmdbIndexReader } from './lmdb-index-reader.ts'
import { nearest } from './search/vectors.ts'
import { VectorCache } from './vector-blocks.ts'
import { VectorTable } from './vector-table.ts'

const dimensions = 6
const embedder = { name: 'e', settings: { source: 'userProvided', dimensions } }
const docidMax = 5_000

type Vectors = ReadonlyMap<number, readonly (readonly number[])[]>

function neighbours(vectors: Vectors, target: readonly number[], universe: Bitmap) {
  const dot = (left: readonly number[], right: readonly number[]) =>
    left.reduce((sum, value, at) => sum + value * right[at]!, 0)
  const norm = (vector: readonly number[]) => Math.sqrt(dot(vector, vector))
  return [...vectors]
    .filter(([docid, rows]) => universe.has(docid) && rows.length > 0)
    .map(([docid, rows]) => {
      const all = rows.map((row) => (norm(row) === 0 ? 0.5 : (1 + dot(row, target) / (norm(target) * norm(row))) / 2))
      return { docid, similarity: Math.fround(Math.max(...all)) }
    })
    .sort((left, right) => right.similarity - left.similarity || left.docid - right.docid)
}

for (const [name, bytesMax] of [
  ['all of them fit', 2 ** 20],
  ['few of them fit', 40_000],
] as const) {
  test(`nearest vectors and their count stay true whatever changes, when ${name} into memory`, async () => {
    const seed = 7
    const random = seededRandom(seed)
    const folder = mkdtempSync(join(tmpdir(), 'flapjack-vectors-'))
    const env = openIndexEnv(folder, 'write')
    const cache = new VectorCache(bytesMax)
    const vectors = new Map<number, number[][]>()
    // Small whole numbers: sums are exact in any order, and some documents are equally near.
    const vector = () => [1, ...Array.from({ length: dimensions - 1 }, () => random.integer(7) - 3)]
    try {
      for (let round = 0; round < 12; round += 1) {
        env.root.transactionSync(() => {
          const table = new VectorTable(env, ['e'])
          if (round === 5) {
            table.clear()
            vectors.clear()
          }
          if (round === 8) {
            table.drop('e', vectors.keys())
            vectors.clear()
          }
          for (let change = 0; change < (round % 3 === 0 ? 800 : 5); change += 1) {
            const docid = random.integer(docidMax)
            if (random.integer(4) === 0) {
              table.deleteAll(docid)
              vectors.delete(docid)
              continue
            }
            const rows = Array.from({ length: random.integer(3) }, vector)
            table.put('e', docid, { vectors: rows, regenerate: false, isGenerated: false })
            vectors.set(docid, rows)
          }
          table.flush()
          raiseRevision(env)
        })
        env.root.resetReadTxn()
        const reader = new LmdbIndexReader(env, { vectorCache: cache })
        const some = Bitmap.from(Array.from({ length: 30 }, () => random.integer(docidMax)))
        for (const universe of [Bitmap.from(vectors.keys()), some]) {
          const target = vector()
          const found = nearest(reader, embedder, [target], universe)
          const list = []
          for (let next = found.take(); next !== undefined; next = found.take()) list.push(next)
          assert.deepEqual(list, neighbours(vectors, target, universe), `seed ${seed}, round ${round}`)
        }
        const count = [...vectors.values()].reduce((sum, rows) => sum + rows.length, 0)
        assert.equal(reader.vectorCount('e'), count, `seed ${seed}, round ${round}`)
      }
    } finally {
      await env.root.close()
      rmSync(folder, { recursive: true })
    }
  })
}

test('vectors of an index that kept no counts are counted, and changes of it are seen', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flapjack-vectors-'))
  const env = openIndexEnv(folder, 'write')
  const cache = new VectorCache(2 ** 20)
  const change = (run: (table: VectorTable) => void) =>
    env.root.transactionSync(() => {
      const table = new VectorTable(env, ['e'])
      run(table)
      table.flush()
      raiseRevision(env)
    })
  const row = (...vectors: readonly number[][]) => ({ vectors, regenerate: false, isGenerated: false })
  const read = () => {
    env.root.resetReadTxn()
    const reader = new LmdbIndexReader(env, { vectorCache: cache })
    const first = nearest(reader, embedder, [[1, 0, 0, 0, 0, 0]], reader.vectorDocids('e')).first
    return [reader.vectorCount('e'), first?.docid]
  }
  const up = [0, 1, 0, 0, 0, 0]
  try {
    change((table) => {
      table.put('e', 3, row(up, up))
      table.put('e', 2_000, row(up))
    })
    await env.main.remove(mainKeys.vectorBlocks('e'))
    assert.deepEqual(read(), [3, 3])
    change((table) => table.put('e', 4, row([1, 0, 0, 0, 0, 0])))
    assert.deepEqual(read(), [4, 4])
    change((table) => table.deleteAll(3))
    assert.deepEqual(read(), [2, 4])
    change((table) => table.put('e', 5_000, row(up, up)))
    assert.deepEqual(read(), [4, 4])
  } finally {
    await env.root.close()
    rmSync(folder, { recursive: true })
  }
})
