import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type IndexEnv, openIndexEnv } from './index-env.ts'
import { followWords, logChanges } from './vocabulary-changes.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-words-'))
const env: IndexEnv = openIndexEnv(folder, 'write')
after(async () => {
  await env.root.close()
  rmSync(folder, { recursive: true })
})

const log = (version: number, changes: Record<string, boolean> | undefined) =>
  env.root.transactionSync(() => logChanges(env, version, changes && new Map(Object.entries(changes))))
const at = (version: number) => ({ version, changes: new Map<string, boolean>() })

test('words are followed over several batches, the last of which counts', () => {
  log(1, { a: true })
  log(2, { b: true, a: false })
  log(3, { a: true })
  const known = at(1)
  assert.equal(followWords(env, known, 3), known)
  assert.deepEqual(
    [...known.changes],
    [
      ['b', true],
      ['a', true],
    ],
  )
  assert.equal(known.version, 3)
  assert.equal(followWords(env, known, 3), known, 'nothing is new')
  const later = at(2)
  assert.equal(followWords(env, later, 3), later)
  assert.deepEqual([...later.changes], [['a', true]])
})

test('words are read anew where it is not told what changed', () => {
  log(4, undefined)
  assert.deepEqual(followWords(env, at(3), 4), at(4), 'all of them may have')
  assert.deepEqual(followWords(env, undefined, 4), at(4))
  log(5, { c: true })
  assert.deepEqual(followWords(env, at(3), 5), at(5), 'a batch between is not told')
  // Another program wrote in between, and told nothing.
  log(7, { d: true })
  assert.deepEqual(followWords(env, at(5), 7), at(7))
  const known = at(6)
  assert.equal(followWords(env, known, 7), known)
  log(8, Object.fromEntries(Array.from({ length: 1_001 }, (_, number) => [`w${number}`, true])))
  assert.deepEqual(followWords(env, known, 8), at(8), 'too many')
})

test('what is kept of earlier batches is bounded', () => {
  const words = (from: number) =>
    Object.fromEntries(Array.from({ length: 400 }, (_, number) => [`x${from + number}`, true]))
  for (let version = 10; version < 20; version += 1) log(version, words(version * 400))
  const near = at(17)
  assert.equal(followWords(env, near, 19), near)
  assert.equal(near.changes.size, 800)
  assert.deepEqual(followWords(env, at(16), 19), at(19))
  const idle = at(19)
  for (let version = 20; version < 40; version += 1) {
    log(version, words(version * 400))
    if (followWords(env, idle, version) !== idle) return
    assert.ok(idle.changes.size <= 5_000, 'nobody takes them')
  }
  assert.fail('changes that nobody takes are not kept for ever')
})
