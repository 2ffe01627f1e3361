/**
 * Secrets at rest in two steps (P-26): rows are sealed under data keys, and data keys, in the table `data_keys`, under the
 * sealing key that the operator holds. A new sealing key means that a handful of rows is sealed anew and nothing else; rows
 * under older data keys stay readable, since a sealed value names its key.
 *
 * A ring learns its keys from the database; until then nothing can be sealed or opened.
 */
import { randomBytes } from 'node:crypto'
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import { SealBroken, type SealingKey, sealedUnder, sealingKey } from '../lib/seal.ts'
import { type Database, reach } from './database.ts'
import { StoreUnavailable } from './ports.ts'
import type { Tables } from './tables.ts'
import { transact } from './transaction.ts'

/** The database's secrets were sealed under another key. Nothing was changed. */
export class WrongSealingKey extends Error {
  override readonly name = 'WrongSealingKey'
}

export interface KeyRing extends SealingKey {
  /** Secret bytes for another purpose, of each data key, that of the one in use first. */
  deriveAll(purpose: string): readonly Buffer[]
  /** When the newest data key comes into use, milliseconds since 1970. */
  readonly newestUsableFrom: number
  /** Ids of the data keys that rows should not stand under any more. */
  readonly olderIds: readonly string[]
  readonly newestId: string
  /** Whether the newest data key is of the time before the sealing key was replaced. */
  readonly isNewestOld: boolean
  /**
   * Takes over the keys of the database; those that are known already need not be opened again.
   * @throws WrongSealingKey when another one cannot be opened with any of `masters`.
   */
  load(rows: readonly DataKeyRow[], masters: readonly SealingKey[]): void
}

/** A value names a data key that this process does not know: it may be new. */
export class UnknownDataKey extends StoreUnavailable {}

export type DataKeyRow = Tables['data_keys']

interface DataKey {
  readonly key: SealingKey
  readonly usableFrom: number
  readonly isOld: boolean
}

/** Every process reads a new key well before anything is sealed under it. */
const usableAfterMs = 120_000
const wrapContext = (id: string) => `data-key:${id}`

/** @param onUnknown  a value names a data key that is not in the ring: the database is worth a look. */
export function createKeyRing({
  clock,
  onUnknown = () => undefined,
}: {
  readonly clock: Pick<Clock, 'now'>
  readonly onUnknown?: () => void
}): KeyRing {
  /** Newest first. */
  let keys: readonly DataKey[] = []
  /** Ids that were asked for, and that the database did not have when it was read after that. */
  let absent: ReadonlySet<string> = new Set()
  let asked = new Set<string>()

  const active = (): SealingKey => {
    const nowMs = clock.now()
    const found = keys.find(({ usableFrom }) => usableFrom <= nowMs) ?? keys.at(-1)
    if (found === undefined) throw new StoreUnavailable('the keys of the store are not known yet')
    return found.key
  }
  return {
    get id() {
      return active().id
    },
    get newestId() {
      return keys[0]?.key.id ?? ''
    },
    get newestUsableFrom() {
      return keys[0]?.usableFrom ?? 0
    },
    get isNewestOld() {
      return keys[0]?.isOld ?? false
    },
    get olderIds() {
      return keys.slice(1).map(({ key }) => key.id)
    },
    seal: (plain, context) => active().seal(plain, context),
    open(sealed, context) {
      const id = sealedUnder(sealed)
      const found = keys.find(({ key }) => key.id === id)
      if (found !== undefined) return found.key.open(sealed, context)
      if (id.length < 8) throw new SealBroken('not a sealed value')
      if (keys.length === 0) throw new StoreUnavailable('the keys of the store are not known yet')
      if (absent.has(id)) throw new SealBroken('sealed under another key')
      asked.add(id)
      onUnknown()
      throw new UnknownDataKey('a key of the store is not known yet')
    },
    derive: (purpose) => active().derive(purpose),
    deriveAll(purpose) {
      const used = active()
      const others = keys.filter(({ key }) => key !== used)
      return [used, ...others.map(({ key }) => key)].map((key) => key.derive(purpose))
    },
    bytes: () => active().bytes(),
    load(rows, masters) {
      const loaded = rows.map((row) => {
        const key = keys.find((known) => known.key.id === row.id)?.key ?? unwrap(masters, row)
        return { key, usableFrom: row.usable_from, isOld: row.rewrapped_at !== null }
      })
      keys = loaded.sort((a, b) => b.usableFrom - a.usableFrom)
      absent = new Set([...asked].filter((id) => !keys.some(({ key }) => key.id === id)))
      asked = new Set(absent)
    },
  }
}

function unwrap(masters: readonly SealingKey[], { id, wrapped }: DataKeyRow): SealingKey {
  const master = masters.find((candidate) => candidate.id === sealedUnder(wrapped))
  try {
    if (master === undefined) throw new SealBroken('sealed under another key')
    return sealingKey(master.open(wrapped, wrapContext(id)))
  } catch (cause) {
    if (!(cause instanceof SealBroken)) throw cause
    throw new WrongSealingKey(
      `The secrets in this database were sealed under another key than the configured one (${masters[0]?.id}). Put the ` +
        'original key file back.',
      { cause },
    )
  }
}

export async function readDataKeys(database: Database): Promise<readonly DataKeyRow[]> {
  try {
    return (await reach(() => database.pool.query<DataKeyRow>('select * from data_keys'))).rows
  } catch (cause) {
    const isAbsent = cause instanceof Error && 'code' in cause && cause.code === '42P01'
    if (!isAbsent) throw cause
    throw new StoreUnavailable('the database has an older schema; start the server once, which brings it up to date', {
      cause,
    })
  }
}

/** The first data key. In a database that was sealed without data keys, the sealing key itself, so that its rows stay readable. */
export async function makeFirstDataKey(
  client: PoolClient,
  { master, clock, isAdopted }: { readonly master: SealingKey; readonly clock: Clock; readonly isAdopted: boolean },
): Promise<void> {
  await insertDataKey(client, isAdopted ? master : sealingKey(randomBytes(32)), { master, usableFrom: 0, clock })
}

/** A data key that values are sealed under soon. Needs to be known by all processes then. */
export function addDataKey(
  database: Database,
  { master, clock }: { readonly master: SealingKey; readonly clock: Clock },
): Promise<void> {
  return transact(database, (client) =>
    insertDataKey(client, sealingKey(randomBytes(32)), { master, usableFrom: clock.now() + usableAfterMs, clock }),
  )
}

async function insertDataKey(
  client: PoolClient,
  key: SealingKey,
  { master, usableFrom, clock }: { readonly master: SealingKey; readonly usableFrom: number; readonly clock: Clock },
): Promise<void> {
  await client.query('insert into data_keys (id, wrapped, usable_from, created_at) values ($1, $2, $3, $4)', [
    key.id,
    master.seal(key.bytes(), wrapContext(key.id)),
    usableFrom,
    clock.now(),
  ])
}

/**
 * Seals the data keys under another sealing key. Running processes hold the data keys already and notice nothing. May run
 * again.
 * @throws WrongSealingKey when a data key stands under none of `masters` and `next`.
 */
export function rotateSealingKey(
  database: Database,
  {
    masters,
    next,
    clock,
  }: { readonly masters: readonly SealingKey[]; readonly next: SealingKey; readonly clock: Clock },
): Promise<void> {
  return transact(database, async (client) => {
    const { rows } = await client.query<DataKeyRow>('select * from data_keys for update')
    for (const row of rows) {
      if (sealedUnder(row.wrapped) === next.id) continue
      const wrapped = next.seal(unwrap(masters, row).bytes(), wrapContext(row.id))
      const values = [row.id, wrapped, clock.now()]
      await client.query('update data_keys set wrapped = $2, rewrapped_at = $3 where id = $1', values)
    }
  })
}
