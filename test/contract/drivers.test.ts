/** What every driver promises (P-36), over processes of this machine, a Kubernetes API and that of a cloud. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pino from 'pino'
import { loadConfig } from '../../src/config/config.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { isObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { cloudInit } from '../../src/orchestrator/drivers/cloud-init.ts'
import {
  DriverFailed,
  DriverUnsupported,
  type MachineSpec,
  type MachineView,
  type NodeDriver,
} from '../../src/orchestrator/drivers/node-driver.ts'
import { createProcessDriver } from '../../src/orchestrator/drivers/process-driver.ts'
import { openDrivers } from '../../src/orchestrator/fleet/drivers.ts'
import { startLocalNode } from '../../src/orchestrator/local-driver.ts'
import type { Node } from '../../src/store/catalogue.ts'
import { startHetzner } from '../support/hetzner-server.ts'
import { startKubernetes } from '../support/kubernetes-server.ts'

const signal = AbortSignal.timeout(120_000)
const folder = mkdtempSync(join(tmpdir(), 'flapjack-drivers-'))
writeFileSync(join(folder, 'empty.yaml'), '')
const ends: (() => Promise<void>)[] = []
after(async () => {
  for (const end of ends.reverse()) await end()
  rmSync(folder, { recursive: true, force: true })
})

interface Stage {
  readonly driver: NodeDriver
  /** Machines of a node that are there, with their disks, however the driver names them. */
  readonly machines: (node: string) => number
  /** The next act happens, and the driver does not hear of it; absent = that cannot be. */
  readonly breakNext?: () => void
  readonly spec: MachineSpec
}

const key = 'a-master-key-that-nobody-may-see'
const spec = { group: 0, region: 'local', key, generation: 1 }

/** Another driver, as a configuration file would name it. */
function configured(fleet: object): NodeDriver {
  const file = join(folder, `${Object.keys(fleet).length}-${ends.length}.yaml`)
  writeFileSync(file, JSON.stringify({ fleet: { name: 'shop', ...fleet } }))
  const config = loadConfig({ env: {}, flags: {}, file })
  const { maker } = openDrivers({
    config: config.fleet,
    engine: 'meilisearch',
    nodes: async () => [],
    local: undefined,
    env: {},
  })
  assert(maker)
  return maker
}

const kubernetes = await startKubernetes()
ends.push(() => kubernetes.close())
const hetzner = await startHetzner()
ends.push(() => hetzner.close())

function kubernetesStage(): Stage {
  const kubeconfig = join(folder, 'kubeconfig')
  writeFileSync(kubeconfig, JSON.stringify(kubernetes.kubeconfig))
  const driver = configured({
    driver: 'kubernetes',
    kubernetes: { kubeconfig, namespace: 'search', image: 'getmeili/meilisearch:v1.50.0', memory_bytes: '1 GiB' },
  })
  const claims = (node: string) => kubernetes.paths().filter((path) => path.includes(`/data-shop-${node}-`))
  return {
    driver,
    machines: (node) => claims(node).length,
    breakNext: () => kubernetes.breakNext(),
    spec: { ...spec, node: 'k1', engine: 'meilisearch' },
  }
}

function hetznerStage(): Stage {
  const driver = configured({
    driver: 'hetzner',
    hetzner: {
      ...{ token: hetzner.token, api_url: hetzner.apiUrl, network_id: 7, locations: 'fsn1,nbg1' },
      ...{ engine_url: 'https://example.org/meilisearch', engine_sha256: 'ab'.repeat(32) },
    },
  })
  return {
    driver,
    machines: (node) =>
      hetzner.servers().filter(({ labels }) => isObject(labels) && labels['flapjack-node'] === node).length,
    breakNext: () => hetzner.breakNext(),
    spec: { ...spec, node: 'h1', engine: 'meilisearch' },
  }
}

/** Takes the options of Meilisearch, and has a disk. */
const standIn = `#!${process.execPath}
const { createServer } = require('node:http')
const { mkdirSync } = require('node:fs')
const option = (name) => process.argv[process.argv.indexOf(name) + 1]
mkdirSync(option('--db-path'), { recursive: true })
createServer((_, response) => response.end('{"status":"available"}')).listen(Number(option('--http-addr').split(':')[1]), '127.0.0.1')
`

function localStage(): Stage {
  const bin = join(folder, 'stand-in')
  writeFileSync(bin, standIn)
  chmodSync(bin, 0o755)
  const nodes = new Map<string, Node>()
  const engines = join(folder, 'engines')
  const driver = createProcessDriver({
    folder: engines,
    engine: 'meilisearch',
    clock: systemClock,
    launch: ({ key: own, ...start }) =>
      startLocalNode({
        ...start,
        ...(own === null ? {} : { key: own }),
        engine: 'meilisearch',
        self: { command: process.execPath, args: [] },
        bin,
        indexingMemoryBytes: 2 ** 28,
        allowedNetworks: [],
        env: { PATH: process.env.PATH },
        catalogue: {
          nodes: async () => [...nodes.values()],
          putNode: async ({ group = 0, capacity = null, ...node }) => {
            const stored: Node = { ...node, group, capacity, state: 'active' }
            nodes.set(node.id, stored)
            return stored
          },
        },
        random: seededRandom(1),
        clock: systemClock,
        logger: pino({ level: 'silent' }),
      }),
  })
  ends.push(() => driver.close())
  return {
    driver,
    machines: (node) => (existsSync(join(engines, node)) ? 1 : 0),
    spec: { ...spec, node: 'm7', engine: 'meilisearch' },
  }
}

async function until(driver: NodeDriver, node: string, isSo: (view: MachineView) => boolean): Promise<MachineView> {
  for (;;) {
    const view = await driver.describe(node, signal)
    if (isSo(view)) return view
    await systemClock.sleep(50, signal)
  }
}
const isRunning = ({ state, url }: MachineView) => state === 'running' && url !== null

for (const open of [localStage, kubernetesStage, hetznerStage]) {
  const stage = open()
  const { driver, machines, breakNext } = stage
  const { node } = stage.spec
  const name = `driver ${driver.kind}`

  test(`${name}: a machine is made once, however often it is asked for, and can be found`, async () => {
    assert.equal((await driver.describe(node, signal)).state, 'absent')
    await driver.create(stage.spec, signal)
    await driver.create(stage.spec, signal)
    const { url } = await until(driver, node, isRunning)
    assert.match(url ?? '', /^http:\/\/.+:\d+$/)
    assert.equal(machines(node), 1)
    assert.deepEqual(
      (await driver.list(signal)).map((view) => view.node),
      [node],
    )
  })

  test(`${name}: it stops, starts and is restarted on the same disk`, async () => {
    await driver.stop(node, signal)
    await until(driver, node, ({ state }) => state === 'stopped')
    await driver.start(node, signal)
    await until(driver, node, isRunning)
    await driver.restart(node, signal)
    await until(driver, node, isRunning)
    assert.equal(machines(node), 1)
  })

  test(`${name}: a replacement leaves one machine with an empty disk, and is not made twice`, async () => {
    const next = { ...stage.spec, generation: 2 }
    await driver.replace(next, signal)
    await until(driver, node, isRunning)
    await driver.replace(next, signal)
    await until(driver, node, isRunning)
    assert.equal(machines(node), 1)
  })

  if (breakNext !== undefined) {
    test(`${name}: a machine whose making was not heard of is taken over, and none is left behind`, async () => {
      const other = { ...stage.spec, node: `${node}0` }
      breakNext()
      await assert.rejects(driver.create(other, signal), DriverFailed)
      await driver.create(other, signal)
      await until(driver, other.node, isRunning)
      assert.equal(machines(other.node), 1)
      breakNext()
      await assert.rejects(driver.replace({ ...other, generation: 2 }, signal), DriverFailed)
      await driver.replace({ ...other, generation: 2 }, signal)
      assert.equal(machines(other.node), 1)
      assert.deepEqual((await driver.list(signal)).map((view) => view.node).sort(), [node, other.node])
      await driver.destroy(other.node, signal)
      assert.equal(machines(other.node), 0)
    })
  }

  test(`${name}: nothing is left of a machine that was destroyed`, async () => {
    await driver.destroy(node, signal)
    await driver.destroy(node, signal)
    assert.equal((await driver.describe(node, signal)).state, 'absent')
    assert.equal(machines(node), 0)
  })

  test(`${name}: its check tells what it found`, async () => {
    const findings = await driver.check(signal)
    assert.ok(findings.length > 0)
    assert.deepEqual(
      findings.filter(({ isGood }) => !isGood),
      [],
    )
  })
}

test('in Kubernetes a node is a set of one, whose key stands in a secret and whose address outlives its machine', async () => {
  const { driver, spec: wanted } = kubernetesStage()
  await driver.create(wanted, signal)
  const set = JSON.stringify(kubernetes.object('/apis/apps/v1/namespaces/search/statefulsets/shop-k1-1'))
  assert.ok(set.includes('"replicas":1') && !set.includes(key))
  assert.ok(JSON.stringify(kubernetes.object('/api/v1/namespaces/search/secrets/shop-k1')).includes(key))
  const { url } = await driver.describe('k1', signal)
  assert.equal(url, 'http://shop-k1.search.svc:7700')
  await driver.replace({ ...wanted, generation: 2 }, signal)
  assert.equal((await driver.describe('k1', signal)).url, url)
  assert.deepEqual(
    kubernetes.paths().map((path) => path.replace(/.*search\//, '')),
    [
      ...['persistentvolumeclaims/data-shop-k1-2-0', 'pods/shop-k1-2-0', 'secrets/shop-k1', 'services/shop-k1'],
      ...['statefulsets/shop-k1-2', 'networkpolicies/shop-k1'],
    ],
  )
  await driver.destroy('k1', signal)
  assert.deepEqual(
    kubernetes.paths().filter((path) => !path.includes('/pods/')),
    [],
  )
})

test('a server of a cloud goes where there is room, with a private address and the fleet on its labels', async () => {
  const { driver, spec: wanted } = hetznerStage()
  hetzner.full.add('fsn1')
  await driver.create(wanted, signal)
  const [server] = hetzner.servers()
  assert.equal(server?.location, 'nbg1')
  assert.deepEqual(server?.labels, { 'flapjack-fleet': 'shop', 'flapjack-node': 'h1', 'flapjack-generation': '1' })
  assert.match((await driver.describe('h1', signal)).url ?? '', /^http:\/\/10\.0\.0\.\d+:7700$/)
  hetzner.full.add('nbg1')
  await assert.rejects(driver.create({ ...wanted, node: 'h2' }, signal), /fsn1: .*resource_unavailable.*nbg1: /)
  hetzner.full.clear()
  await driver.destroy('h1', signal)
})

test('what a provider says is told, and the token is not', async () => {
  const { driver } = hetznerStage()
  hetzner.refuse(429)
  await assert.rejects(driver.list(signal), (error) => {
    assert.ok(error instanceof DriverFailed && error.message.includes('rate_limit_exceeded'))
    assert.ok(!error.message.includes(hetzner.token), error.message)
    return true
  })
  hetzner.refuse(null)
  const { driver: other } = kubernetesStage()
  kubernetes.refuse(403)
  const findings = await other.check(signal)
  assert.ok(findings.every(({ isGood, text }) => !isGood && text.includes('get, list, patch and delete')))
  kubernetes.refuse(null)
})

test('a server is set up by what it is told at its first start, and runs no other program', () => {
  const wanted: MachineSpec = { ...spec, node: 'h1', engine: 'meilisearch' }
  const software = { engineUrl: "https://example.org/it's here", engineSha256: 'cd'.repeat(32), port: 7700 }
  const [first, ...rest] = cloudInit(wanted, software).split('\n')
  assert.equal(first, '#cloud-config')
  const config: unknown = JSON.parse(rest.join('\n'))
  assert(isObject(config) && Array.isArray(config.write_files))
  const files = config.write_files.filter(isObject)
  const install = String(files.find(({ path }) => String(path).endsWith('install'))?.content)
  assert.ok(install.includes(`'https://example.org/it'\\''s here'`), install)
  assert.ok(install.indexOf('sha256sum -c') < install.indexOf('install -m 0755'))
  const keyFile = files.find(({ content }) => String(content).includes(key))
  assert.equal(keyFile?.permissions, '0600')
})

test('a node that somebody else runs is described, and nothing else', async () => {
  const config = loadConfig({ env: {}, flags: {}, file: join(folder, 'empty.yaml') }).fleet
  const node = { id: 'search-1', url: 'http://10.0.0.7:7700' } as const
  const { of, maker } = openDrivers({
    ...{ config, engine: 'embedded', local: undefined, env: {} },
    nodes: async () => [
      { ...node, engine: 'embedded', region: 'local', group: 0, capacity: null, state: 'active', key: null },
    ],
  })
  const driver = of('static')
  assert(driver !== undefined && maker === undefined)
  assert.equal((await driver.describe('search-1', signal)).url, node.url)
  const wanted: MachineSpec = { ...spec, node: 'search-2', engine: 'embedded' }
  await assert.rejects(
    driver.create(wanted, signal),
    (error) => error instanceof DriverUnsupported && /driver_unsupported/.test(error.message),
  )
  await assert.rejects(driver.restart('search-1', signal), DriverUnsupported)
})
