/** Data keys as rows: made, read and sealed anew. */
import { randomBytes } from 'node:crypto'
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import { SealBroken, type SealingKey, sealedUnder, sealingKey } from '../lib/seal.ts'
import type { OrganisationId } from './catalogue.ts'
import { type Database, reach } from './database.ts'
import { type DataKeyRow, unwrapKey, wrapContext, wrongKey } from './key-ring.ts'
import { StoreUnavailable } from './ports.ts'
import { transact } from './transaction.ts'

/** Every process reads a new key well before anything is sealed under it. */
const usableAfterMs = 120_000
/**
 * An organisation's first key is in use at once, as there is none before it; who does not know it yet reads it when it meets
 * a value. Older than the installation's, so that a program without keys of organisations goes on sealing under those.
 */
const firstUsableFrom = -1
/** Any number that no other program takes on the same database. */
const advisoryLock = 7_346_202
const rowsPerStatement = 500

/** Those of the installation, and those of organisations that came after `version`. */
export async function readDataKeys(
  database: Pick<Database['pool'], 'query'>,
  version: number,
): Promise<readonly DataKeyRow[]> {
  try {
    const read = () =>
      database.query<DataKeyRow>('select * from data_keys where organisation_id is null or version > $1', [version])
    return (await reach(read)).rows
  } catch (cause) {
    const isAbsent = cause instanceof Error && 'code' in cause && (cause.code === '42P01' || cause.code === '42703')
    if (!isAbsent) throw cause
    throw new StoreUnavailable('the database has an older schema; start the server once, which brings it up to date', {
      cause,
    })
  }
}

export interface KeyMaking {
  /** The sealing keys that the process knows. */
  readonly masters: () => Promise<readonly [SealingKey, ...SealingKey[]]>
  readonly clock: Pick<Clock, 'now'>
}

/** The first data key. In a database that was sealed without data keys, the sealing key itself, so that its rows stay readable. */
export async function makeFirstDataKey(
  client: PoolClient,
  { isAdopted, ...making }: KeyMaking & { readonly isAdopted: boolean },
): Promise<void> {
  const [master] = await making.masters()
  const key = isAdopted ? master : sealingKey(randomBytes(32))
  await insertDataKeys(client, [{ key, organisation: null }], { ...making, usableFrom: 0 })
}

/** The first data key of each. */
export function makeOrganisationKeys(
  client: PoolClient,
  organisations: readonly OrganisationId[],
  making: KeyMaking,
): Promise<void> {
  const made = organisations.map((organisation) => ({ key: sealingKey(randomBytes(32)), organisation }))
  return insertDataKeys(client, made, { ...making, usableFrom: firstUsableFrom })
}

/**
 * A further data key for everybody whose newest one is of the time before the sealing key was replaced. They come into use in
 * two minutes.
 */
export function addDataKeys(database: Database, making: KeyMaking): Promise<void> {
  return transact(database, async (client) => {
    await lockKeys(client)
    const { rows } = await client.query<{ organisation_id: string | null }>(
      `select organisation_id from (
         select distinct on (organisation_id) organisation_id, rewrapped_at from data_keys
         order by organisation_id, usable_from desc, version desc
       ) newest where rewrapped_at is not null`,
    )
    const made = rows.map(({ organisation_id: organisation }) => ({ key: sealingKey(randomBytes(32)), organisation }))
    await insertDataKeys(client, made, { ...making, usableFrom: making.clock.now() + usableAfterMs })
  })
}

interface NewDataKey {
  readonly key: SealingKey
  readonly organisation: OrganisationId | null
}

/** Of two keys with one id, which is four bytes long, the later one is another one in the end. */
async function insertDataKeys(
  client: PoolClient,
  made: readonly NewDataKey[],
  { masters, clock, usableFrom }: KeyMaking & { readonly usableFrom: number },
): Promise<void> {
  await lockKeys(client)
  const master = await presentMaster(client, await masters())
  let left = made
  while (left.length > 0) {
    const step = left.slice(0, rowsPerStatement)
    const { rows } = await client.query<{ id: string }>(
      `insert into data_keys (id, wrapped, organisation_id, usable_from, created_at)
       select n.id, n.wrapped, n.organisation, $4, $5 from unnest($1::text[], $2::bytea[], $3::uuid[]) as n (id, wrapped, organisation)
       on conflict (id) do nothing returning id`,
      [
        step.map(({ key }) => key.id),
        step.map(({ key }) => master.seal(key.bytes(), wrapContext(key.id))),
        step.map(({ organisation }) => organisation),
        usableFrom,
        clock.now(),
      ],
    )
    const stored = new Set(rows.map(({ id }) => id))
    const taken = step.filter(({ key }) => !stored.delete(key.id))
    const others = taken.map(({ organisation }) => ({ key: sealingKey(randomBytes(32)), organisation }))
    left = [...others, ...left.slice(rowsPerStatement)]
  }
}

/** Until the commit: versions become visible in their order, and nothing is sealed under a sealing key that is being replaced. */
async function lockKeys(client: PoolClient): Promise<void> {
  await client.query('select pg_advisory_xact_lock($1)', [advisoryLock])
}

/** The one that the data keys stand under now: a process may have been started before it was replaced. */
async function presentMaster(client: PoolClient, masters: readonly [SealingKey, ...SealingKey[]]): Promise<SealingKey> {
  const { rows } = await client.query<{ wrapped: Buffer }>(
    'select wrapped from data_keys where organisation_id is null order by usable_from desc, version desc limit 1',
  )
  const [newest] = rows
  if (newest === undefined) return masters[0]
  const id = sealedUnder(newest.wrapped)
  const master = masters.find((candidate) => candidate.id === id)
  if (master === undefined) throw wrongKey(masters[0], new SealBroken('sealed under another key'))
  return master
}

/**
 * Seals the data keys under another sealing key. Running processes hold the data keys already and notice nothing. May run
 * again. An organisation's key that was altered, and opens nothing any more, stays as it is.
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
    await lockKeys(client)
    const { rows } = await client.query<DataKeyRow>('select * from data_keys order by id for update')
    const due = rows.filter(({ wrapped }) => sealedUnder(wrapped) !== next.id)
    for (let at = 0; at < due.length; at += rowsPerStatement) {
      const fresh = due.slice(at, at + rowsPerStatement).flatMap((row) => rewrap(row, masters, next) ?? [])
      await client.query(
        `update data_keys k set wrapped = n.wrapped, rewrapped_at = $3
         from unnest($1::text[], $2::bytea[]) as n (id, wrapped) where k.id = n.id`,
        [fresh.map(({ id }) => id), fresh.map(({ wrapped }) => wrapped), clock.now()],
      )
    }
  })
}

function rewrap(row: DataKeyRow, masters: readonly SealingKey[], next: SealingKey) {
  try {
    return { id: row.id, wrapped: next.seal(unwrapKey(row, masters).bytes(), wrapContext(row.id)) }
  } catch (error) {
    if (error instanceof SealBroken) return undefined
    throw error
  }
}
