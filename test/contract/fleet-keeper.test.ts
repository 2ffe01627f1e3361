/** The keeper of a fleet over a store in memory, with a driver that does what it is told and engines that only answer. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { after, test } from 'node:test'
import { createHttpEngine } from '../../src/engine/http-engine.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import {
  DriverFailed,
  type MachineSpec,
  type NodeDriver,
  noFigures,
} from '../../src/orchestrator/drivers/node-driver.ts'
import { createStaticDriver } from '../../src/orchestrator/drivers/static-driver.ts'
import { silentFleetMetrics } from '../../src/orchestrator/fleet/fleet-metrics.ts'
import type { FleetRules } from '../../src/orchestrator/fleet/fleet-rules.ts'
import { startFleetKeeper } from '../../src/orchestrator/fleet/keeper.ts'
import { healingRules } from '../../src/orchestrator/healing/healing.ts'
import { type Machine, requestedMachine } from '../../src/store/fleet.ts'
import { healthRules } from '../../src/topology/health-states.ts'

const silent = { info: () => undefined, warn: () => undefined }
const ends: (() => Promise<void>)[] = []
after(async () => {
  for (const end of ends.reverse()) await end()
})

/** Answers every request alike: enough for probes, and no more than that for self-tests. */
async function startHollowEngine(): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((_, response) => response.end('{"status":"available"}'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert(address !== null && typeof address === 'object')
  ends.push(async () => {
    server.closeAllConnections()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  })
  return { url: `http://127.0.0.1:${address.port}`, server }
}

const nowhere = 'http://127.0.0.1:1'

class FakeDriver implements NodeDriver {
  readonly kind = 'hetzner'
  readonly can = { create: true, restart: true, replace: true, destroy: true }
  /** What it was asked for, in order. */
  readonly calls: string[] = []
  url: string | null = null
  /** What a replacement does besides. */
  onReplace: (signal: AbortSignal) => Promise<void> = async () => undefined
  async create({ node, generation }: MachineSpec) {
    this.calls.push(`create ${node} ${generation}`)
  }
  async start(node: string) {
    this.calls.push(`start ${node}`)
  }
  async stop(node: string) {
    this.calls.push(`stop ${node}`)
  }
  async restart(node: string) {
    this.calls.push(`restart ${node}`)
  }
  async replace({ node, generation }: MachineSpec, signal: AbortSignal) {
    this.calls.push(`replace ${node} ${generation}`)
    await this.onReplace(signal)
  }
  async destroy(node: string) {
    this.calls.push(`destroy ${node}`)
  }
  async describe(node: string) {
    return {
      node,
      state: this.url === null ? ('starting' as const) : ('running' as const),
      url: this.url,
      reason: null,
    }
  }
  list = async () => []
  figures = async () => noFigures
  check = async () => []
}

const quick: FleetRules = {
  ...{ mode: 'act', probeMs: 5, probeTimeoutMs: 500, sampleMs: 60_000, provisionMsMax: 60_000, scaling: null },
  health: { ...healthRules, lostAfterMs: 60_000, startMsMax: 30 },
  healing: { ...healingRules, restartsMax: 1, restartPauseMs: 10 },
}

function keep(
  store: Store,
  driver: FakeDriver,
  rules: Partial<FleetRules> = {},
  worker = 'w',
  clock: Clock = systemClock,
) {
  const { catalogue, fleet, replicas, moves } = store
  const fixed = createStaticDriver(() => catalogue.nodes())
  const keeper = startFleetKeeper({
    ...{ worker, fleet, catalogue, replicas, moves, clock, random: seededRandom(1), log: silent },
    rules: { ...quick, ...rules },
    drivers: {
      of: (kind) => (kind === 'hetzner' ? driver : kind === 'static' ? fixed : undefined),
      ...{ maker: driver, engine: 'meilisearch', region: 'local', nextId: () => 'h9' },
    },
    keyOf: (node) => `key of ${node}`,
    openEngine: createHttpEngine,
    metrics: silentFleetMetrics,
  })
  ends.push(() => keeper.stop())
  return keeper
}

/**
 * Nodes whose machines the driver made.
 *
 * @param first  what `h1` has of its own.
 */
async function openFleet(urls: Readonly<Record<string, string>>, first: Partial<Machine> = {}): Promise<Store> {
  const store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  const epoch = (await store.fleet.lead('maker', 'act', 60_000)) ?? 0
  for (const [id, url] of Object.entries(urls)) {
    await store.catalogue.putNode({ id, url, engine: 'meilisearch', region: 'local', key: null })
    if (!id.startsWith('h')) continue
    await store.fleet.note(epoch, {
      machines: [
        {
          ...{ node: id, driver: 'hetzner', life: 'active', engine: 'meilisearch', region: 'local', group: 0 },
          ...{ generation: 1, health: 'up', healthSince: Date.now(), record: {}, wish: null, createdAt: 0 },
          ...(id === 'h1' ? first : {}),
        },
      ],
    })
  }
  await store.fleet.resign('maker')
  return store
}

async function until(store: Store, what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await isSo()); ) {
    if (Date.now() > deadline) assert.fail(`${what}: ${JSON.stringify(await store.fleet.events(null, 50), null, 1)}`)
    await systemClock.sleep(5)
  }
}
const has = async (store: Store, kind: string, text: RegExp) =>
  (await store.fleet.events(null, 1_000)).some((event) => event.kind === kind && text.test(event.text))
const machineOf = async (store: Store, node: string) => (await store.fleet.machines()).find((one) => one.node === node)

test('a node that does not come back is started again, then replaced, and found at its new address', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: nowhere, h2: engine.url, h3: engine.url, h4: engine.url })
  driver.onReplace = async () => {
    driver.url = engine.url
  }
  keep(store, driver)
  await until(store, 'it is well again', async () => {
    const machine = await machineOf(store, 'h1')
    return machine?.generation === 2 && machine.health === 'up'
  })
  assert.deepEqual(driver.calls, ['restart h1', 'replace h1 2'])
  assert.equal((await machineOf(store, 'h1'))?.generation, 2)
  assert.equal((await store.catalogue.nodes()).find(({ id }) => id === 'h1')?.url, engine.url)
})

test('a keeper that dies within a replacement is followed by one that makes the same machine', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: nowhere, h2: engine.url, h3: engine.url, h4: engine.url })
  driver.onReplace = (signal) => systemClock.sleep(60_000, signal)
  const first = keep(store, driver, {}, 'first')
  await until(store, 'it is being replaced', () => driver.calls.includes('replace h1 2'))
  await first.stop()
  driver.onReplace = async () => {
    driver.url = engine.url
  }
  keep(store, driver, {}, 'second')
  await until(store, 'it is well again', async () => (await machineOf(store, 'h1'))?.health === 'up')
  assert.deepEqual(new Set(driver.calls), new Set(['restart h1', 'replace h1 2']))
})

test('a replacement that failed is given up when the node is up again', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: nowhere, h2: engine.url, h3: engine.url, h4: engine.url })
  driver.onReplace = async () => {
    driver.url = engine.url
    throw new DriverFailed('no room')
  }
  keep(store, driver)
  await until(store, 'it is given up', () => has(store, 'failure', /it is not replaced: it is up again/))
  const machine = await machineOf(store, 'h1')
  assert.deepEqual([machine?.record.replacing, machine?.health], [undefined, 'up'])
  assert.deepEqual(driver.calls, ['restart h1', 'replace h1 2'])
})

test('a disk that cannot be filled again by the time of a try is not ended', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const urls = { h1: nowhere, h2: engine.url, h3: engine.url, h4: engine.url }
  const store = await openFleet(urls, { health: 'down', record: { replacing: 2 } })
  const holdings = async () => ({ replicas: 1, filling: 0, irreplaceable: 1 })
  keep({ ...store, fleet: { ...store.fleet, holdings } }, driver)
  await until(store, 'it is given up', () => has(store, 'failure', /it is not replaced: lanes could not fill/))
  await until(store, 'it is started', () => driver.calls.includes('restart h1'))
  assert.deepEqual(driver.calls, ['restart h1'])
})

test('a machine that is removed while it is to be replaced is only ended', async () => {
  const driver = new FakeDriver()
  const store = await openFleet({ h1: nowhere }, { record: { replacing: 2 } })
  await store.catalogue.removeNode('h1', true)
  keep(store, driver)
  await until(store, 'it is gone', async () => (await machineOf(store, 'h1'))?.life === 'released')
  assert.deepEqual(driver.calls, ['destroy h1'])
})

// Its keeper made it a node and died before it wrote that down: indexes may be on it.
test('a machine whose node takes indexes is never given back as one that came too late', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: engine.url }, { life: 'bootstrapping', record: { lifeSince: 0 } })
  keep(store, driver)
  await until(store, 'it is live', () => has(store, 'life', /bootstrapping → active/))
  await until(store, 'it is well', async () => (await machineOf(store, 'h1'))?.health === 'up')
  assert.deepEqual([(await machineOf(store, 'h1'))?.life, driver.calls], ['active', []])
})

// A node that drains without its machine is a person's: the order is written down before the node is told.
test('a node that is to be given back drains, though its keeper died before it was told', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: engine.url }, { life: 'draining', record: { mustDrain: true } })
  keep(store, driver)
  await until(store, 'it is given back', async () => (await machineOf(store, 'h1'))?.life === 'released')
  assert.equal(await has(store, 'life', /draining → active/), false)
})

test('when most nodes cannot be reached nothing is replaced, until a person says so', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: nowhere, h2: nowhere, h3: nowhere, h4: engine.url })
  keep(store, driver)
  await until(store, 'the brake', async () => (await store.fleet.keeper())?.halted != null)
  await until(
    store,
    'all are down',
    async () => (await store.fleet.machines()).filter(({ health }) => health === 'down').length === 3,
  )
  assert.deepEqual(driver.calls, [])
  assert.ok(await has(store, 'brake', /3 of 4|2 of 4/))
  await store.fleet.wish('h1', 'restart', { node: 'h1', at: 0, kind: 'wish', text: 'restart' })
  await until(store, 'the wish', () => driver.calls.includes('restart h1'))
})

test('a keeper that only watches says what it would do', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  const store = await openFleet({ h1: nowhere, h2: engine.url, h3: engine.url, h4: engine.url })
  keep(store, driver, { mode: 'watch' })
  await until(store, 'the proposal', () => has(store, 'proposal', /^restart: it has been down/))
  assert.deepEqual(driver.calls, [])
})

test('a node that somebody else runs is watched, and its failure told once', async () => {
  const engine = await startHollowEngine()
  const store = await openFleet({ s1: nowhere, s2: engine.url })
  keep(store, new FakeDriver())
  await until(store, 'it is told', () => has(store, 'failure', /does not come back, and its driver cannot replace it/))
  const told = (await store.fleet.events('s1', 1_000)).filter(({ kind }) => kind === 'failure')
  assert.equal(told.length, 1)
  assert.equal((await machineOf(store, 's2'))?.driver, 'static')
})

test('a machine whose engine fails its self-test never becomes a node, and is given back', async () => {
  const [engine, driver] = [await startHollowEngine(), new FakeDriver()]
  driver.url = engine.url
  const store = await openFleet({})
  keep(store, driver)
  const now = Date.now()
  await store.fleet.request(
    requestedMachine({ node: 'h9', driver: 'hetzner', engine: 'meilisearch', region: 'local', group: 0 }, now),
    { node: 'h9', at: now, kind: 'wish', text: 'one more' },
  )
  await until(store, 'it is given back', async () => (await machineOf(store, 'h9'))?.life === 'released')
  assert.ok(await has(store, 'life', /bootstrapping → failed: the self-test failed/))
  assert.deepEqual(await store.catalogue.nodes(), [])
  assert.deepEqual(driver.calls, ['create h9 1', 'destroy h9'])
})

test('what a provider refuses is tried again later, and told in its words', async () => {
  const driver = new FakeDriver()
  driver.create = async () => {
    throw new DriverFailed('no server was made. fsn1: server limit reached (resource_limit_exceeded)')
  }
  const store = await openFleet({})
  keep(store, driver)
  const now = Date.now()
  await store.fleet.request(
    requestedMachine({ node: 'h9', driver: 'hetzner', engine: 'meilisearch', region: 'local', group: 0 }, now),
    { node: 'h9', at: now, kind: 'wish', text: 'one more' },
  )
  await until(store, 'it is told', () => has(store, 'failure', /resource_limit_exceeded/))
  assert.equal((await machineOf(store, 'h9'))?.life, 'requested')
  assert.equal((await machineOf(store, 'h9'))?.record.tries, 1)
})

test('a machine of a driver that the keeper does not have waits, and says why', async () => {
  const store = await openFleet({})
  keep(store, new FakeDriver())
  const now = Date.now()
  await store.fleet.request(
    requestedMachine({ node: 'k1', driver: 'kubernetes', engine: 'meilisearch', region: 'local', group: 0 }, now),
    { node: 'k1', at: now, kind: 'wish', text: 'one more' },
  )
  await until(store, 'it is told', () =>
    has(store, 'failure', /no driver `kubernetes`; name it there with `fleet\.driver`/),
  )
  assert.equal((await machineOf(store, 'k1'))?.life, 'requested')
})

test('a look that takes longer than the lease counts when nobody else kept the fleet meanwhile', async () => {
  const clock = { ...systemClock, skewMs: 0 }
  const store = openMemoryStore({
    clock: { ...systemClock, now: () => Date.now() + clock.skewMs },
    random: seededRandom(1),
  })
  const driver = new FakeDriver()
  driver.create = async () => {
    clock.skewMs += 20_000
  }
  const slow = { ...systemClock, monotonic: () => performance.now() + clock.skewMs }
  keep(store, driver, {}, 'w', slow)
  const now = Date.now()
  await store.fleet.request(
    requestedMachine({ node: 'h9', driver: 'hetzner', engine: 'meilisearch', region: 'local', group: 0 }, now),
    { node: 'h9', at: now, kind: 'wish', text: 'one more' },
  )
  await until(store, 'it is on its way', async () => (await machineOf(store, 'h9'))?.life === 'provisioning')
})
