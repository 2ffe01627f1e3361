/** The program as a person meets it: first and second start, what it prints, how it refuses, what it leaves behind. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Meilisearch } from 'meilisearch'
import { identityOf, parseIdentity } from '../../src/orchestrator/process-identity.ts'
import { type RunningFlapjack, runFlapjack, startFlapjack } from './server.ts'

const args = process.env.MEILISEARCH_BIN === undefined ? [] : ['--engine', 'meilisearch']

let folder: string
let flapjack: RunningFlapjack

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'flapjack-up-'))
  flapjack = await startFlapjack({ folder, args })
})
after(async () => {
  await flapjack.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('the master key that it was given opens the first project, as with meilisearch --master-key', async () => {
  const client = new Meilisearch({ host: flapjack.url, apiKey: flapjack.masterKey })
  const { results } = await client.getKeys()
  assert.deepEqual(
    results.map(({ name }) => name),
    ['Default Search API Key', 'Default Admin API Key', 'Default Read-Only Admin API Key', 'Default Chat API Key'],
  )
})

test('a second start on the same folder is refused with exit code 4 and the id of the owner', async () => {
  const { code, stderr } = await runFlapjack(['up', '--data-dir', folder, '--http-addr', '127.0.0.1:0'])
  assert.equal(code, 4)
  assert(stderr.includes(String(flapjack.pid)), stderr)
})

test('a port in use is refused with exit code 5 and its number, and nothing is left running', async () => {
  const blocker = createServer()
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
  const address = blocker.address()
  assert(address !== null && typeof address === 'object')
  const other = mkdtempSync(join(tmpdir(), 'flapjack-port-'))
  try {
    const { code, stderr } = await runFlapjack(['up', '--data-dir', other, '--http-addr', `127.0.0.1:${address.port}`])
    assert.equal(code, 5)
    assert(stderr.includes(String(address.port)), stderr)
    assert(!existsSync(join(other, 'flapjack.pid')))
  } finally {
    blocker.close()
    rmSync(other, { recursive: true, force: true })
  }
})

test('wrong options and variables are all told at once, with exit code 2', async () => {
  const { code, stderr } = await runFlapjack(['up', '--http-addr', 'nowhere', '--gateways', '0'], {
    FLAPJACK_HTTP_ADR: 'x',
  })
  assert.equal(code, 2)
  for (const mistake of ['--http-addr', '--gateways', 'FLAPJACK_HTTP_ADR']) assert(stderr.includes(mistake), stderr)
})

test('an unknown command or option ends with exit code 2, and --help with 0 and examples', async () => {
  assert.equal((await runFlapjack(['upp'])).code, 2)
  assert.equal((await runFlapjack(['up', '--nonsense'])).code, 2)
  const help = await runFlapjack(['up', '--help'])
  assert.equal(help.code, 0)
  assert(help.stdout.includes('Examples:'), help.stdout)
})

test('commands say that nothing runs in a folder, with exit code 8', async () => {
  const nowhere = join(folder, 'nothing-here')
  for (const command of [['status'], ['project', 'list'], ['key', 'list', 'default']]) {
    const { code, stdout } = await runFlapjack([...command, '--json', '--data-dir', nowhere])
    assert.equal(code, 8, command.join(' '))
    assert.equal(JSON.parse(stdout).error.code, 'notFound')
  }
})

test('a project made on the command line works at once, with its own keys, and does not see the first one', async () => {
  const created = JSON.parse(await flapjack.cli('project', 'create', 'shop', '--json'))
  assert.match(created.ref, /^[a-z][a-z0-9]{11}$/)
  assert.equal(created.keys.length, 4)
  const shop = new Meilisearch({ host: flapjack.url, apiKey: created.masterKey })
  await waitUntil(async () => (await shop.getRawIndexes()).total === 0)
  await new Meilisearch({ host: flapjack.url, apiKey: flapjack.masterKey }).createIndex('mine').waitTask()
  assert.equal((await shop.getRawIndexes()).total, 0)
  const shown = JSON.parse(await flapjack.cli('project', 'show', created.ref, '--json'))
  assert.equal(shown.masterKey, created.masterKey)
  const again = await runFlapjack(['project', 'create', 'shop', '--data-dir', folder])
  assert.equal(again.code, 1)
})

test('a key that is revoked on the command line is refused within a second', async () => {
  const key = JSON.parse(await flapjack.cli('key', 'create', 'default', '--actions', 'search,stats.get', '--json'))
  const client = new Meilisearch({ host: flapjack.url, apiKey: key.key })
  await waitUntil(() => client.getStats().then(() => true))
  await flapjack.cli('key', 'revoke', 'default', key.uid)
  const revokedAt = performance.now()
  await waitUntil(() =>
    client.getStats().then(
      () => false,
      () => true,
    ),
  )
  assert(performance.now() - revokedAt < 1000)
})

test('an access token and the state of a project made on the command line hold within a second', async () => {
  const { key } = JSON.parse(await flapjack.cli('key', 'create', 'default', '--preset', 'read-write', '--json'))
  const token = (await flapjack.cli('token', 'create', 'default', '--actions', 'stats.get,indexes.create')).trim()
  const may = async (credential: string, method = 'GET', path = '/stats') => {
    const headers = { authorization: `Bearer ${credential}`, 'content-type': 'application/json' }
    const init = method === 'POST' ? { method, headers, body: '{"uid":"of-a-token"}' } : { headers }
    return (await fetch(`${flapjack.url}${path}`, init)).status
  }
  await waitUntil(async () => (await may(key)) === 200)
  assert.equal(await may(token), 200)
  await flapjack.cli('project', 'state', 'default', 'read_only')
  await waitUntil(async () => (await may(token, 'POST', '/indexes')) === 403)
  assert.equal(await may(token), 200)
  await flapjack.cli('project', 'state', 'default', 'active')
  await waitUntil(async () => (await may(token, 'POST', '/indexes')) === 202)
  // The sealing key is replaced under the running server.
  await flapjack.cli('secrets', 'rotate')
  assert.equal(await may(token), 200)
  const wrong = { FLAPJACK_SEALING_KEY: '5e'.repeat(32) }
  const refused = await runFlapjack(
    ['key', 'create', 'default', '--preset', 'search-only', '--data-dir', folder],
    wrong,
  )
  assert.equal(refused.code, 3, refused.stderr)
  assert.match(refused.stderr, /sealed under another key/)
  await flapjack.cli('token', 'revoke', 'default', '--all')
  await waitUntil(async () => (await may(token)) === 403)
  assert.equal(await may(key), 200)
  assert.equal((await runFlapjack(['key', 'create', 'default', '--data-dir', folder])).code, 2)
})

test('status tells what runs', async () => {
  const status = JSON.parse(await flapjack.cli('status', '--json'))
  assert.equal(status.url, flapjack.url)
  assert.equal(status.pid, flapjack.pid)
  assert(status.isServing)
  assert.equal(status.nodes.length, 1)
  assert.deepEqual(
    status.gateways.map(({ address }: { address: string }) => address),
    [flapjack.url],
  )
  assert(status.nodes[0].isHealthy)
})

test('doctor finds nothing wrong with a running server', async () => {
  const { isGood, findings } = JSON.parse(await flapjack.cli('doctor', '--json', '--http-addr', '127.0.0.1:0'))
  assert(isGood, JSON.stringify(findings))
})

// How long a start takes, `npm run bench up` measures.
test('Ctrl-C stops everything with exit code 0, and the second start serves what was there', async () => {
  const client = new Meilisearch({ host: flapjack.url, apiKey: flapjack.masterKey })
  await client
    .index('kept')
    .addDocuments([{ id: 1, title: 'kept' }])
    .waitTask()
  const engine = parseIdentity(
    readFileSync(join(folder, 'engines', process.env.MEILISEARCH_BIN ? 'm1' : 'n1', 'process.json'), 'utf8'),
  )
  assert(engine)
  assert.equal(await flapjack.stop(), 0)
  assert.equal(identityOf(engine.pid)?.startedAt === engine.startedAt, false)
  flapjack = await startFlapjack({ folder, args })
  const again = new Meilisearch({ host: flapjack.url, apiKey: flapjack.masterKey })
  assert.equal((await again.index('kept').search('kept')).hits.length, 1)
})

test('another master key on a folder that has one is refused, with what to do', async () => {
  await flapjack.stop()
  const { code, stderr } = await runFlapjack([
    'up',
    '--data-dir',
    folder,
    '--http-addr',
    '127.0.0.1:0',
    '--master-key',
    'another-master-key',
  ])
  assert.equal(code, 2)
  assert(stderr.includes('another master key'), stderr)
  flapjack = await startFlapjack({ folder, args })
})

async function waitUntil(isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    if (await isTrue().catch(() => false)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('it did not become true within ten seconds')
}
