import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Logger } from 'pino'
import { CommandFailed } from './cli/exit-codes.ts'
import type { Config } from './config/config.ts'
import { openStore, type Store, type StoreOptions } from './journal/open-store.ts'
import { loadSealingKey, parseSealingKey, readSealingKey, type SealingKey } from './lib/seal.ts'
import { runSealingCommand } from './lib/sealing-command.ts'
import { keepDatabase } from './orchestrator/database-keeper.ts'
import { type FolderLock, lockOwner } from './orchestrator/folder-lock.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'
import type { Host } from './parts.ts'
import { StoreUnavailable } from './store/ports.ts'
import { startPostgres } from './store/postgres-server.ts'

export async function startDatabase(
  { clock, env }: Host,
  config: Config,
  supervisor: Supervisor,
  logger: Logger,
): Promise<StoreOptions['database']> {
  if (config.store.databaseUrl) return { kind: 'url', url: config.store.databaseUrl.reveal() }
  const options = {
    folder: join(resolve(config.data.dir), 'postgres'),
    searchPath: env.PATH ?? '',
    ...(config.store.postgresBin === null ? {} : { binFolder: config.store.postgresBin }),
  }
  const { connection } = await supervisor.start(
    'database',
    () => keepDatabase(() => startPostgres(options), { logger, clock }),
    (keeper) => keeper.stop(),
  )
  return { kind: 'postgres', connection }
}

export async function startStore(
  host: Host,
  config: Config,
  database: StoreOptions['database'],
  supervisor: Supervisor,
  logger: Logger,
  mayWait = false,
): Promise<Store> {
  const store = await supervisor.start(
    'store',
    () => openOwnStore(host, config, database, logger),
    (opened) => opened.close(),
  )
  try {
    await store.migrate()
    supervisor.watch('blob sweep', sweepBlobs(store, logger))
    supervisor.watch('secrets', placeSecrets(store, logger))
  } catch (error) {
    if (!mayWait || !(error instanceof StoreUnavailable)) throw error
    supervisor.watch('schema', migrateLater(store, host, supervisor.signal, logger))
  }
  return store
}

async function sweepBlobs(store: Store, logger: Logger): Promise<void> {
  const removed = await store.sweepBlobs()
  logger.debug({ removed }, 'blobs swept')
}

async function placeSecrets(store: Store, logger: Logger): Promise<void> {
  try {
    const placed = await store.placeSecrets()
    if (placed > 0) logger.info({ placed }, 'secrets stand under the data keys of their organisations')
  } catch (error) {
    // They open as they are; the next start tries again.
    logger.warn({ err: error }, 'secrets could not be sealed under the data keys of their organisations')
  }
}

/** Until then the store's calls fail as while the database is away. */
async function migrateLater(store: Store, { clock }: Host, signal: AbortSignal, logger: Logger): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(migrateAgainMs, signal)
    try {
      await store.migrate()
      await placeSecrets(store, logger)
      return await sweepBlobs(store, logger)
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
    }
  }
}

const migrateAgainMs = 1_000

export async function openOwnStore(
  { clock, random }: Host,
  config: Config,
  database: StoreOptions['database'],
  logger: Logger,
): Promise<Store> {
  const dataDir = resolve(config.data.dir)
  const { sealingKey, sealingKeyCommand, sealingKeyNext, connectionsMax } = config.store
  const { shards, replicationFactor, exactTies, writeAdmission, meilisearchIndexesMax } = config.cluster
  const keyFile = join(dataDir, 'sealing.key')
  // Only `up` owns the folder, and may make its key. Anything else would make one that opens nothing.
  if (!sealingKey && sealingKeyCommand === null && lockOwner(dataDir)?.pid !== process.pid && !existsSync(keyFile)) {
    throw new CommandFailed(
      'usage',
      `there is no sealing key in ${dataDir}; name the data folder that the database was made with (--data-dir), or give its key (FLAPJACK_SEALING_KEY)`,
    )
  }
  // Read each time: the key may be replaced while we run.
  const otherSealingKeys = async () => {
    if (sealingKeyNext) return [parseSealingKey(sealingKeyNext.reveal())]
    if (sealingKey || sealingKeyCommand !== null) return []
    const found = await Promise.all([keyFile, `${keyFile}.next`].map(readSealingKey))
    return found.filter((key) => key !== undefined)
  }
  return openStore({
    database,
    blobFolder: join(dataDir, 'blobs'),
    sealingKey: await ownSealingKey(config, keyFile),
    otherSealingKeys,
    clock,
    random,
    logger,
    connectionCountMax: connectionsMax,
    admission: writeAdmission,
    indexesPerNode: { meilisearch: meilisearchIndexesMax },
    spread: shards === null ? null : { shards, replicationFactor, exactTies },
  })
}

async function ownSealingKey({ store }: Config, keyFile: string): Promise<SealingKey> {
  if (store.sealingKey) return parseSealingKey(store.sealingKey.reveal())
  return store.sealingKeyCommand === null ? loadSealingKey(keyFile) : runSealingCommand(store.sealingKeyCommand)
}

/** The database of a running `up`, which announced it in its data folder, unless one is configured. */
export function databaseOf(config: Config): StoreOptions['database'] {
  if (config.store.databaseUrl) return { kind: 'url', url: config.store.databaseUrl.reveal() }
  const announced = lockOwner(config.data.dir)?.database
  if (typeof announced !== 'string') {
    throw new CommandFailed(
      'notFound',
      `nothing runs in ${config.data.dir}; start it with \`flapjack up\`, name its folder with --data-dir, or set DATABASE_URL`,
    )
  }
  // Written by `announce` below, in a file that only we and its owner can read.
  return JSON.parse(announced)
}

export function announce(lock: FolderLock, url: string | null, database: StoreOptions['database']): void {
  lock.announce({
    ...(url === null ? {} : { url }),
    ...(database.kind === 'postgres' ? { database: JSON.stringify(database) } : {}),
  })
}
