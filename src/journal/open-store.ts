/** Catalogue and journal over one PostgreSQL, and their twin in memory. The one place where the store's parts are wired. */
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { SealingKey } from '../lib/seal.ts'
import type { StoreLogger } from '../store/database.ts'
import type { Catalogue } from '../store/ports.ts'
import type { PostgresConnection } from '../store/postgres-server.ts'
import type { Journal, LaneJournal } from './ports.ts'

export interface Store {
  readonly catalogue: Catalogue
  readonly journal: Journal
  readonly laneJournal: LaneJournal
  /** Brings the schema up to this program's. Safe to run twice and from several processes. Throws `SchemaTooNew`, `WrongSealingKey`. */
  migrate(): Promise<void>
  /** Resolves when the database answers; throws `StoreUnavailable`. */
  ping(): Promise<void>
  /** Removes blobs that no change refers to and that are older than an hour. Answers how many. Once at start. */
  sweepBlobs(): Promise<number>
  close(): Promise<void>
}

export interface StoreOptions {
  readonly database:
    | { readonly kind: 'url'; readonly url: string }
    | { readonly kind: 'postgres'; readonly connection: PostgresConnection }
  readonly blobFolder: string
  readonly sealingKey: SealingKey
  readonly clock: Clock
  readonly random: Random
  readonly logger?: StoreLogger
  /** Connections of this process, 2 or more. Default 6. */
  readonly connectionCountMax?: number
  /** Rule 2 of the design: `journal` accepts whenever the store does. Default `available`. */
  readonly admission?: 'available' | 'journal'
}

export declare function openStore(options: StoreOptions): Promise<Store>

/** The same promises without durability, for the simulator and for unit tests. */
export declare function openMemoryStore(options: { readonly clock: Clock; readonly random: Random }): Store
