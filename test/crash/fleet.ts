/** A fleet of real processes: PostgreSQL, engine nodes in replica groups, gateways and workers, each with its own life. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { type IndexView, indexView } from '../../src/cli/index-view.ts'
import { openStore, type Store } from '../../src/journal/open-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { freePort } from '../../src/lib/loopback-port.ts'
import { systemRandom } from '../../src/lib/random.ts'
import { parseSealingKey } from '../../src/lib/seal.ts'
import type { Project } from '../../src/store/catalogue.ts'
import { type PostgresServer, startPostgres } from '../../src/store/postgres-server.ts'
import { FleetProcess } from './fleet-process.ts'
import { masterKey } from './server.ts'

const run = promisify(execFile)
const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')
const nodeKey = 'a-master-key-for-one-node'
const sealingKeyText = '5e'.repeat(32)

export interface FleetShape {
  readonly groups: number
  readonly nodesPerGroup: number
  readonly gateways: number
  readonly workers: number
  /** Of gateways and workers, beside what every fleet has. */
  readonly env?: Readonly<Record<string, string>>
}

export interface FleetNode {
  readonly id: string
  readonly group: number
  readonly url: string
  readonly key: string
  readonly folder: string
  readonly process: FleetProcess
}

export interface FleetGateway {
  readonly url: string
  readonly process: FleetProcess
}

/** What a node holds of an index, as the node itself gives it: with the reserved fields. */
export type HeldDocument = { readonly id: number; readonly [field: string]: unknown }

export class Fleet {
  readonly nodes: readonly FleetNode[]
  readonly gateways: readonly FleetGateway[]
  readonly workers: readonly FleetProcess[]
  readonly #folder: string
  readonly #env: Readonly<Record<string, string>>
  #postgres: PostgresServer
  /** The test's own look at the database. */
  readonly store: Store
  readonly #pool: pg.Pool

  private constructor(parts: {
    nodes: readonly FleetNode[]
    gateways: readonly FleetGateway[]
    workers: readonly FleetProcess[]
    folder: string
    env: Readonly<Record<string, string>>
    postgres: PostgresServer
    store: Store
    pool: pg.Pool
  }) {
    this.nodes = parts.nodes
    this.gateways = parts.gateways
    this.workers = parts.workers
    this.#folder = parts.folder
    this.#env = parts.env
    this.#postgres = parts.postgres
    this.store = parts.store
    this.#pool = parts.pool
  }

  /** Everything runs, the nodes are registered, and there is one project with `masterKey`. */
  static async create(shape: FleetShape): Promise<Fleet> {
    const folder = await mkdtemp(join(tmpdir(), 'flapjack-fleet-'))
    const data = join(folder, 'data')
    await mkdir(data)
    const postgres = await startDatabase(folder)
    const { host, port, user, password, database } = postgres.connection
    const credentials = `${user}:${encodeURIComponent(password ?? '')}`
    const url = `postgres://${credentials}@/${database}?host=${encodeURIComponent(host)}&port=${port}`
    const env = {
      DATABASE_URL: url,
      FLAPJACK_SEALING_KEY: sealingKeyText,
      FLAPJACK_DATA_DIR: data,
      ...shape.env,
      FLAPJACK_LOG_LEVEL: 'warn',
    }
    const store = await openStore({
      database: { kind: 'postgres', connection: postgres.connection },
      blobFolder: join(data, 'blobs'),
      sealingKey: parseSealingKey(sealingKeyText),
      clock: systemClock,
      random: systemRandom,
      connectionCountMax: 2,
    })
    const pool = new pg.Pool({ host, port, user, database, ...(password === null ? {} : { password }), max: 1 })
    // Broken by the server's end, after the last question.
    pool.on('error', () => undefined)
    const workers = Array.from(
      { length: shape.workers },
      (_, number) => new FleetProcess(`worker-${number}`, ['serve', '--role', 'worker', '--json'], env),
    )
    const nodes = await Promise.all(
      Array.from({ length: shape.groups * shape.nodesPerGroup }, (_, number) => newNode(folder, number, shape)),
    )
    const gateways = await Promise.all(Array.from({ length: shape.gateways }, (_, number) => newGateway(number, env)))
    const fleet = new Fleet({ nodes, gateways, workers, folder, env, postgres, store, pool })
    try {
      await fleet.#start()
    } catch (error) {
      await fleet.destroy()
      throw error
    }
    return fleet
  }

  async #start(): Promise<void> {
    // One after the other: the first makes the tables, and holds every node.
    for (const worker of this.workers) await worker.start()
    await Promise.all(this.nodes.map((node) => node.process.start()))
    for (const { id, group, url, key } of this.nodes) {
      await this.cli('node', 'add', id, url, '--key', key, '--group', String(group), '--engine', 'embedded')
    }
    await this.cli('project', 'create', 'shop', '--project-master-key', masterKey)
    await Promise.all(this.gateways.map((gateway) => gateway.process.start()))
    await this.store.unlock()
  }

  async cli(...args: readonly string[]): Promise<string> {
    const env = { ...process.env, ...this.#env }
    const { stdout } = await run(process.execPath, [launcher, ...args], { env, maxBuffer: 16 * 1024 * 1024 })
    return stdout
  }

  async #project(): Promise<Project> {
    const project = await this.store.catalogue.findProject('shop')
    assert.ok(project && project.state !== 'unreadable')
    return project
  }

  /** Where each replica of an index is, as `flapjack index show --json` prints it, without starting a process. */
  async show(uid: string): Promise<IndexView> {
    return indexView(this.store, await this.#project(), uid)
  }

  /** Who brings changes to which node; nodes without a live lease are left out. */
  async holders(): Promise<ReadonlyMap<string, string>> {
    const { rows } = await this.#pool.query<{ node_id: string; owner: string }>(
      "select node_id, owner from node_leases where owner <> '' and until > extract(epoch from clock_timestamp()) * 1000",
    )
    return new Map(rows.map((row) => [row.node_id, row.owner]))
  }

  /** Whether workers have found that a node does not answer, and not yet that it does again. */
  async isSilent({ id }: FleetNode): Promise<boolean> {
    const { rowCount } = await this.#pool.query('select from nodes where id = $1 and silent_since is not null', [id])
    return rowCount !== 0
  }

  /** Asks a node itself, by the name that an index has there. */
  async documentsOn(node: FleetNode, physicalUid: string): Promise<readonly HeldDocument[]> {
    const response = await fetch(`${node.url}/indexes/${physicalUid}/documents/fetch`, {
      method: 'POST',
      headers: { authorization: `Bearer ${node.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ limit: 1_000_000 }),
    })
    assert.equal(response.status, 200, `${node.id}: ${physicalUid}`)
    const { results } = (await response.json()) as { readonly results: readonly HeldDocument[] }
    return [...results].sort((left, right) => left.id - right.id)
  }

  /** A connection of its own to the database. */
  async connect(): Promise<pg.Client> {
    const { password, ...place } = this.#postgres.connection
    const client = new pg.Client({ ...place, ...(password === null ? {} : { password }) })
    // The database may be killed while it is open.
    client.on('error', () => undefined)
    await client.connect()
    return client
  }

  /** `kill -9` of PostgreSQL, which is started again and takes connections when this resolves. */
  async crashDatabase(): Promise<void> {
    process.kill(this.#postgres.pid, 'SIGKILL')
    await this.#postgres.exited
    this.#postgres = await startDatabase(this.#folder)
  }

  /** As if its disk had been replaced. The node must not run. */
  async wipe(node: FleetNode): Promise<void> {
    assert.equal(node.process.standing, 'down')
    await rm(node.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  get output(): string {
    const all = [...this.workers, ...this.gateways.map(({ process }) => process), ...this.nodes.map((n) => n.process)]
    return all.map(({ name, output }) => `--- ${name}\n${output.slice(-3_000)}`).join('\n')
  }

  /** Ends every process that was started here, by its id, and removes the folder. */
  async destroy(): Promise<void> {
    const first = this.gateways.map((gateway) => gateway.process)
    await Promise.all([...first, ...this.workers].map((process) => process.stop()))
    await Promise.all(this.nodes.map((node) => node.process.stop()))
    await this.store.close()
    await this.#pool.end()
    await this.#postgres.stop()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

function startDatabase(folder: string): Promise<PostgresServer> {
  return startPostgres({ folder: join(folder, 'postgres'), searchPath: process.env.PATH ?? '' })
}

async function newNode(folder: string, number: number, { nodesPerGroup }: FleetShape): Promise<FleetNode> {
  const id = `search-${number}`
  const address = `127.0.0.1:${await freePort()}`
  const own = join(folder, id)
  const args = ['engine', '--json', '--data-dir', own, '--http-addr', address]
  const process = new FleetProcess(id, args, { MEILI_MASTER_KEY: nodeKey })
  const group = Math.floor(number / nodesPerGroup)
  return { id, group, url: `http://${address}`, key: nodeKey, folder: own, process }
}

async function newGateway(number: number, env: Readonly<Record<string, string>>): Promise<FleetGateway> {
  const address = `127.0.0.1:${await freePort()}`
  const args = ['serve', '--role', 'gateway', '--json', '--http-addr', address]
  return { url: `http://${address}`, process: new FleetProcess(`gateway-${number}`, args, env) }
}
