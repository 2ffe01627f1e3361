/**
 * The stores under contract: PostgreSQL and the twin in memory. `TEST_DATABASE_URL` names a server on which databases may
 * be created; without it the bundled one is started in a folder of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import { openStore, type Store, type StoreOptions } from '../../src/journal/open-store.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { sealingKey } from '../../src/lib/seal.ts'
import { startPostgres } from '../../src/store/postgres-server.ts'

export interface StoreSource {
  readonly name: string
  /** A fresh, empty store. The same seed gives the same identifiers. */
  open(seed?: number, clock?: Clock): Promise<Store>
  /** Ends the stores that are open; databases and folders stay. */
  closeStores(): Promise<void>
  /** Ends everything that was opened. */
  close(): Promise<void>
}

/** Every look at it is a millisecond later, so that times are distinct and the same in every store. */
export function steppingClock(): Clock {
  let now = Date.parse('2026-01-01T00:00:00Z')
  return {
    now: () => {
      now += 1
      return now
    },
    monotonic: systemClock.monotonic,
    after: systemClock.after,
    sleep: systemClock.sleep,
  }
}

/** Stands still until it is moved: stores may look at it as often as they like. */
export function standingClock(): Clock & { move(): void } {
  let now = Date.parse('2026-01-01T00:00:00Z')
  return {
    now: () => now,
    move: () => {
      now += 1
    },
    monotonic: systemClock.monotonic,
    after: systemClock.after,
    sleep: systemClock.sleep,
  }
}

export function memorySource(): StoreSource {
  return {
    name: 'memory',
    open: async (seed = 1, clock = steppingClock()) => openMemoryStore({ clock, random: seededRandom(seed) }),
    closeStores: async () => undefined,
    close: async () => undefined,
  }
}

export interface TestDatabase {
  /** A new, empty database. */
  create(): Promise<StoreOptions['database']>
  close(): Promise<void>
}

/** Starts at the first use. */
export function testDatabase(folder: string): TestDatabase {
  let starting: Promise<{ readonly config: pg.ClientConfig; readonly stop: () => Promise<void> }> | undefined
  const created: string[] = []
  const start = async () => {
    const url = process.env.TEST_DATABASE_URL
    if (url !== undefined && url !== '') return { config: { connectionString: url }, stop: async () => undefined }
    const server = await startPostgres({ folder: join(folder, 'postgres'), searchPath: process.env.PATH ?? '' })
    const { password, ...place } = server.connection
    return { config: { ...place, ...(password === null ? {} : { password }) }, stop: server.stop }
  }
  const run = async (config: pg.ClientConfig, text: string) => {
    const client = new pg.Client(config)
    await client.connect()
    await client.query(text).finally(() => client.end())
  }
  return {
    async create() {
      starting ??= start()
      const { config } = await starting
      const database = `flapjack_test_${process.pid}_${created.length}`
      created.push(database)
      await run(config, `create database ${database}`)
      if (config.connectionString !== undefined) {
        const url = new URL(config.connectionString)
        url.pathname = `/${database}`
        return { kind: 'url', url: url.href }
      }
      const { host = '', port = 0, user = '', password } = config
      const secret = typeof password === 'string' ? password : null
      return { kind: 'postgres', connection: { host, port, user, password: secret, database } }
    },
    async close() {
      if (starting === undefined) return
      const { config, stop } = await starting
      if (config.connectionString !== undefined) {
        for (const database of created) await run(config, `drop database if exists ${database} with (force)`)
      }
      await stop()
    },
  }
}

export const testSealingKey = sealingKey(Buffer.alloc(32, 7))

export async function postgresSource(): Promise<StoreSource> {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-store-'))
  const database = testDatabase(folder)
  const open: Store[] = []
  let count = 0
  return {
    name: 'PostgreSQL',
    async open(seed = 1, clock = steppingClock()) {
      const store = await openStore({
        database: await database.create(),
        blobFolder: join(folder, `blobs-${count}`),
        sealingKey: testSealingKey,
        clock,
        random: seededRandom(seed),
        connectionCountMax: 4,
      })
      open.push(store)
      count += 1
      await store.migrate()
      return store
    },
    async closeStores() {
      for (const store of open.splice(0)) await store.close()
    },
    async close() {
      for (const store of open) await store.close()
      await database.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
