/** `flapjack fleet …`, `node restart` and `node events` over a store in memory. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { startHetzner } from '../../test/support/hetzner-server.ts'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import type { Machine } from '../store/fleet.ts'
import { runCommandLine } from './program.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-fleet-command-'))
after(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'flapjack.yaml')

let store: ReturnType<typeof openMemoryStore>
let epoch = 0
const machine: Machine = {
  ...{ node: 'n2', driver: 'local', life: 'active', engine: 'embedded', region: 'local', group: 0, generation: 1 },
  ...{ health: 'up', healthSince: 1_000, record: {}, wish: null, createdAt: 0 },
}
const sample = {
  ...{
    node: 'n2',
    at: 2_000,
    cpuPercent: 50,
    memoryBytes: 3e8,
    memoryBytesMax: 1e9,
    dataBytes: 4e6,
    diskBytesFree: 5e9,
  },
  ...{ diskBytesMax: 1e10, indexes: 2, documents: 9, searchesPerSecond: null, searchMsP95: null, probeMs: 1 },
}
beforeEach(async () => {
  writeFileSync(file, 'fleet:\n  driver: local\n  scaling:\n    data_bytes_max: 5 MB\n')
  store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  await store.catalogue.putNode({ id: 'n2', url: 'http://127.0.0.1:1', engine: 'embedded', region: 'local', key: null })
  epoch = (await store.fleet.lead('the-keeper', 'act', 60_000)) ?? 0
  const events = [{ node: 'n2', at: 1_000, kind: 'health', text: 'starting → up: it answers' }]
  await store.fleet.note(epoch, { machines: [machine], samples: [sample], events })
})

async function flapjack(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  let text = ''
  const stdout = {
    write: (written: string) => {
      text += written
    },
  }
  const never = () => Promise.reject(new Error('not asked for'))
  const code = await runCommandLine({
    args: [...args, '--config', file],
    env: {},
    ...{ stdout, stderr: stdout, version: '0' },
    programs: { up: never, serve: never, engine: never, openStore: async () => store },
    exitOf: () => undefined,
  })
  return { code, text }
}
async function answer(...args: readonly string[]): Promise<JsonObject> {
  const { code, text } = await flapjack(...args, '--json')
  const value = JSON.parse(text) as Json
  assert.ok(code === 0 && isObject(value), text)
  return value
}

/** The command has said so. */
async function wished(wish: string): Promise<void> {
  while ((await store.fleet.machines())[0]?.wish !== wish) await systemClock.sleep(1)
}

test('the state of the fleet shows who keeps it, and what each node carries of its limits', async () => {
  const { mode, keeper, halted, nodes } = await answer('fleet', 'status')
  assert.deepEqual([mode, keeper, halted], ['act', 'the-keeper', null])
  assert(Array.isArray(nodes) && isObject(nodes[0]) && isObject(nodes[0].load))
  assert.deepEqual([nodes[0].id, nodes[0].health, nodes[0].load.dataBytes], ['n2', 'up', 4_000_000])
  assert.deepEqual(nodes[0].usage, { what: 'its data', ratio: 0.8 })
  const { text } = await flapjack('fleet', 'status')
  assert.match(text, /n2 +local +up +0 +50 % +300 MB +4 MB +5\.0 GB +80 %/)
})

test('a list of nodes tells how their machines are', async () => {
  const { text } = await flapjack('node', 'list', '--json')
  const nodes = JSON.parse(text) as Json
  assert(Array.isArray(nodes) && isObject(nodes[0]) && isObject(nodes[0].machine) && isObject(nodes[0].load))
  assert.deepEqual([nodes[0].machine.health, nodes[0].load.cpuPercent], ['up', 50])
})

test('what an operator wants is left for the keeper, and stands among the events', async () => {
  assert.deepEqual(await answer('node', 'restart', 'n2'), { id: 'n2', wish: 'restart', isDone: false })
  assert.equal((await store.fleet.machines())[0]?.wish, 'restart')
  const { text } = await flapjack('node', 'events', 'n2')
  assert.match(text.split('\n')[1] ?? '', /n2 +wish +an operator wants: restart/)
  await answer('fleet', 'remove', 'n2')
  assert.equal((await store.fleet.machines())[0]?.wish, 'drain')
  assert.equal((await answer('fleet', 'add', '--group', '1')).id, 'n3')
  const added = (await store.fleet.machines()).find(({ node }) => node === 'n3')
  assert.deepEqual([added?.life, added?.driver, added?.group], ['requested', 'local', 1])
})

test('waiting for a restart ends when the node is well again, or tells why it cannot be', async () => {
  const waiting = flapjack('node', 'restart', 'n2', '--wait')
  await wished('restart')
  const later = Date.now() + 1_000
  await store.fleet.note(epoch, { machines: [{ ...machine, healthSince: later, record: { restarts: [later] } }] })
  assert.equal((await waiting).code, 0)
  const refused = flapjack('fleet', 'replace', 'n2', '--wait')
  await wished('replace')
  const at = Date.now() + 1_000
  await store.fleet.note(epoch, { events: [{ node: 'n2', at, kind: 'failure', text: 'its disk holds the only copy' }] })
  const { code, text } = await refused
  assert.deepEqual([code, /only copy/.test(text)], [1, true])
})

test('what cannot be is refused with what to do', async () => {
  const unknown = await flapjack('node', 'events', 'n9')
  assert.ok(unknown.code !== 0 && /node list/.test(unknown.text), unknown.text)
  writeFileSync(file, '')
  const driverless = await flapjack('fleet', 'add')
  assert.deepEqual([driverless.code, /fleet\.driver/.test(driverless.text)], [1, true])
  await store.fleet.resign('the-keeper')
  const kept = await flapjack('node', 'restart', 'n2')
  assert.deepEqual([kept.code, /FLAPJACK_FLEET_MODE/.test(kept.text)], [1, true])
  writeFileSync(file, 'fleet:\n  driver: hetzner\n  scaling:\n    idle_percent: 80\n')
  const { code, text } = await flapjack('fleet', 'status')
  assert.equal(code, 2)
  for (const path of ['fleet.hetzner.token', 'fleet.hetzner.engine_sha256', 'fleet.scaling.idle_percent']) {
    assert.ok(text.includes(path), text)
  }
})

test('a brake is released by a person', async () => {
  await store.fleet.note(epoch, { halted: '3 of 4 nodes do not answer' })
  assert.match((await flapjack('fleet', 'status')).text, /Brake +3 of 4 nodes do not answer; `flapjack fleet release`/)
  assert.deepEqual(await answer('fleet', 'release'), { released: '3 of 4 nodes do not answer' })
  assert.equal((await store.fleet.keeper())?.halted, null)
})

test('a check tells what the provider says, and fails when something is wrong', async () => {
  writeFileSync(file, '')
  const { driver, strays } = await answer('fleet', 'check')
  assert.deepEqual([driver, strays], ['static', []])
  const cloud = await startHetzner()
  try {
    const hetzner = {
      ...{ token: cloud.token, api_url: cloud.apiUrl, image: 'no-such-image' },
      ...{ engine_url: 'https://example.org/engine', engine_sha256: 'ab'.repeat(32) },
    }
    writeFileSync(file, JSON.stringify({ fleet: { driver: 'hetzner', hetzner } }))
    const { code, text } = await flapjack('fleet', 'check')
    assert.equal(code, 1)
    assert.match(text, /good +server type: is there/)
    assert.match(text, /BAD +image: there is no image `no-such-image`/)
  } finally {
    await cloud.close()
  }
  const gone = await flapjack('fleet', 'check')
  assert.deepEqual([gone.code, /did not answer/.test(gone.text), gone.text.includes(cloud.token)], [1, true, false])
})
