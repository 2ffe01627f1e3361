import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maskHeaders, maskSecret } from './secrets.ts'

test('more of a long secret is shown than of a short one, and never all of it', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['TOKEN', 'XXX...'],
    ['UPDATED TOKEN', 'UPXXXX...'],
    ['a'.repeat(9), 'XXX...'],
    ['a'.repeat(10), 'aaXXXX...'],
    ['a'.repeat(20), 'aaaXXXXX...'],
    ['a'.repeat(30), 'aaaaaXXXXXX...'],
    ['Bearer TOKEN', 'Bearer XXX...'],
    ['', 'XXX...'],
  ]
  for (const [secret, shown] of cases) assert.equal(maskSecret(secret), shown)
})

test('of headers, only the authorisation is masked', () => {
  assert.deepEqual(maskHeaders({ Authorization: 'Bearer a-long-secret', referer: 'here' }), {
    Authorization: 'Bearer a-XXXX...',
    referer: 'here',
  })
})
