import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { testProject } from '../../test/support/project.ts'
import type { ApiError } from '../api/errors.ts'
import { createEgressPolicy } from '../lib/egress-policy.ts'
import { isObject, type JsonObject } from '../lib/json.ts'
import { noTokenRules, type Project, type TokenIssuer, type TokenRules } from '../store/catalogue.ts'
import { buildRouteTable, type RouteTable } from '../topology/route-table.ts'
import { createAccessTokens } from './access-tokens.ts'
import { createAuthentication } from './authentication.ts'
import { createIssuerKeys } from './issuer-keys.ts'
import { authorise, forcedFilter } from './principal.ts'
import { platformKey } from './token-keys.ts'
import { addIssuer, revokeAll, revokeToken } from './token-rules.ts'

const nowMs = 1_800_000_000_000
const now = nowMs / 1000
const platform = platformKey(Buffer.alloc(32, 1))
const ed25519 = generateKeyPairSync('ed25519')
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const weakRsa = generateKeyPairSync('rsa', { modulusLength: 1024 })
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const jwkOf = (key: KeyObject, kid?: string): JsonObject => {
  const jwk: unknown = { ...key.export({ format: 'jwk' }), ...(kid === undefined ? {} : { kid }) }
  assert.ok(isObject(jwk))
  return jwk
}

const login: TokenIssuer = {
  issuer: 'https://login.example.com',
  keys: { kind: 'pinned', jwks: [rsa, ed25519, p256, weakRsa].map(({ publicKey }) => jwkOf(publicKey)) },
  actions: ['search', 'documents.get'],
  indexes: ['mov*', 'books'],
}

const tableOf = (...projects: Project[]): RouteTable =>
  buildRouteTable({ version: 1, projects, keys: [], indexes: [], placements: [], nodes: [], credentials: [] })

const one = testProject('one', { tokens: { ...noTokenRules, issuers: [login] } })
const two = testProject('two')
const table = tableOf(one, two)

const claims = {
  iss: login.issuer,
  aud: one.ref,
  iat: now,
  exp: now + 600,
  jti: 't1',
  fj_actions: ['search', 'documents.get', 'documents.add'],
  fj_indexes: ['*'],
}
const ours = { ...claims, iss: 'flapjack' }

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')

function tokenOf(body: object, signer: (data: Buffer) => Buffer, header: object): string {
  const signed = `${encode(header)}.${encode(body)}`
  return `${signed}.${signer(Buffer.from(signed)).toString('base64url')}`
}

const byEd25519 = (body: object, header: object = { alg: 'EdDSA' }) =>
  tokenOf(body, (data) => sign(null, data, ed25519.privateKey), header)
const byRsa = (body: object, header: object = { alg: 'RS256' }) =>
  tokenOf(body, (data) => sign('sha256', data, rsa.privateKey), header)
const byP256 = (body: object) =>
  tokenOf(body, (data) => sign('sha256', data, { key: p256.privateKey, dsaEncoding: 'ieee-p1363' }), { alg: 'ES256' })
const byPlatform = (body: object) =>
  tokenOf(body, (data) => platform.sign(data.toString()), { alg: 'EdDSA', kid: platform.id })

function authentication(clock = { now: () => nowMs, monotonic: () => 0 }) {
  const egress = createEgressPolicy({ allowed: ['127.0.0.1'] })
  const issuerKeys = createIssuerKeys({ egress, clock, log: { warn: () => undefined } })
  const accessTokens = createAccessTokens({ platformKeys: () => [platform], issuerKeys, clock })
  return { ...createAuthentication({ clock, accessTokens }), close: issuerKeys.close }
}

test('a token of a trusted issuer grants what both it and the ceiling of its issuer grant', () => {
  const { authenticate } = authentication()
  for (const token of [byEd25519(claims), byRsa(claims), byP256(claims), byRsa({ ...claims, aud: [one.ref] })]) {
    const principal = authenticate(table, token, 'search')
    assert.equal(principal.project, one)
    assert.deepEqual([...principal.actions].sort(), ['documents.get', 'search'])
    authorise(principal, 'documents.get', 'movies')
    for (const uid of ['people', 'mo']) assert.throws(() => authorise(principal, 'search', uid), /cannot acces/)
    assert.throws(() => authorise(principal, 'documents.add', 'movies'), { code: 'invalid_api_key' })
  }
  const own = authenticate(table, byPlatform(ours), 'search')
  authorise(own, 'documents.add', 'people')
})

test('a token with search rules searches and does nothing else, and its filters are forced', () => {
  const { authenticate } = authentication()
  const fj_rules = { movies: { filter: 'shop = 7' } }
  const principal = authenticate(table, byPlatform({ ...ours, fj_rules }), 'search')
  assert.deepEqual([...principal.actions], ['search'])
  assert.equal(forcedFilter(principal, 'movies'), 'shop = 7')
  assert.throws(() => authorise(principal, 'search', 'books'), { code: 'invalid_api_key' })
})

test('no other token is accepted, and a refusal tells which check failed and no more', () => {
  const { authenticate } = authentication()
  const rsaPem = rsa.publicKey.export({ type: 'spki', format: 'pem' })
  const byHmac = (alg: string) => tokenOf(claims, (data) => createHmac('sha256', rsaPem).update(data).digest(), { alg })
  const without = (name: string) => Object.fromEntries(Object.entries(claims).filter(([claim]) => claim !== name))
  const altered = byEd25519(claims).split('.')
  altered[1] = encode({ ...claims, fj_indexes: ['secret'] })
  const stranger = generateKeyPairSync('ed25519').privateKey
  const refusals: readonly (readonly [string, string])[] = [
    ['signature', byHmac('HS256')],
    ['signature', byHmac('RS256')],
    ['signature', tokenOf(claims, () => Buffer.alloc(0), { alg: 'none' })],
    ['signature', byEd25519(claims, { alg: 'RS256' })],
    ['signature', byRsa(claims, { alg: 'EdDSA' })],
    ['signature', byEd25519(claims, { alg: 'EdDSA', crit: ['exp'] })],
    ['signature', altered.join('.')],
    ['signature', tokenOf(claims, (data) => sign(null, data, stranger), { alg: 'EdDSA' })],
    ['signature', tokenOf(claims, (data) => sign('sha256', data, weakRsa.privateKey), { alg: 'RS256' })],
    // Whoever signs for one project signs for that one only, and learns nothing of others.
    ['signature', byEd25519({ ...claims, aud: two.ref })],
    ['signature', byEd25519({ ...claims, aud: 'nowherexxxxx' })],
    ['signature', byEd25519({ ...claims, iss: 'flapjack' })],
    ['signature', byEd25519({ ...claims, iss: 'https://other.example.com' })],
    ['audience', byPlatform({ ...ours, aud: 'nowherexxxxx' })],
    ['time of validity', byEd25519({ ...claims, exp: now })],
    ['time of validity', byPlatform({ ...ours, exp: now + 24 * 3600 + 61 })],
    ['time of validity', byEd25519({ ...claims, iat: now + 61 })],
    ['time of validity', byEd25519({ ...claims, nbf: now + 61 })],
    ['time of validity', byPlatform({ ...ours, exp: String(now + 600) })],
    ['signature', byEd25519(without('exp'))],
    ['scope', byPlatform({ ...ours, jti: undefined })],
    ['scope', byPlatform({ ...ours, fj_actions: ['everything'] })],
    ['scope', byPlatform({ ...ours, fj_actions: undefined })],
    ['scope', byPlatform({ ...ours, fj_indexes: ['a*b'] })],
    ['scope', byPlatform({ ...ours, fj_rules: 7 })],
    ['scope', byEd25519({ ...claims, fj_actions: ['documents.add'] })],
    ['scope', byEd25519({ ...claims, fj_indexes: ['people'] })],
  ]
  for (const [check, token] of refusals) {
    const message = `The provided access token is invalid: its ${check} is not accepted.`
    assert.throws(
      () => authenticate(table, token, 'search'),
      (error: ApiError) => error.code === 'invalid_api_key' && error.message === message,
      `${check}: ${Buffer.from(token.split('.')[1] ?? '', 'base64url')}`,
    )
  }
})

test('a token ends with its time, its jti, its issuer and with all that were issued so far', () => {
  let at = nowMs
  const { authenticate } = authentication({ now: () => at, monotonic: () => 0 })
  const token = byEd25519(claims)
  const later = byEd25519({ ...claims, iat: now + 1, jti: 't2' })
  for (const shown of [token, later]) authenticate(table, shown, 'search')
  const withRules = (tokens: TokenRules | string) => {
    assert.ok(typeof tokens === 'object')
    return tableOf({ ...one, tokens })
  }
  const revoked = withRules(revokeToken(one.tokens, 't1', nowMs))
  assert.throws(() => authenticate(revoked, token, 'search'), { message: 'The provided API key is invalid.' })
  authenticate(revoked, later, 'search')
  const allRevoked = withRules(revokeAll(one.tokens, nowMs))
  assert.throws(() => authenticate(allRevoked, token, 'search'), { code: 'invalid_api_key' })
  authenticate(allRevoked, later, 'search')
  assert.throws(() => authenticate(tableOf(testProject('one')), later, 'search'), { code: 'invalid_api_key' })
  authenticate(table, token, 'search')
  at = claims.exp * 1000
  assert.throws(() => authenticate(table, token, 'search'), /time of validity/)
})

test('keys of an issuer with an address are fetched at its first token, and once a minute for an unknown key', async (t) => {
  let atMs = 1_000_000
  let asked = 0
  let served: readonly JsonObject[] = [jwkOf(ed25519.publicKey, 'k1')]
  let status = 200
  const server = createServer((_, response) => {
    asked += 1
    response.writeHead(status).end(JSON.stringify({ keys: served }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { authenticate, settled, close } = authentication({ now: () => nowMs, monotonic: () => atMs })
  t.after(async () => {
    await close()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
  const issuer: TokenIssuer = { ...login, keys: { kind: 'url', url } }
  const trusting = addIssuer(noTokenRules, issuer)
  assert.ok(typeof trusting === 'object')
  const routes = tableOf({ ...one, tokens: trusting })
  const first = byEd25519(claims, { alg: 'EdDSA', kid: 'k1' })
  const second = (jti: string) => byEd25519({ ...claims, jti }, { alg: 'EdDSA', kid: 'k2' })
  const tried = async (token: string) => {
    try {
      authenticate(routes, token, 'search')
    } catch {
      await settled(routes, token)
    }
    return authenticate(routes, token, 'search')
  }
  await tried(first)
  assert.equal(asked, 1)
  // The issuer has a new key; it is found, but not more than once a minute whatever tokens say.
  served = [jwkOf(ed25519.publicKey, 'k2')]
  await assert.rejects(tried(second('a')), /signature/)
  assert.equal(asked, 1)
  atMs += 60_000
  await tried(second('a'))
  assert.equal(asked, 2)
  // The address is away: the last keys hold for a day.
  status = 500
  atMs += 23 * 3_600_000
  await tried(second('b'))
  atMs += 3_600_001
  await assert.rejects(tried(second('c')), /signature/)
})
