/** Brings a database to this program's schema, and checks that its secrets can be read with our sealing key. */
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import { SealBroken, type SealingKey } from '../lib/seal.ts'
import { makeFirstDataKey, makeOrganisationKeys, readDataKeys } from './data-key-rows.ts'
import { type Database, reach } from './database.ts'
import { type KeyRing, type Opener, wrongKey } from './key-ring.ts'
import { type Migration, migrations } from './migrations/migrations.ts'

/** The database was used by a newer program. Nothing was changed. */
export class SchemaTooNew extends Error {
  override readonly name = 'SchemaTooNew'
}

/** Any number that no other program takes on the same database. */
const advisoryLock = 7_346_201
const majorMin = 15
export const canaryContext = 'instance:canary'
const canaryText = 'flapjack'

export interface MigrateOptions {
  /** The operator's keys: the present one, and others under which data keys may stand. */
  readonly masters: readonly [SealingKey, ...SealingKey[]]
  /** Learns the database's keys. */
  readonly ring: KeyRing
  readonly clock: Clock
  readonly steps?: readonly Migration[]
}

/**
 * Applies what is missing, each step in its own transaction, under an advisory lock: several processes may start at once.
 * Running it again changes nothing.
 */
export async function migrate(database: Database, options: MigrateOptions): Promise<void> {
  const client = await reach(() => database.pool.connect())
  let failure: Error | undefined
  try {
    await reach(() => migrateLocked(client, options))
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error))
    throw error
  } finally {
    // After a failure the connection may hold the lock: it is ended, and the lock with it.
    client.release(failure)
  }
}

async function migrateLocked(client: PoolClient, options: MigrateOptions): Promise<void> {
  const steps = options.steps ?? migrations
  const server = await client.query("select current_setting('server_version_num')::int as number")
  if (server.rows[0].number < majorMin * 10_000) {
    throw new SchemaTooNew(`PostgreSQL ${majorMin} or newer is needed; this server is ${server.rows[0].number}.`)
  }
  await client.query('select pg_advisory_lock($1)', [advisoryLock])
  await client.query(
    'create table if not exists schema_versions (version int primary key, name text not null, applied_at bigint not null)',
  )
  const present = await client.query('select coalesce(max(version), 0) as version from schema_versions')
  const current: number = present.rows[0].version
  const newest = steps.at(-1)?.version ?? 0
  if (current > newest) {
    throw new SchemaTooNew(
      `This data was used by a newer Flapjack (schema ${current}); this one knows schema ${newest}. Start the newer ` +
        'program, or restore a backup that was made before the upgrade.',
    )
  }
  for (const step of steps.filter(({ version }) => version > current)) {
    await client.query('begin')
    await client.query(step.sql)
    await client.query('insert into schema_versions values ($1, $2, $3)', [
      step.version,
      step.name,
      options.clock.now(),
    ])
    await client.query('commit')
  }
  await openKeys(client, options)
  await client.query('select pg_advisory_unlock($1)', [advisoryLock])
}

/** Losing the key must show at start, not when the first secret is needed. */
async function openKeys(client: PoolClient, { masters, ring, clock }: MigrateOptions): Promise<void> {
  const [master] = masters
  const known = async () => masters
  const found = await client.query<{ canary_sealed: Buffer }>('select canary_sealed from instance where id = 1')
  const [canary] = found.rows
  if ((await readDataKeys(client, 0)).length === 0) {
    if (canary !== undefined) checkCanary(master, canary.canary_sealed)
    await makeFirstDataKey(client, { masters: known, clock, isAdopted: canary !== undefined })
  }
  const keyless = await client.query<{ id: string }>(
    'select id from organisations o where not exists (select 1 from data_keys k where k.organisation_id = o.id)',
  )
  if (keyless.rows.length > 0) {
    // Of the time before organisations had keys, or made by a program of that time.
    await client.query('begin')
    const organisations = keyless.rows.map(({ id }) => id)
    await makeOrganisationKeys(client, organisations, { masters: known, clock })
    await client.query('update instance set secrets_placed = false')
    await client.query('commit')
  }
  ring.load(await readDataKeys(client, 0), masters)
  if (canary !== undefined) return checkCanary(ring, canary.canary_sealed)
  await client.query('insert into instance (id, canary_sealed, created_at, secrets_placed) values (1, $1, $2, true)', [
    ring.seal(canaryText, canaryContext),
    clock.now(),
  ])
}

function checkCanary(key: Opener & Pick<SealingKey, 'id'>, sealed: Buffer): void {
  try {
    key.open(sealed, canaryContext)
  } catch (cause) {
    if (!(cause instanceof SealBroken)) throw cause
    throw wrongKey(key, cause)
  }
}
