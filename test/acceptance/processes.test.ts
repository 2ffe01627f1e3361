/** More than one process: gateways that share a port, gateways beside a running server, and the demo of a first start. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { after, before, test } from 'node:test'
import { Meilisearch } from 'meilisearch'
import { launcher, type RunningFlapjack, readUrl, startFlapjack } from './server.ts'

let flapjack: RunningFlapjack
before(async () => {
  flapjack = await startFlapjack({ empty: false, args: ['--gateways', '2'] })
})
after(() => flapjack.stop())

/** A fresh connection each time, so that every process gets its turn. */
async function healthyAnswers(count: number): Promise<number> {
  let healthy = 0
  for (let turn = 0; turn < count; turn += 1) {
    const answer = await fetch(`${flapjack.url}/health`, { headers: { connection: 'close' } }).catch(() => undefined)
    if (answer?.status === 200) healthy += 1
  }
  return healthy
}

function clientOf(url: string): Meilisearch {
  return new Meilisearch({ host: url, apiKey: flapjack.masterKey })
}

test('the data set of a first start can be searched, with a typo', async () => {
  const films = clientOf(flapjack.url).index('movies')
  const deadline = performance.now() + 60_000
  for (;;) {
    const { numberOfDocuments, isIndexing } = await films
      .getStats()
      .catch(() => ({ numberOfDocuments: 0, isIndexing: true }))
    if (numberOfDocuments === 3201 && !isIndexing) break
    assert(performance.now() < deadline, `${numberOfDocuments} films after a minute`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { hits } = await films.search('jurasic park', { limit: 3 })
  assert(
    hits.some(({ Title }) => String(Title).startsWith('Jurassic Park')),
    JSON.stringify(hits),
  )
  const { facetDistribution } = await films.search('', { facets: ['Major Genre'] })
  assert((facetDistribution?.['Major Genre']?.Comedy ?? 0) > 100)
})

test('gateways that share a port answer alike, and one that is killed is replaced', async () => {
  assert.equal(await healthyAnswers(10), 10)
  const gateways = gatewayProcesses()
  assert.equal(gateways.length, 2)
  process.kill(gateways[0]!, 'SIGKILL')
  const deadline = performance.now() + 20_000
  for (;;) {
    const now = gatewayProcesses()
    if (now.length === 2 && !now.includes(gateways[0]!) && (await healthyAnswers(10)) === 10) break
    assert(performance.now() < deadline, 'no other process came')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
})

test('a gateway beside a running server answers for the same projects, and forgets a revoked key within a second', async () => {
  const args = ['serve', '--role', 'gateway', '--json', '--data-dir', flapjack.folder, '--http-addr', '127.0.0.1:0']
  const child = spawn(process.execPath, [launcher, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)))
  try {
    const url = await readUrl(child, ended, () => '')
    const key = await clientOf(flapjack.url).createKey({ actions: ['search'], indexes: ['*'], expiresAt: null })
    const beside = new Meilisearch({ host: url, apiKey: key.key })
    const deadline = performance.now() + 5000
    while (!(await mayRead(beside))) assert(performance.now() < deadline, 'the new key is not known')
    await clientOf(flapjack.url).deleteKey(key.uid)
    const revokedAt = performance.now()
    while (await mayRead(beside)) assert(performance.now() - revokedAt < 1000, 'the revoked key still reads')
  } finally {
    child.kill('SIGTERM')
    assert.equal(await ended, 0)
  }
})

async function mayRead(client: Meilisearch): Promise<boolean> {
  return client
    .index('movies')
    .search('star', { limit: 1 })
    .then(
      () => true,
      () => false,
    )
}

function gatewayProcesses(): readonly number[] {
  return execFileSync('ps', ['-axo', 'pid=,ppid=,command='], { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null && Number(match[2]) === flapjack.pid && match[3]!.includes('--role gateway'))
    .map((match) => Number(match![1]))
}
