import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bodyPlaces, queryPlaces } from './index-places.ts'
import { routePolicies } from './route-policy.ts'

const names = routePolicies.map(({ method, path }) => `${method} ${path}`)

test('each of the 140 operations of the API has exactly one answer', () => {
  assert.equal(new Set(names).size, names.length)
  assert.equal(names.filter((name) => name !== 'GET /').length, 140)
  for (const { path, handler, refusal } of routePolicies)
    assert.ok((handler === undefined) !== (refusal === undefined), path)
})

test('no route is reachable without an action, but for the two that tell nothing', () => {
  const open = routePolicies.filter(({ action }) => action === null).map(({ path }) => path)
  assert.deepEqual(open, ['/', '/health'])
})

test('every place that names an index belongs to a route', () => {
  for (const route of [...Object.keys(bodyPlaces), ...Object.keys(queryPlaces)]) assert.ok(names.includes(route), route)
})
