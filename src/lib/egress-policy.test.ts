import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Agent, request } from 'undici'
import {
  type AllowedNetworks,
  createEgressPolicy,
  isPublicAddress,
  networksText,
  parseNetworks,
} from './egress-policy.ts'

test('addresses inside are never public, however they are written', () => {
  const inside = ['127.0.0.1', '10.1.2.3', '169.254.169.254', '192.168.0.1', '0.0.0.0', '100.64.0.1', '172.31.255.255']
  const inside6 = [
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
  ]
  for (const address of [...inside, ...inside6, 'nonsense', '']) assert.ok(!isPublicAddress(address), address)
  for (const address of ['1.1.1.1', '172.32.0.1', '2606:4700::1111']) assert.ok(isPublicAddress(address), address)
  const { fault } = createEgressPolicy({ allowed: [] })
  // As `URL` reads them.
  const hosts = [
    '127.1',
    '0x7f.1',
    '2130706433',
    '017700000001',
    '[::ffff:127.0.0.1]',
    'localhost',
    'a.localhost',
    'localhost.',
  ]
  for (const host of hosts) assert.equal(fault(new URL(`http://${host}/`)), 'Rejected IP', host)
  assert.equal(fault(new URL('ftp://example.com/')), 'scheme must be http or https')
  assert.equal(fault(new URL('http://example.com/')), undefined)
  const strict = createEgressPolicy({ allowed: 'any', httpsOnly: true })
  assert.equal(strict.fault(new URL('http://example.com/')), 'scheme must be https')
  assert.equal(strict.fault(new URL('https://10.0.0.1/')), undefined)
})

test('listed networks may be called, and no others', () => {
  const { fault } = createEgressPolicy({ allowed: ['10.1.0.0/16', '192.168.7.7', 'fd12:3456::/32'] })
  const may = (host: string) => fault(new URL(`http://${host}/`)) === undefined
  for (const host of ['10.1.255.1', '192.168.7.7', '[fd12:3456:1::1]', '8.8.8.8']) assert.ok(may(host), host)
  for (const host of ['10.2.0.1', '192.168.7.8', '[fd12:3457::1]', '127.0.0.1', 'localhost'])
    assert.ok(!may(host), host)
})

test('lists of networks are read as Meilisearch reads its option', () => {
  const read: readonly (readonly [string, AllowedNetworks])[] = [
    ['any', 'any'],
    ['none', []],
    ['10.0.0.0/8,127.0.0.1/32', ['10.0.0.0/8', '127.0.0.1/32']],
    ['127.0.0.1', ['127.0.0.1']],
    ['any,10.0.0.0/8', 'any'],
    ['::1, fd00::/8', ['::1', 'fd00::/8']],
    ['0.0.0.0/0', ['0.0.0.0/0']],
  ]
  for (const [text, networks] of read) {
    assert.deepEqual(parseNetworks(text), networks, text)
    assert.deepEqual(parseNetworks(networksText(networks)), networks)
  }
  const wrong = [
    'nonsense',
    '',
    '10.0.0.0/8 127.0.0.1',
    '10.0.0.1/8',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'fd00::1/8',
    'fe80::1%lo',
    '10.0.0',
  ]
  for (const text of wrong) assert.equal(parseNetworks(text), undefined, text)
})

// A name that resolves to a public address when it is checked and to a private one when it is called.
test('a name is called at the very address that was checked, so that it cannot change its meaning in between', async () => {
  const server = createServer((_, response) => response.end('secret')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  let answers = [{ address: '127.0.0.1', family: 4 }]
  const resolve = (_: string, __: object, done: (error: null, found: typeof answers) => void) => done(null, answers)
  const call = async (allowed: AllowedNetworks) => {
    const dispatcher = new Agent({ connect: { lookup: createEgressPolicy({ allowed, resolve }).lookup } })
    try {
      const { body } = await request(`http://rebinding.example:${port}/`, { dispatcher })
      return await body.text()
    } finally {
      await dispatcher.destroy()
    }
  }
  await assert.rejects(call([]), /Rejected IP/)
  assert.equal(await call(['127.0.0.0/8']), 'secret')
  // Of several addresses only those that may be called are tried.
  answers = [{ address: '10.0.0.1', family: 4 }, ...answers]
  assert.equal(await call(['127.0.0.1']), 'secret')
  server.close()
})
