import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import pino from 'pino'
import { request } from 'undici'
import { systemClock } from '../lib/clock.ts'
import { seededRandom } from '../lib/random.ts'
import type { Node } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { EngineUnavailable, findMeilisearch, type LocalNodeOptions, startLocalNode } from './local-driver.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flapjack-driver-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Takes the options of Meilisearch, and answers `/health` and what it was started with. */
const standIn = `#!${process.execPath}
const { createServer } = require('node:http')
const address = process.argv[process.argv.indexOf('--http-addr') + 1]
createServer((_, response) => {
  response.end(JSON.stringify({ args: process.argv.slice(2), env: process.env }))
}).listen(Number(address.split(':')[1]), '127.0.0.1')
`

function fleet() {
  const nodes = new Map<string, Node>()
  let told = () => {}
  return {
    nodes: async () => [...nodes.values()],
    putNode: async ({ group = 0, capacity = null, ...node }: Parameters<Catalogue['putNode']>[0]) => {
      const stored: Node = { ...node, group, capacity, state: 'active' }
      nodes.set(node.id, stored)
      told()
      return stored
    },
    toldAgain: () =>
      new Promise<void>((resolve) => {
        told = resolve
      }),
  }
}

function options(catalogue: ReturnType<typeof fleet>): LocalNodeOptions {
  const bin = join(folder, 'stand-in')
  writeFileSync(bin, standIn)
  chmodSync(bin, 0o755)
  return {
    id: 'm1',
    group: 1,
    engine: 'meilisearch',
    folder: join(folder, 'm1'),
    self: { command: process.execPath, args: [] },
    bin,
    indexingMemoryBytes: 256 * 2 ** 20,
    allowedNetworks: [],
    env: { PATH: process.env.PATH, MEILI_DB_PATH: '/somewhere/else', FLAPJACK_HTTP_ADDR: 'ours', DATABASE_URL: 'ours' },
    catalogue,
    random: seededRandom(1),
    clock: systemClock,
    logger: pino({ level: 'silent' }),
  }
}

test('an engine is registered with a key of its own, and does not inherit what was meant for us', async () => {
  const catalogue = fleet()
  const child = await startLocalNode(options(catalogue))
  const [node] = await catalogue.nodes()
  assert(node?.key)
  const { body } = await request(node.url)
  const { args, env } = JSON.parse(await body.text())
  assert.equal(node.group, 1)
  assert.equal(env.MEILI_MASTER_KEY, node.key)
  assert(!args.includes(node.key), 'other users of the machine can see arguments')
  assert.deepEqual([env.MEILI_DB_PATH, env.FLAPJACK_HTTP_ADDR, env.DATABASE_URL], [undefined, undefined, undefined])
  assert(args.join(' ').includes('--max-indexing-memory 256MiB'))
  await child.stop()
})

test('an engine that dies serves again, with the same key, and the catalogue learns its address', async () => {
  const catalogue = fleet()
  const child = await startLocalNode(options(catalogue))
  const [before] = await catalogue.nodes()
  const toldAgain = catalogue.toldAgain()
  assert(child.pid)
  process.kill(child.pid, 'SIGKILL')
  await toldAgain
  const [after] = await catalogue.nodes()
  assert.equal(after?.key, before?.key)
  assert(after)
  const { statusCode, body } = await request(`${after.url}/health`)
  await body.dump()
  assert.equal(statusCode, 200)
  await child.stop()
})

test('without the program of an engine, the refusal says how to name it', () => {
  assert.throws(
    () => findMeilisearch(null, folder),
    (error) => error instanceof EngineUnavailable && /--engine-bin/.test(error.message),
  )
  assert.throws(() => findMeilisearch(join(folder, 'none'), ''), EngineUnavailable)
  writeFileSync(join(folder, 'meilisearch'), '')
  chmodSync(join(folder, 'meilisearch'), 0o755)
  assert.equal(findMeilisearch(null, `/nowhere:${folder}`), join(folder, 'meilisearch'))
  assert.equal(readFileSync(findMeilisearch(null, folder), 'utf8'), '')
})
