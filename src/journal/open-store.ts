/** Catalogue and journal over one PostgreSQL. The one place where the store's parts are wired. */
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { SealingKey } from '../lib/seal.ts'
import { type Backups, openBackups } from '../store/backups.ts'
import { openBlobs } from '../store/blobs.ts'
import type { Spread } from '../store/catalogue.ts'
import { addDataKeys, rotateSealingKey } from '../store/data-key-rows.ts'
import { keepDataKeys } from '../store/data-keys.ts'
import { openDatabase, reach, type StoreLogger } from '../store/database.ts'
import { type EngineCredentials, openEngineCredentials } from '../store/engine-credentials.ts'
import type { Fleet } from '../store/fleet.ts'
import { type GatewayRegistry, openGatewayRegistry } from '../store/gateway-registry.ts'
import { type Moves, openMoves } from '../store/moves.ts'
import { type NodeRules, openNodeRules } from '../store/node-rules.ts'
import type { Catalogue } from '../store/ports.ts'
import { openPostgresCatalogue } from '../store/postgres-catalogue.ts'
import { openFleet } from '../store/postgres-fleet.ts'
import type { PostgresConnection } from '../store/postgres-server.ts'
import { openReplicaChecks, type ReplicaChecks } from '../store/replica-checks.ts'
import { migrate } from '../store/schema.ts'
import { openSignals } from '../store/signals.ts'
import type { AdmissionMode } from '../topology/admission.ts'
import { type JournalHistory, openHistory } from './history.ts'
import type { IndexesPerNode } from './index-creation.ts'
import { openPayloadStore } from './payload-store.ts'
import type { Journal, LaneJournal, ReplicaJournal } from './ports.ts'
import { openAppender } from './postgres-appender.ts'
import { openPostgresJournal } from './postgres-journal.ts'
import { openPostgresLanes, tellerOf } from './postgres-lanes.ts'
import { openPostgresReplicas } from './postgres-replicas.ts'
import { placeSecrets, type ResealOutcome, reseal } from './reseal.ts'
import { sweepBlobs } from './retention.ts'

export interface Store {
  readonly catalogue: Catalogue
  /** The same, without master keys of nodes (P-22). */
  readonly gatewayCatalogue: Catalogue
  readonly engineCredentials: EngineCredentials
  readonly nodeRules: NodeRules
  readonly journal: Journal
  readonly laneJournal: LaneJournal
  readonly replicas: ReplicaJournal
  readonly moves: Moves
  readonly replicaChecks: ReplicaChecks
  readonly backups: Backups
  readonly history: JournalHistory
  readonly fleet: Fleet
  readonly gateways: GatewayRegistry
  /** Brings the schema up to this program's. Safe to run twice and from several processes. Throws `SchemaTooNew`, `WrongSealingKey`. */
  migrate(): Promise<void>
  /** Learns the keys of a database whose schema is up to date: for short commands. Throws `WrongSealingKey`. */
  unlock(): Promise<void>
  /** Seals the data keys under `next`. Twice is safe. Throws `WrongSealingKey`. */
  rotateSealingKey(next: SealingKey): Promise<void>
  /**
   * Seals what was sealed before organisations had data keys under theirs. Answers how many values. Once at start: after the
   * first time it does nothing.
   */
  placeSecrets(): Promise<number>
  /**
   * Brings rows under the newest data key of whose they are, making further ones when those are of the time before a
   * rotation, and drops older ones when nothing can need them. Throws `SealBroken` when an organisation's newest data key
   * does not open: nothing was dropped.
   */
  reseal(): Promise<ResealOutcome>
  /** Resolves when the database answers; throws `StoreUnavailable`. */
  ping(): Promise<void>
  /** Removes blobs that no change refers to and that are older than an hour. Answers how many. Once at start. */
  sweepBlobs(): Promise<number>
  /** Secrets of this installation for another purpose, 32 bytes each, the one to use first: as many as there are data keys. */
  secrets(purpose: string): readonly Buffer[]
  /** 32 secret bytes of whoever holds the sealing key, which is known while the database is away. */
  localSecret(purpose: string): Buffer
  close(): Promise<void>
}

export interface StoreOptions {
  readonly database:
    | { readonly kind: 'url'; readonly url: string }
    | { readonly kind: 'postgres'; readonly connection: PostgresConnection }
  readonly blobFolder: string
  readonly sealingKey: SealingKey
  /** Further keys under which data keys may stand by now, asked whenever they are read. Default: none. */
  readonly otherSealingKeys?: () => Promise<readonly SealingKey[]>
  readonly clock: Clock
  readonly random: Random
  readonly logger?: StoreLogger
  /** Connections of this process, 2 or more. Default 6. */
  readonly connectionCountMax?: number
  /** Rule 2 of the design: `journal` accepts whenever the store does. Default `available`. */
  readonly admission?: AdmissionMode
  /** Default: any number. */
  readonly indexesPerNode?: IndexesPerNode
  /** How new indexes lie whose request does not say it; absent = plain. */
  readonly spread?: Spread | null
}

/** Connects lazily: a store that is away shows at the first call. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { sealingKey: master, clock, random } = options
  const masters = async (): Promise<[SealingKey, ...SealingKey[]]> => [
    master,
    ...((await options.otherSealingKeys?.()) ?? []),
  ]
  const logger = options.logger ?? silent
  const database = openDatabase(options.database, {
    connectionCountMax: options.connectionCountMax ?? connectionCountDefault,
    logger,
  })
  const keys = keepDataKeys(database, { masters, clock, logger })
  const { sealing } = keys
  const blobs = openBlobs(options.blobFolder, { clock, random })
  const payloads = openPayloadStore(blobs)
  const signals = openSignals(database, { clock, logger })
  const appender = openAppender({
    database,
    sealing,
    blobs,
    signals,
    clock,
    random,
    logger,
    admission: options.admission ?? 'available',
    indexesPerNode: options.indexesPerNode ?? {},
    spread: options.spread ?? null,
  })
  const catalogueParts = { database, sealing, keyMaking: { masters, clock }, signals, clock, random }
  return {
    catalogue: openPostgresCatalogue({ ...catalogueParts, nodeView: 'whole' }),
    gatewayCatalogue: openPostgresCatalogue({ ...catalogueParts, nodeView: 'gateway' }),
    engineCredentials: openEngineCredentials({ database, sealing, signals }),
    nodeRules: openNodeRules(database),
    journal: openPostgresJournal({ database, sealing, payloads, appender, signals }),
    laneJournal: openPostgresLanes({ database, sealing, payloads, blobs, signals, clock }),
    replicas: openPostgresReplicas({ database, sealing, clock, tell: tellerOf(signals) }),
    moves: openMoves(database),
    replicaChecks: openReplicaChecks(database),
    backups: openBackups({ database, sealing }),
    history: openHistory(database),
    fleet: openFleet(database),
    gateways: openGatewayRegistry(database, signals),
    async migrate() {
      await migrate(database, { masters: await masters(), ring: keys.ring, clock })
      keys.follow()
    },
    unlock: () => keys.read(),
    placeSecrets: () => placeSecrets(database, sealing),
    rotateSealingKey: async (next) => rotateSealingKey(database, { masters: await masters(), next, clock }),
    async reseal() {
      await addDataKeys(database, { masters, clock })
      await keys.read()
      return reseal(database, sealing, clock)
    },
    ping: async () => {
      await reach(() => database.pool.query('select 1'))
    },
    secrets: (purpose) => keys.ring.deriveAll(purpose),
    localSecret: (purpose) => master.derive(purpose),
    sweepBlobs: () => sweepBlobs(database, blobs),
    async close() {
      await keys.close()
      await appender.close()
      await signals.close()
      await database.close()
    },
  }
}

const connectionCountDefault = 6
const silent: StoreLogger = { info: () => undefined, warn: () => undefined, error: () => undefined }
