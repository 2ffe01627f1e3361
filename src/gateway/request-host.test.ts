import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { get as getPlain, request as requestPlain } from 'node:http'
import { connect as connectHttp2, type OutgoingHttpHeaders } from 'node:http2'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect } from 'node:tls'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import { CertificateUnusable } from '../lib/tls-files.ts'
import type { Project, ProjectSettings } from '../store/catalogue.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { startSecureRedirect } from './secure-redirect.ts'

const certificates = join(import.meta.dirname, '..', '..', 'test', 'support', 'certificates')
const store = openMemoryStore({ clock: systemClock, random: seededRandom(5) })
let strict: Gateway
let open: Gateway
let shop: Project
let other: Project

const base = {
  httpAddr: '127.0.0.1:0',
  catalogue: store.catalogue,
  journal: store.journal,
  logger: pino({ level: 'silent' }),
}

before(async () => {
  const { id: organisation } = await store.catalogue.createOrganisation('o')
  shop = await store.catalogue.createProject({ organisation, name: 'shop' })
  other = await store.catalogue.createProject({ organisation, name: 'other' })
  await set(shop, { hosts: ['search.shop.example'] })
  const hosts = { baseDomain: 'flapjack.example', region: 'eu' }
  strict = await startGateway({ ...base, metrics: new Registry(), hosts })
  open = await startGateway({ ...base, metrics: new Registry() })
})
after(async () => {
  await strict.close(0)
  await open.close(0)
})

async function set({ id }: Project, settings: Partial<ProjectSettings>): Promise<void> {
  await store.catalogue.changeSettings(id, (before) => ({ ...before, ...settings }))
}

interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly code: string | undefined
}

function call(
  gateway: Gateway,
  host: string,
  key: string,
  more: Partial<{ method: string; path: string; headers: object }> = {},
) {
  const { method = 'GET', path = '/indexes', headers = {} } = more
  return new Promise<Reply>((resolve, reject) => {
    const sent = requestPlain(`${gateway.url}${path}`, {
      method,
      headers: { host, authorization: `Bearer ${key}`, ...headers },
    })
    sent.once('error', reject)
    sent.once('response', (answer) => {
      let text = ''
      answer.on('data', (piece) => {
        text += String(piece)
      })
      answer.once('end', () => {
        const body: { code?: string } = text === '' ? {} : JSON.parse(text)
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, code: body.code })
      })
    })
    sent.end()
  })
}

test('a host of a project takes keys of that project only, a host that is none of ours nothing', async () => {
  const cases = [
    ['eu.flapjack.example', shop, 200],
    ['EU.flapjack.example:7700', other, 200],
    [`${shop.ref}.eu.flapjack.example`, shop, 200],
    [`${shop.ref}.eu.flapjack.example.`, shop, 200],
    [`${shop.ref}.eu.flapjack.example`, other, 421],
    ['search.shop.example:443', shop, 200],
    ['Search.Shop.example', other, 421],
    ['zzzzzzzzzzzz.eu.flapjack.example', shop, 421],
    [`${shop.ref}.us.flapjack.example`, shop, 421],
    ['flapjack.example', shop, 421],
    ['127.0.0.1', shop, 421],
  ] as const
  for (const [host, { masterKey }, status] of cases) {
    const reply = await call(strict, host, masterKey)
    assert.deepEqual([reply.status, reply.code], [status, status === 200 ? undefined : 'misdirected_request'], host)
  }
  assert.equal((await call(strict, '10.0.0.1', 'none', { path: '/health' })).status, 200, 'whoever balances load')
  assert.equal((await call(strict, '10.0.0.1', 'none', { path: '/' })).status, 421)
})

test('without a base domain every host is taken, and those of projects are theirs', async () => {
  assert.equal((await call(open, 'anything.example', other.masterKey)).status, 200)
  assert.equal((await call(open, 'search.shop.example', other.masterKey)).status, 421)
  await set(shop, { hosts: [] })
  await open.admin({ kind: 'resync' })
  assert.equal((await call(open, 'search.shop.example', other.masterKey)).status, 200)
})

test('browsers let pages of the origins that a project lists read its answers, and no others', async () => {
  const origin = 'https://shop.example'
  const allowed = async (project: Project, from: string, more: object = {}) => {
    const reply = await call(open, 'localhost', project.masterKey, { headers: { origin: from }, ...more })
    return [reply.headers['access-control-allow-origin'], reply.headers.vary]
  }
  assert.deepEqual(await allowed(shop, origin), ['*', undefined])
  await set(shop, { corsOrigins: [origin], hosts: ['search.shop.example'] })
  await open.admin({ kind: 'resync' })
  assert.deepEqual(await allowed(shop, origin), [origin, 'Origin'])
  assert.deepEqual(await allowed(shop, origin, { path: '/indexes/nowhere' }), [origin, 'Origin'], 'errors too')
  assert.deepEqual(await allowed(shop, 'https://evil.example'), [undefined, 'Origin'])
  assert.deepEqual(await allowed(other, 'https://evil.example'), ['*', undefined])

  const ask = (host: string, from: string) =>
    call(open, host, '', {
      method: 'OPTIONS',
      headers: { origin: from, 'access-control-request-method': 'POST' },
    })
  const known = await ask('search.shop.example', origin)
  assert.deepEqual([known.status, known.headers['access-control-allow-origin']], [200, origin])
  assert.equal(
    (await ask('search.shop.example', 'https://evil.example')).headers['access-control-allow-origin'],
    undefined,
  )
  // Whose project it is about is not known before a key comes.
  assert.equal((await ask('localhost', origin)).headers['access-control-allow-origin'], '*')
})

test('answers are given over TLS 1.2 and newer, and a renewed certificate is used for new connections', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-tls-'))
  const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
  const install = async (name: string) => {
    await copyFile(join(certificates, `${name}.key.pem`), files.keyFile)
    await copyFile(join(certificates, `${name}.cert.pem`), files.certFile)
  }
  await writeFile(files.certFile, 'nothing')
  await writeFile(files.keyFile, 'nothing')
  await assert.rejects(startGateway({ ...base, metrics: new Registry(), tls: files }), CertificateUnusable)
  await install('one')
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 20), signal),
  }
  const gateway = await startGateway({ ...base, clock, metrics: new Registry(), tls: files })
  try {
    const { hostname, port, protocol } = new URL(gateway.url)
    assert.equal(protocol, 'https:')
    const subject = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false })
        socket.once('error', reject)
        socket.once('secureConnect', () => {
          resolve(String(socket.getPeerCertificate().subject.CN))
          socket.destroy()
        })
      })
    const health = await new Promise<number | undefined>((resolve, reject) => {
      const sent = request(`${gateway.url}/health`, { rejectUnauthorized: false, agent: false }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      sent.once('error', reject)
      sent.end()
    })
    assert.equal(health, 200)
    assert.equal(await subject(), 'one.test')
    await install('two')
    while ((await subject()) !== 'two.test') await systemClock.sleep(10)
    // Half of a renewal: the one in use goes on.
    await writeFile(files.certFile, 'half')
    for (let count = 0; count < 10; count += 1) assert.equal(await subject(), 'two.test')
    await assert.rejects(
      new Promise((resolve, reject) => {
        const options = { maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1', rejectUnauthorized: false } as const
        const socket = connect({ host: hostname, port: Number(port), ciphers: 'DEFAULT@SECLEVEL=0', ...options })
        socket.once('secureConnect', resolve)
        socket.once('error', reject)
      }),
      'TLS 1.1 is refused',
    )
  } finally {
    await gateway.close(0)
    await rm(folder, { recursive: true, force: true })
  }
})

test('over HTTP/2 hosts, credentials, bodies and errors are as over HTTP/1.1', async () => {
  const tls = { certFile: join(certificates, 'one.cert.pem'), keyFile: join(certificates, 'one.key.pem') }
  const hosts = { baseDomain: 'flapjack.example', region: 'eu' }
  const gateway = await startGateway({
    ...base,
    metrics: new Registry(),
    tls,
    hosts,
    limits: { searchBytesMax: 1_000 },
  })
  const session = connectHttp2(gateway.url, { rejectUnauthorized: false })
  const ask = (headers: OutgoingHttpHeaders, body?: string) =>
    new Promise<readonly [number, string | undefined]>((resolve, reject) => {
      const sent = { ':authority': 'eu.flapjack.example', authorization: `Bearer ${shop.masterKey}`, ...headers }
      const asked = session.request(sent, { endStream: false })
      let status = 0
      let text = ''
      asked.once('error', reject)
      asked.once('response', (head) => {
        status = head[':status'] ?? 0
      })
      asked.on('data', (piece) => {
        text += String(piece)
      })
      asked.once('end', () => resolve([status, text.startsWith('{') ? JSON.parse(text).code : undefined]))
      asked.end(body)
    })
  const post = { ':method': 'POST', 'content-type': 'application/json' }
  try {
    assert.deepEqual(await ask({ ':path': '/health' }), [200, undefined])
    assert.deepEqual(await ask({ ':path': '/indexes' }), [200, undefined])
    assert.deepEqual(await ask({ ':path': '/indexes', ':authority': 'x.example' }), [421, 'misdirected_request'])
    const foreign = `${other.ref}.eu.flapjack.example`
    assert.deepEqual(await ask({ ':path': '/indexes', ':authority': foreign }), [421, 'misdirected_request'])
    assert.deepEqual(await ask({ ':path': '/indexes', host: 'x.example' }), [400, 'bad_request'], 'two hosts')
    assert.deepEqual(await ask({ ':path': '/indexes', authorization: 'Bearer no' }), [403, 'invalid_api_key'])
    assert.deepEqual(await ask({ ':path': '/indexes', 'x-meili-api-key': 'no' }), [400, 'ambiguous_credentials'])
    assert.deepEqual(await ask({ ':path': '/nothing' }), [404, undefined])
    const noNode = [503, 'miroir_no_quorum']
    assert.deepEqual(await ask({ ...post, ':path': '/indexes' }, '{"uid":"books"}'), noNode, 'the body was read')
    assert.deepEqual(await ask({ ...post, ':path': '/indexes' }, '{"uid":'), [400, 'malformed_payload'])
    const large = JSON.stringify({ q: 'x'.repeat(2_000) })
    assert.deepEqual(await ask({ ...post, ':path': '/multi-search' }, large), [413, 'payload_too_large'])
    assert.deepEqual(await ask({ ':path': '/health' }), [200, undefined])
  } finally {
    session.destroy()
    await gateway.close(0)
  }
})

test('plain HTTP beside TLS is sent to HTTPS with its path and method', async () => {
  const redirect = await startSecureRedirect({ host: '127.0.0.1', port: 0, securePort: 7743 })
  try {
    const location = (host: string) =>
      new Promise((resolve, reject) => {
        getPlain(`${redirect.url}/indexes/a/search?q=x`, { headers: { host } }, (answer) => {
          answer.resume()
          resolve([answer.statusCode, answer.headers.location])
        }).once('error', reject)
      })
    assert.deepEqual(await location('a.example:80'), [308, 'https://a.example:7743/indexes/a/search?q=x'])
    assert.deepEqual(await location('a b'), [400, undefined])
  } finally {
    await redirect.close()
  }
})
