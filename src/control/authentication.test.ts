import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { testProject } from '../../test/support/project.ts'
import type { ApiKey, Project } from '../store/catalogue.ts'
import { buildRouteTable, credentialHash } from '../topology/route-table.ts'
import type { AccessTokens } from './access-tokens.ts'
import { createAuthentication } from './authentication.ts'
import { keyValue } from './key-value.ts'
import { authorise, forcedFilter, seesIndex } from './principal.ts'

const uid = '11111111-2222-4333-8444-555555555555'

function makeKey(project: Project, change: Partial<ApiKey> = {}): ApiKey {
  return {
    project: project.id,
    uid,
    name: null,
    description: null,
    actions: ['search', 'stats.get', 'tasks.*', 'version'],
    indexes: ['mov*'],
    expiresAt: null,
    hash: credentialHash(keyValue(project.masterKey, uid)),
    createdAt: 1,
    updatedAt: 1,
    ...change,
  }
}

const one = testProject('one')
const two = testProject('two')

function tableOf(keys: readonly ApiKey[]) {
  return buildRouteTable({
    version: 1,
    projects: [one, two],
    keys,
    indexes: [],
    placements: [],
    nodes: [],
    credentials: [],
  })
}

function tokenOf(project: Project, claims: object): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const signed = `${encode({ alg: 'HS256' })}.${encode({ apiKeyUid: uid, ...claims })}`
  return `${signed}.${createHmac('sha256', keyValue(project.masterKey, uid)).update(signed).digest('base64url')}`
}

const noAccessTokens: AccessTokens = {
  open: () => assert.fail('no access token is shown here'),
  platformKeys: () => [],
  settled: async () => undefined,
}

const invalid = { code: 'invalid_api_key' }

test('a key stops with the table in which it is gone, and at its expiry, remembered or not', () => {
  let now = 1_000
  const { authenticate } = createAuthentication({ clock: { now: () => now }, accessTokens: noAccessTokens })
  const value = keyValue(one.masterKey, uid)
  const table = tableOf([makeKey(one, { expiresAt: 5_000 })])
  const principal = authenticate(table, value, 'search')
  assert.equal(principal.project, one)
  assert.equal(authenticate(table, value, 'search'), principal)
  assert.throws(() => authenticate(tableOf([]), value, 'search'), invalid)
  assert.equal(authenticate(table, value, 'search').keyUid, uid)
  now = 5_000
  assert.throws(() => authenticate(table, value, 'search'), invalid)
})

test('a key for some indexes grants nothing instance-wide, and names its own indexes only', () => {
  const { authenticate } = createAuthentication({ clock: { now: () => 0 }, accessTokens: noAccessTokens })
  const principal = authenticate(tableOf([makeKey(one)]), `fj_live_${keyValue(one.masterKey, uid)}`, 'search')
  authorise(principal, 'tasks.cancel', null)
  authorise(principal, 'search', 'movies')
  for (const action of ['version', 'tasks.compact', 'documents.get'] as const) {
    assert.throws(() => authorise(principal, action, null), invalid)
  }
  assert.throws(() => authorise(principal, 'search', 'books'), {
    message: 'The API key cannot acces the index `books`, authorized indexes are ["mov*"].',
  })
})

test('a token belongs to the project whose key signed it, though others chose the same uid', () => {
  const { authenticate } = createAuthentication({ clock: { now: () => 0 }, accessTokens: noAccessTokens })
  const table = tableOf([makeKey(one), makeKey(two)])
  for (const project of [one, two]) {
    const token = tokenOf(project, { searchRules: { movies: { filter: 'a = 1' } } })
    const principal = authenticate(table, token, 'search')
    assert.equal(principal.project, project)
    assert.equal(forcedFilter(principal, 'movies'), 'a = 1')
    assert.ok(!seesIndex(principal, 'movers'))
    assert.throws(() => authorise(principal, 'stats.get', 'movies'), invalid)
    assert.throws(() => authenticate(tableOf([]), token, 'search'), invalid)
  }
})

test('an index must match both the token and its key, and a token does not learn the patterns of its key', () => {
  const { authenticate } = createAuthentication({ clock: { now: () => 0 }, accessTokens: noAccessTokens })
  const principal = authenticate(tableOf([makeKey(one)]), tokenOf(one, { searchRules: ['*'] }), 'search')
  assert.throws(() => authorise(principal, 'search', 'books'), {
    message: 'The API key used to generate this tenant token cannot acces the index `books`.',
  })
})

test('a remembered token ends at its second', () => {
  let now = 10_000
  const { authenticate } = createAuthentication({ clock: { now: () => now }, accessTokens: noAccessTokens })
  const table = tableOf([makeKey(one)])
  const token = tokenOf(one, { searchRules: ['*'], exp: 12 })
  authenticate(table, token, 'search')
  now = 12_999
  authenticate(table, token, 'search')
  now = 13_000
  assert.throws(() => authenticate(table, token, 'search'), {
    message: "Tenant token expired. Was valid up to `12` and we're now `13`.",
  })
})
