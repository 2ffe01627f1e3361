/**
 * The life of a node on a server of a cloud: the provider is a stand-in, whose servers run real engines, with the key that they
 * were told at their first start, at loopback addresses of their own.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { request } from 'undici'
import { loadConfig } from '../../src/config/config.ts'
import { createHttpEngine } from '../../src/engine/http-engine.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { openDrivers } from '../../src/orchestrator/fleet/drivers.ts'
import { silentFleetMetrics } from '../../src/orchestrator/fleet/fleet-metrics.ts'
import { startFleetKeeper } from '../../src/orchestrator/fleet/keeper.ts'
import { healingRules } from '../../src/orchestrator/healing/healing.ts'
import { requestedMachine } from '../../src/store/fleet.ts'
import { healthRules } from '../../src/topology/health-states.ts'
import { startHetzner } from '../support/hetzner-server.ts'

const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')
const folder = mkdtempSync(join(tmpdir(), 'flapjack-cloud-'))
const engines = new Map<number, ChildProcess>()

const cloud = await startHetzner({
  addressOf: (id) => `127.0.8.${id}`,
  onMade({ id, user_data: told }, address) {
    const key = /MEILI_MASTER_KEY=([0-9a-f]+)/.exec(String(told))?.[1]
    assert(key)
    const args = [launcher, 'engine', '--data-dir', join(folder, String(id)), '--http-addr', `${address}:7700`]
    const env = { ...process.env, MEILI_MASTER_KEY: key }
    engines.set(Number(id), spawn(process.execPath, args, { stdio: 'ignore', env }))
  },
  onGone: (id) => engines.get(id)?.kill('SIGKILL'),
})
const file = join(folder, 'flapjack.yaml')
writeFileSync(
  file,
  JSON.stringify({
    fleet: {
      mode: 'act',
      driver: 'hetzner',
      hetzner: {
        ...{ token: cloud.token, api_url: cloud.apiUrl, network_id: 7 },
        ...{ engine_url: 'https://example.org/engine', engine_sha256: 'ab'.repeat(32) },
      },
    },
  }),
)
const { fleet: config } = loadConfig({ env: {}, flags: {}, file })
const store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
const { catalogue, fleet, replicas, moves } = store
const keeper = startFleetKeeper({
  ...{ worker: 'w', fleet, catalogue, replicas, moves, clock: systemClock, random: seededRandom(1) },
  log: { info: () => undefined, warn: () => undefined },
  drivers: openDrivers({ config, engine: 'embedded', nodes: () => catalogue.nodes(), local: undefined, env: {} }),
  rules: {
    ...{ mode: 'act', probeMs: 100, probeTimeoutMs: 1_000, sampleMs: 200, provisionMsMax: 120_000, scaling: null },
    health: { ...healthRules, startMsMax: 60_000 },
    healing: { ...healingRules, restartsMax: 0 },
  },
  keyOf: (node) => store.localSecret(node).toString('hex'),
  openEngine: createHttpEngine,
  metrics: silentFleetMetrics,
})
after(async () => {
  await keeper.stop()
  for (const engine of engines.values()) engine.kill('SIGKILL')
  await cloud.close()
  rmSync(folder, { recursive: true, force: true })
})

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + 90_000; !(await isSo()); ) {
    if (Date.now() > ends) assert.fail(`${what}: ${JSON.stringify(await fleet.events(null, 50), null, 1)}`)
    await systemClock.sleep(50)
  }
}
const machine = async () => (await fleet.machines())[0]
const nodes = () => catalogue.nodes()

async function statusOf(url: string, key: string | null): Promise<number> {
  const { statusCode, body } = await request(`${url}/indexes`, { headers: { authorization: `Bearer ${key}` } })
  await body.dump()
  return statusCode
}

test('a server becomes a node when its engine proved itself, with a key of its own and a load that is known', async () => {
  const now = Date.now()
  await fleet.request(
    requestedMachine({ node: 'h1', driver: 'hetzner', engine: 'embedded', region: 'local', group: 0 }, now),
    { node: 'h1', at: now, kind: 'wish', text: 'one more' },
  )
  await until('the node', async () => (await machine())?.health === 'up')
  const [node] = await nodes()
  assert.equal(node?.url, 'http://127.0.8.41:7700')
  assert.equal(await statusOf(node.url, node.key), 200)
  assert.equal(await statusOf(node.url, 'another key'), 403)
  await until('a sample', async () => (await fleet.latest()).get('h1') !== undefined)
  const sample = (await fleet.latest()).get('h1')
  assert.deepEqual([sample?.indexes, sample?.documents], [0, 0])
})

test('a server that is gone is replaced by another one, where the node goes on under its key', async () => {
  const [before] = await nodes()
  engines.get(41)?.kill('SIGKILL')
  await until('the replacement', async () => (await machine())?.generation === 2 && (await machine())?.health === 'up')
  const [node] = await nodes()
  assert.deepEqual([node?.url, node?.key], ['http://127.0.8.42:7700', before?.key])
  assert.equal(await statusOf(node?.url ?? '', node?.key ?? null), 200)
  assert.deepEqual(
    cloud.servers().map(({ id }) => id),
    [42],
  )
})

test('a node that is given back leaves nothing that is paid for', async () => {
  await fleet.wish('h1', 'drain', { node: 'h1', at: Date.now(), kind: 'wish', text: 'drain' })
  await until('the end', async () => (await machine())?.life === 'released')
  assert.deepEqual([await nodes(), cloud.servers()], [[], []])
})
