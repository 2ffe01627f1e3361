import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SealBroken } from '../lib/seal.ts'
import { toRenderedError } from './render.ts'

test('a request that needs a secret which does not open is refused as its project is, and says nothing of the secret', () => {
  const { status, body } = toRenderedError(new SealBroken('a sealed value was altered or moved'), 'r1')
  assert.deepEqual(
    [status, body.code, body.message],
    [503, 'route_unavailable', 'This project cannot be served at the moment.'],
  )
})
