/**
 * Brings every sealed value under the newest data key (P-26): what stood under a key that may be known to somebody does not
 * stand under it any more. Rows are taken in the order of their keys, a few at a time, while everything goes on.
 */
import pg from 'pg'
import type { Clock } from '../lib/clock.ts'
import { chatsContext, masterKeyContext, networkContext, webhookContext } from '../store/catalogue-rows.ts'
import type { Database } from '../store/database.ts'
import { credentialContext } from '../store/engine-credentials.ts'
import type { KeyRing } from '../store/key-ring.ts'
import { nodeKeyContext } from '../store/node-row.ts'
import { canaryContext } from '../store/schema.ts'
import { transact } from '../store/transaction.ts'
import { sealContexts } from './change-row.ts'

export type ResealOutcome =
  /** The newest data key is not in use by all processes yet: milliseconds since 1970. */
  | { readonly kind: 'too-early'; readonly from: number }
  | {
      readonly kind: 'done'
      readonly resealed: number
      /** Older data keys that are gone. */
      readonly dropped: number
      /** Older data keys stay until then, since access tokens that they signed may still be valid; null = none are left. */
      readonly keptUntil: number | null
    }

interface SealedColumn {
  readonly table: string
  readonly column: string
  /** The primary key. */
  readonly keys: readonly (readonly [name: string, type: string])[]
  context(...key: string[]): string
}

/** `store-failures.test.ts` checks that no sealed column of the schema is missing here. */
export const sealedColumns: readonly SealedColumn[] = [
  { table: 'instance', column: 'canary_sealed', keys: [['id', 'int']], context: () => canaryContext },
  { table: 'projects', column: 'master_key_sealed', keys: [['id', 'uuid']], context: masterKeyContext },
  { table: 'nodes', column: 'key_sealed', keys: [['id', 'text']], context: nodeKeyContext },
  { table: 'engine_credentials', column: 'key_sealed', keys: [['id', 'text']], context: credentialContext },
  { table: 'networks', column: 'network_sealed', keys: [['project_id', 'uuid']], context: networkContext },
  { table: 'networks', column: 'chats_sealed', keys: [['project_id', 'uuid']], context: chatsContext },
  {
    ...{ table: 'webhooks', column: 'headers_sealed', context: webhookContext },
    keys: [
      ['project_id', 'uuid'],
      ['uuid', 'uuid'],
    ],
  },
  { table: 'indexes', column: 'settings_sealed', keys: [['id', 'uuid']], context: sealContexts.settings },
  { table: 'indexes', column: 'settings_done_sealed', keys: [['id', 'uuid']], context: sealContexts.settingsDone },
  changeColumn('secret_sealed', sealContexts.operation),
  changeColumn('deliver_sealed', sealContexts.deliver),
]

function changeColumn(column: string, context: (project: string, task: number) => string): SealedColumn {
  return {
    ...{ table: 'changes', column, context: (project, task) => context(project ?? '', Number(task)) },
    keys: [
      ['project_id', 'uuid'],
      ['task', 'bigint'],
    ],
  }
}

const rowsPerStep = 200
/** Longer than any access token is valid. */
const tokensLastMs = 25 * 3_600_000

export async function reseal(database: Database, ring: KeyRing, clock: Pick<Clock, 'now'>): Promise<ResealOutcome> {
  const from = ring.newestUsableFrom
  if (clock.now() < from) return { kind: 'too-early', from }
  const older = ring.olderIds
  if (older.length === 0) return { kind: 'done', resealed: 0, dropped: 0, keptUntil: null }
  let resealed = 0
  for (const column of sealedColumns) resealed += await resealColumn(database, ring, column)
  const keptUntil = from + tokensLastMs
  if (clock.now() < keptUntil) return { kind: 'done', resealed, dropped: 0, keptUntil }
  const { rowCount } = await database.pool.query('delete from data_keys where id = any($1)', [older])
  return { kind: 'done', resealed, dropped: rowCount ?? 0, keptUntil: null }
}

async function resealColumn(database: Database, ring: KeyRing, sealed: SealedColumn): Promise<number> {
  const table = pg.escapeIdentifier(sealed.table)
  const column = pg.escapeIdentifier(sealed.column)
  const names = sealed.keys.map(([name]) => pg.escapeIdentifier(name)).join(', ')
  const texts = sealed.keys.map(([name]) => `${pg.escapeIdentifier(name)}::text`).join(', ')
  const values = (first: number) => sealed.keys.map(([, type], at) => `$${first + at}::text::${type}`).join(', ')
  let after: readonly string[] | undefined
  let count = 0
  for (;;) {
    const done: readonly (readonly string[])[] = await transact(database, async (client) => {
      const { rows } = await client.query<{ key: readonly string[]; sealed: Buffer }>(
        `select array[${texts}] as key, ${column} as sealed from ${table}
         where ${column} is not null and encode(substring(${column} from 2 for 4), 'hex') <> $1
           ${after === undefined ? '' : `and (${names}) > (${values(2)})`}
         order by ${names} limit ${rowsPerStep} for update`,
        [ring.newestId, ...(after ?? [])],
      )
      for (const row of rows) {
        const context = sealed.context(...row.key)
        const fresh = ring.seal(ring.open(row.sealed, context), context)
        await client.query(`update ${table} set ${column} = $1 where (${names}) = (${values(2)})`, [fresh, ...row.key])
      }
      return rows.map(({ key }) => key)
    })
    count += done.length
    if (done.length < rowsPerStep) return count
    after = done.at(-1)
  }
}
