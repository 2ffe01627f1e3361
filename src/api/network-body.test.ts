import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Json } from '../lib/json.ts'
import { applyNetwork, decodeNetwork, emptyNetwork, type Network, renderNetwork } from './network-body.ts'

function after(...bodies: readonly Json[]): Network {
  return bodies.reduce<Network>((before, body, at) => applyNetwork(before, decodeNetwork(body), `v${at}`), emptyNetwork)
}

test('a network is kept as it was written, and every change gives it a new version', () => {
  const network = after(
    {
      self: 'a',
      remotes: { b: { url: 'http://b:7700', searchApiKey: 'key' } },
      shards: { s: { remotes: ['b', 'a'] } },
    },
    { remotes: { b: { writeApiKey: 'other' } }, shards: { s: { addRemotes: ['c'], removeRemotes: ['a'] } } },
  )
  assert.deepEqual(renderNetwork(network), {
    self: 'a',
    remotes: { b: { url: 'http://b:7700', searchApiKey: 'key', writeApiKey: 'other', status: 'available' } },
    shards: { s: { remotes: ['b', 'c'] } },
    leader: null,
    version: 'v1',
  })
})

test('nulls empty a network, whole or in parts', () => {
  const full = {
    self: 'a',
    remotes: { b: { url: 'http://b' }, c: { url: 'http://c' } },
    shards: { s: { remotes: [] } },
  }
  assert.deepEqual(Object.keys(after(full, { remotes: { b: null } }).remotes), ['c'])
  const empty = after(full, { self: null, leader: null, remotes: null, shards: null })
  assert.deepEqual(empty, { ...emptyNetwork, version: 'v1' })
})

test('mistakes are told as in the reference', () => {
  const cases: readonly (readonly [Json, string, string])[] = [
    [
      { leader: 'a' },
      'requires_enterprise_edition',
      'Meilisearch Enterprise Edition is required to set `network.leader`',
    ],
    [{ remotes: { y: { searchApiKey: 'x' } } }, 'missing_network_url', 'Missing field `.remotes.y.url`'],
    [
      { remotes: { y: { url: 'abc' } } },
      'invalid_network_url',
      'Invalid `.remotes.y.url` (`abc`): relative URL without a base',
    ],
    [
      { self: 3 },
      'invalid_network_self',
      'Invalid value type at `.self`: expected a string, but found a positive integer: `3`',
    ],
    [
      { foo: 1 },
      'bad_request',
      'Unknown field `foo`: expected one of `remotes`, `shards`, `previousShards`, `self`, `leader`, `previousRemotes`',
    ],
  ]
  for (const [body, code, message] of cases) assert.throws(() => after(body), { code, message })
})
