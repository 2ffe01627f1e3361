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

function open(text: string, secrets: readonly string[]) {
  const token = readToken(text)
  assert.ok(token !== undefined, 'has the shape of a token')
  return verifyToken(token, secrets)
}

test('tokens of all three algorithms open, tokens without a signature never do', () => {
  const claims = { apiKeyUid: uid, searchRules: ['*'] }
  for (const [alg, hash] of [
    ['HS256', 'sha256'],
    ['HS384', 'sha384'],
    ['HS512', 'sha512'],
  ] as const) {
    assert.equal(open(sign({ alg }, claims, 'secret', hash), ['other', 'secret']).kind, 'valid')
    assert.equal(open(sign({ alg }, claims, 'secret', hash), ['other']).kind, 'undecodable')
  }
  for (const alg of ['none', 'RS256', 'hs256', 7]) {
    assert.equal(open(sign({ alg }, claims, 'secret'), ['secret']).kind, 'undecodable')
  }
  const [header, body] = sign({ alg: 'HS256' }, claims, 'secret').split('.')
  assert.equal(open(`${header}.${body}.`, ['secret']).kind, 'undecodable')
})

test('a claim of the wrong kind is refused', () => {
  const broken = [
    {},
    { searchRules: 7 },
    { searchRules: [1] },
    { searchRules: { a: 'x' } },
    { searchRules: ['*'], exp: 'soon' },
  ]
  for (const claims of broken) {
    assert.equal(open(sign({ alg: 'HS256' }, { apiKeyUid: uid, ...claims }, 's'), ['s']).kind, 'undecodable')
  }
  assert.equal(readToken('a.b'), undefined)
  assert.equal(readToken(sign({ alg: 'HS256' }, { searchRules: ['*'] }, 's')), undefined)
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
