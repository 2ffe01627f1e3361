import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bodyPlaces, queryPlaces } from './index-places.ts'
import { routePolicies } from './route-policy.ts'

const names = routePolicies.map(({ method, path }) => `${method} ${path}`)

/** The page that says that a server runs, the keys that verify our access tokens, and plans of searches. */
const ownRoutes = ['GET /', 'GET /.well-known/jwks.json', 'POST /indexes/{uid}/explain']

test('each of the 140 operations of the API has exactly one answer', () => {
  assert.equal(new Set(names).size, names.length)
  assert.equal(names.filter((name) => !ownRoutes.includes(name)).length, 140)
  for (const { path, handler, refusal } of routePolicies)
    assert.ok((handler === undefined) !== (refusal === undefined), path)
})

test('no route is reachable without an action, but for those that tell nothing of anybody', () => {
  const open = routePolicies.filter(({ action }) => action === null).map(({ path }) => path)
  assert.deepEqual(open, ['/', '/health', '/.well-known/jwks.json'])
})

test('every place that names an index belongs to a route', () => {
  for (const route of [...Object.keys(bodyPlaces), ...Object.keys(queryPlaces)]) assert.ok(names.includes(route), route)
})
