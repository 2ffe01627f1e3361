import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { JsonObject } from '../lib/json.ts'
import { type Random, seededRandom } from '../lib/random.ts'
import { SharedProgress } from './batch-progress.ts'
import { EmbeddingThread } from './embedders/embedding-thread.ts'
import type { BatchTask } from './index-batch.ts'
import { type IndexEnv, mainKeys, openIndexEnv, prefixesHold } from './index-env.ts'
import { KeyBuilder, postingKind } from './index-keys.ts'
import { runBatch, type WriterDeps } from './index-writer.ts'
import { LmdbIndexReader } from './lmdb-index-reader.ts'
import { isStoredPrefix, shortPrefixes, uniteByNumber, uniteWords, widePrefixWordsMin } from './prefix-unions.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-prefixes-'))
after(() => rmSync(folder, { recursive: true }))

const deps: WriterDeps = {
  matchFilter: () => assert.fail('not asked'),
  isAborted: () => false,
  now: () => 0,
  // Small, so that one batch is merged in several parts.
  postingBytesMax: 40_000,
  embedding: new EmbeddingThread({ allowedNetworks: [] }),
  progress: new SharedProgress(),
}

let uid = 0
function task(operation: BatchTask['operation'], lines: readonly unknown[] = []): BatchTask {
  uid += 1
  const bytes = new TextEncoder().encode(`${lines.map((line) => JSON.stringify(line)).join('\n')}\n`)
  return { uid, operation, payload: { kind: 'inline', bytes } }
}

const put = (documents: readonly JsonObject[], merge = false): BatchTask =>
  task({ kind: 'documents-put', primaryKey: 'id', merge, skipCreation: false }, documents)

/** Words of few beginnings, so that several begin a hundred. */
function text(random: Random): string {
  const word = () => `${['a', 'ab', 'wb', 'é', 'éà', '日', '7'][random.integer(7)]}${random.integer(400).toString(36)}`
  return Array.from({ length: 1 + random.integer(6) }, word).join(' ')
}

const document = (random: Random): JsonObject => ({
  id: random.integer(300),
  title: text(random),
  ...(random.integer(2) === 0 ? { body: text(random) } : {}),
})

/** Everything that is stored of prefixes is what the words' own lists give. */
function check(env: IndexEnv, seed: number): number {
  env.root.resetReadTxn()
  assert.ok(prefixesHold(env), `seed ${seed}: prefixes are up to date`)
  const keys = new KeyBuilder()
  const reader = new LmdbIndexReader(env)
  const counts = new Map<string, number>()
  for (const word of reader.words(''))
    for (const prefix of shortPrefixes(word)) counts.set(prefix, (counts.get(prefix) ?? 0) + 1)
  let stored = 0
  for (const [prefix, count] of counts) {
    const isStored = isStoredPrefix(env, keys, prefix)
    assert.ok(isStored || count < widePrefixWordsMin, `seed ${seed}: ${prefix} begins ${count} words`)
    if (!isStored) continue
    stored += 1
    const words = reader.prefixWordDocids(prefix)
    const about = `seed ${seed}: ${prefix}`
    assert.deepEqual(words.tolerant.toArray(), uniteWords(env, keys, postingKind.word, prefix).toArray(), about)
    assert.deepEqual(words.exact.toArray(), uniteWords(env, keys, postingKind.exact, prefix).toArray(), about)
    const lists = (map: ReadonlyMap<number, { toArray(): number[] }>) =>
      [...map].sort(([left], [right]) => left - right).map(([number, docids]) => [number, docids.toArray()])
    assert.deepEqual(
      lists(reader.prefixFieldDocids(prefix)),
      lists(uniteByNumber(env, keys, postingKind.field, prefix)),
      about,
    )
    assert.deepEqual(
      lists(reader.prefixPositionDocids(prefix)),
      lists(uniteByNumber(env, keys, postingKind.position, prefix)),
      about,
    )
  }
  return stored
}

test('stored prefixes are what their words are, through any changes of documents and settings', async () => {
  for (const seed of [1, 2]) {
    const random = seededRandom(seed)
    const env = openIndexEnv(join(folder, `random-${seed}`), 'write')
    let most = 0
    for (let round = 0; round < 14; round += 1) {
      const many = Array.from({ length: round < 2 ? 250 : 1 + random.integer(120) }, () => document(random))
      const ids = Array.from({ length: 1 + random.integer(60) }, () => random.integer(300))
      const settings = [
        { typoTolerance: { disableOnAttributes: ['body'] } },
        { typoTolerance: { disableOnNumbers: true, disableOnAttributes: [] } },
        { searchableAttributes: ['title'] },
        { searchableAttributes: ['*'] },
      ][random.integer(4)]!
      const kind = round < 2 ? 0 : random.integer(20)
      const tasks =
        kind < 9
          ? [put(many), put(many.slice(0, 20).map(() => document(random)))]
          : kind < 13
            ? [task({ kind: 'documents-delete' }, ids), put(many.slice(0, 10), true)]
            : kind < 17
              ? [put(many, true), task({ kind: 'documents-delete' }, ids)]
              : kind < 19
                ? [task({ kind: 'settings', settings })]
                : [task({ kind: 'documents-clear' }), put(many)]
      runBatch(env, tasks, deps)
      most = Math.max(most, check(env, seed))
    }
    assert.ok(most > 3, `seed ${seed}: several prefixes are wide`)
    await env.root.close()
  }
})

// An earlier version of the program does not know of the table, and its writes leave it behind.
test('prefixes that another version of the program did not keep up to date are not believed, and made anew', async () => {
  const random = seededRandom(9)
  const env = openIndexEnv(join(folder, 'earlier'), 'write')
  runBatch(env, [put(Array.from({ length: 400 }, (_, id) => ({ ...document(random), id })))], deps)
  assert.ok(check(env, 9) > 3)
  const behind = Buffer.from(env.main.getBinary(mainKeys.prefixes)!)
  runBatch(env, [put(Array.from({ length: 50 }, (_, id) => ({ id, title: 'abc' })))], deps)
  env.root.transactionSync(() => {
    env.main.putSync(mainKeys.prefixes, behind)
    env.prefixes.clearSync()
  })
  const reader = new LmdbIndexReader(env)
  assert.equal(prefixesHold(env), false)
  assert.ok(reader.prefixWordDocids('ab').tolerant.size >= 50)
  runBatch(env, [put([{ id: 1, title: 'abd' }])], deps)
  assert.ok(check(env, 9) > 3)
  await env.root.close()
})
