import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import type { Json } from '../lib/json.ts'
import { joinFilters, readToken, ruleFor, verifyToken } from './tenant-token.ts'

const uid = '11111111-2222-4333-8444-555555555555'

function sign(header: object, claims: object, secret: string, hash = 'sha256'): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const signed = `${encode(header)}.${encode(claims)}`
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`
}

/** What is wrong with a token; `undefined` = it opens. */
function faultOf(text: string, secrets: readonly string[]): string | undefined {
  const token = readToken(text)
  assert.ok(token !== undefined, 'has the shape of a token')
  return token.kind === 'undecodable' ? token.reason : verifyToken(token, secrets)?.reason
}

test('tokens of all three algorithms open, tokens without a signature never do', () => {
  const claims = { apiKeyUid: uid, searchRules: ['*'] }
  for (const [alg, hash] of [
    ['HS256', 'sha256'],
    ['HS384', 'sha384'],
    ['HS512', 'sha512'],
  ] as const) {
    assert.equal(faultOf(sign({ alg }, claims, 'secret', hash), ['other', 'secret']), undefined)
    assert.equal(faultOf(sign({ alg }, claims, 'secret', hash), ['other']), 'InvalidSignature')
  }
  for (const alg of ['none', 'RS256', 'hs256', 7]) {
    assert.notEqual(faultOf(sign({ alg }, claims, 'secret'), ['secret']), undefined)
  }
  const [header, body] = sign({ alg: 'HS256' }, claims, 'secret').split('.')
  assert.equal(faultOf(`${header}.${body}.`, ['secret']), 'InvalidSignature')
})

// Measured on the reference, columns included.
test('a token that cannot be read is refused in the words of the reference', () => {
  const rules = { apiKeyUid: uid, searchRules: ['*'] }
  const json = (message: string, column: number) => `JSON error: ${message} at line 1 column ${column}`
  const untagged = 'data did not match any variant of untagged enum SearchRules'
  const cases: readonly (readonly [object, object, string])[] = [
    [{ alg: 'HS256' }, { apiKeyUid: uid }, json('missing field `searchRules`', 52)],
    [{ alg: 'HS256' }, { searchRules: ['*'] }, json('missing field `apiKeyUid`', 21)],
    [{ alg: 'HS256' }, { apiKeyUid: uid, searchRules: 4 }, json(untagged, 68)],
    [{ alg: 'HS256' }, { ...rules, exp: 'a' }, json('invalid type: string "a", expected i64', 81)],
    [{ alg: 'HS256' }, { ...rules, exp: 1.5 }, json('invalid type: floating point `1.5`, expected i64', 81)],
    [{ alg: 'HS256' }, { apiKeyUid: 'abc' }, json('UUID parsing failed: invalid length: found 3', 18)],
    [{}, rules, json('missing field `alg`', 2)],
    [{ alg: 'RS256' }, rules, 'InvalidAlgorithm'],
  ]
  for (const [header, claims, reason] of cases) assert.equal(faultOf(sign(header, claims, 's'), ['s']), reason)
  assert.equal(faultOf('a.b.c', []), 'Base64 error: Invalid input length: 1')
  assert.equal(readToken('a.b'), undefined)
})

test('the exact name of a rule wins, then the longest pattern', () => {
  const rules = new Map<string, Json>([
    ['*', 'all'],
    ['mov*', 'some'],
    ['movies', 'one'],
    ['none', null],
  ])
  assert.equal(ruleFor(rules, 'movies'), 'one')
  assert.equal(ruleFor(rules, 'movers'), 'some')
  assert.equal(ruleFor(rules, 'books'), 'all')
  assert.equal(ruleFor(rules, 'none'), null)
  assert.equal(ruleFor(new Map([['mov*', null]]), 'books'), undefined)
})

test('filters are joined as lists, never as text', () => {
  assert.deepEqual(joinFilters('a', 'b) OR (c'), ['a', 'b) OR (c'])
  assert.deepEqual(joinFilters(['a', ['b', 'c']], ['d']), ['a', ['b', 'c'], 'd'])
  assert.equal(joinFilters('a', null), 'a')
  assert.equal(joinFilters(null, 'b'), 'b')
})
