/**
 * A fleet that looks after itself: one process with engines of its own, whose fleet grows by a limit of size, and whose
 * engines are stopped, wiped and broken. Nothing but the program's own commands and its public API is used to look.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Meilisearch } from 'meilisearch'
import { type RunningFlapjack, startFlapjack } from './server.ts'

const config = `
fleet:
  mode: act
  driver: local
  probe_ms: 300
  probe_timeout_ms: 1500
  sample_ms: 500
  down_after: 6
  start_ms_max: 15s
  lost_after_ms: 2m
  healing:
    bad_percent_max: 60
    restarts_max: 1
    restart_pause_ms: 1s
    cool_down_ms: 1s
  scaling:
    data_bytes_max: 2 MB
    hot_ms: 1s
    target_percent: 90
    nodes_max: 2
    cool_down_ms: 2m
`

interface NodeEvent {
  readonly kind: string
  readonly text: string
}

const documentsPerIndex = 800
const stepMsMax = 90_000

let server: RunningFlapjack
let client: Meilisearch
let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'flapjack-orchestrator-'))
  const file = join(folder, 'flapjack.yaml')
  await writeFile(file, config)
  await start()
})
async function start(): Promise<void> {
  server = await startFlapjack({ folder: join(folder, 'data'), args: ['--config', join(folder, 'flapjack.yaml')] })
  client = new Meilisearch({ host: server.url, apiKey: server.masterKey })
}
after(async () => {
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + stepMsMax; !(await isSo().catch(() => false)); ) {
    if (Date.now() > ends) {
      assert.fail(`${what} takes too long:\n${await server.cli('fleet', 'events')}\n${server.output()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
}

const ask = async <T>(...args: string[]): Promise<T> => JSON.parse(await server.cli(...args, '--json')) as T
/** What happened to a node, newest first, each as `what: text`. */
const storyOf = async (node: string) =>
  (await ask<readonly NodeEvent[]>('node', 'events', node)).map(({ kind, text }) => `${kind}: ${text}`)
/** It happened, and the node was well again behind that. */
const cameThrough = async (node: string, what: RegExp) => {
  const story = await storyOf(node)
  const place = story.findIndex((line) => what.test(line))
  const wellAt = story.findIndex((line) => /^health: \w+ → up/.test(line))
  return wellAt >= 0 && wellAt < place
}
const placeOf = async (index: string) => {
  const { replicas } = await ask<{ readonly replicas: readonly { readonly node: string; readonly state: string }[] }>(
    'index',
    'show',
    index,
  )
  return replicas.filter(({ state }) => state === 'active').map(({ node }) => node)
}
const pidOf = async (node: string): Promise<number> => {
  const record: unknown = JSON.parse(await readFile(join(folder, 'data', 'engines', node, 'process.json'), 'utf8'))
  assert(typeof record === 'object' && record !== null && 'pid' in record && typeof record.pid === 'number')
  return record.pid
}
const databaseOf = (node: string) => join(folder, 'data', 'engines', node, 'db')

/** Every document of every index can be found. */
async function checkWhole(): Promise<void> {
  for (const index of ['books', 'films']) {
    const { estimatedTotalHits } = await client.index(index).search('everyone', { limit: 1 })
    assert.equal(estimatedTotalHits, documentsPerIndex)
  }
}

test('a fleet grows when its node is too large, and an index moves to the new node while it serves', async () => {
  for (const index of ['books', 'films']) {
    const documents = Array.from({ length: documentsPerIndex }, (_, id) => {
      return { id, title: `everyone ${index} ${id} ${id * 7919}`, text: `word${id % 97} `.repeat(60) }
    })
    await client.index(index).addDocuments(documents, { primaryKey: 'id' }).waitTask({ timeout: stepMsMax })
  }
  await until('the second node', () => cameThrough('n2', /bootstrapping → active/))
  await until('the move', async () => {
    await checkWhole()
    const places = await Promise.all(['books', 'films'].map(placeOf))
    return places.flat().sort().join() === 'n1,n2'
  })
  assert.ok((await storyOf('n1')).some((line) => /^scale: \w+ goes to n2: its data/.test(line)))
})

test('a node that hangs is started again', async () => {
  const pid = await pidOf('n2')
  process.kill(pid, 'SIGSTOP')
  await until('the restart', () => cameThrough('n2', /^restart: it is started again/))
  assert.notEqual(await pidOf('n2'), pid)
  await until('the search', async () => checkWhole().then(() => true))
})

test('a node whose disk was lost is filled again', async () => {
  await rename(databaseOf('n2'), `${databaseOf('n2')}.lost`)
  process.kill(await pidOf('n2'), 'SIGKILL')
  await until('the rebuilding', () => cameThrough('n2', /^health: its disk is new/))
  await checkWhole()
})

const countReplacements = async () =>
  (await storyOf('n2')).filter((line) => /^replace: it has a new machine/.test(line)).length

test('a node that does not start any more gets a new machine, which is filled from the journal', async () => {
  const before = await pidOf('n2')
  const replacements = await countReplacements()
  await rename(databaseOf('n2'), `${databaseOf('n2')}.broken`)
  await writeFile(databaseOf('n2'), 'no folder')
  process.kill(before, 'SIGKILL')
  await until('the replacement', async () => (await countReplacements()) > replacements)
  await until('the new machine', () => cameThrough('n2', /^replace: it has a new machine/))
  await until('the rebuilding', async () => checkWhole().then(() => true))
  assert.equal(await readFile(`${databaseOf('n2')}.replaced`, 'utf8'), 'no folder')
})

test('an engine that does not start with the program does not keep the others from it, and is replaced', async () => {
  const replacements = await countReplacements()
  await server.stop()
  await rm(databaseOf('n2'), { recursive: true })
  await writeFile(databaseOf('n2'), 'no folder')
  await start()
  const index = (await placeOf('books')).includes('n1') ? 'books' : 'films'
  assert.equal((await client.index(index).search('everyone', { limit: 1 })).hits.length, 1)
  await until('the replacement', async () => (await countReplacements()) > replacements)
  await until('the rebuilding', async () => checkWhole().then(() => true))
})
