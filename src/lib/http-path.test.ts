import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readPath } from './http-path.ts'

test('a path that two programs could read differently is refused', () => {
  const hostile = [
    '/indexes/%2e%2e/keys',
    '/indexes/a%2fb',
    '/indexes/a%2Fb',
    '/indexes/a\\b',
    '/indexes/a;b',
    '/indexes//search',
    '//keys',
    '/indexes/a%00',
    '/indexes/../keys',
    '/indexes/./keys',
    '/indexes/%zz',
    '/indexes/%ff',
    '/indexes/%252e',
    '/indexes/a b',
    '/indexes/a\u0000',
    'indexes',
    '',
    'http://elsewhere/keys',
  ]
  for (const url of hostile) assert.deepEqual(readPath(url), { kind: 'refused', reason: 'not-canonical' }, url)
})

test('a trailing slash is trimmed and the query string is kept as sent', () => {
  assert.deepEqual(readPath('/indexes/'), { kind: 'path', path: '/indexes', search: '' })
  assert.deepEqual(readPath('/'), { kind: 'path', path: '/', search: '' })
  assert.deepEqual(readPath('/tasks?uids=1%2C2&x=/../'), { kind: 'path', path: '/tasks', search: 'uids=1%2C2&x=/../' })
  assert.deepEqual(readPath('/indexes/a/documents/%C3%A9'), {
    kind: 'path',
    path: '/indexes/a/documents/%C3%A9',
    search: '',
  })
})

test('a very long URL is refused', () => {
  assert.deepEqual(readPath(`/${'a'.repeat(9000)}`), { kind: 'refused', reason: 'too-long' })
})
