import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadSealingKey, parseSealingKey, SealBroken, sealingKey } from './seal.ts'

const key = sealingKey(Buffer.alloc(32, 1))

test('a sealed secret comes back, and two seals of it differ', () => {
  for (const secret of ['', 'secret', 'ключ \u0000 ☃', 'x'.repeat(100_000)]) {
    const sealed = key.seal(secret, 'here')
    assert.equal(key.open(sealed, 'here').toString(), secret)
    assert.notDeepEqual(key.seal(secret, 'here'), sealed)
  }
})

test('a changed byte, another place or another key is noticed', () => {
  const sealed = key.seal('secret', 'here')
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] ?? 0) ^ 1
    assert.throws(() => key.open(changed, 'here'), SealBroken)
  }
  assert.throws(() => key.open(sealed, 'there'), SealBroken)
  assert.throws(() => key.open(sealed.subarray(0, 20), 'here'), SealBroken)
  assert.throws(() => sealingKey(Buffer.alloc(32, 2)).open(sealed, 'here'), /another key/)
})

test('the key file is made once, for its owner alone, and holds for every later start', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-seal-'))
  const path = join(folder, 'sealing.key')
  const [first, second] = await Promise.all([loadSealingKey(path), loadSealingKey(path)])
  assert.equal(first.id, second.id)
  assert.equal((await loadSealingKey(path)).open(first.seal('x', 'y'), 'y').toString(), 'x')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal(parseSealingKey(await readFile(path, 'utf8')).id, first.id)
  await writeFile(path, 'too short')
  await assert.rejects(loadSealingKey(path), SealBroken)
  await rm(folder, { recursive: true })
})

test('a key may be configured as hexadecimal or base64', () => {
  const bytes = Buffer.alloc(32, 1)
  assert.equal(parseSealingKey(bytes.toString('hex')).id, key.id)
  assert.equal(parseSealingKey(` ${bytes.toString('base64')}\n`).id, key.id)
  assert.throws(() => parseSealingKey('abc'), SealBroken)
})
