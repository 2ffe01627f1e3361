/**
 * Brings every sealed value under the newest data key of whose it is (P-26): what stood under a key that may be known to
 * somebody, or under the installation's before its organisation had one, does not stand under it any more. Rows are taken in the order of their keys, a few at a time, while everything goes on.
 */
import pg from 'pg'
import type { Clock } from '../lib/clock.ts'
import { SealBroken } from '../lib/seal.ts'
import { backupContext } from '../store/backups.ts'
import { chatsContext, masterKeyContext, networkContext, webhookContext } from '../store/catalogue-rows.ts'
import type { Sealing } from '../store/data-keys.ts'
import type { Database } from '../store/database.ts'
import { credentialContext } from '../store/engine-credentials.ts'
import { nodeKeyContext } from '../store/node-row.ts'
import { canaryContext } from '../store/schema.ts'
import { transact } from '../store/transaction.ts'
import { sealContexts } from './change-row.ts'

export type ResealOutcome =
  /** Some newest data key is not in use by all processes yet: milliseconds since 1970. */
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
  /** The column with the project whose it is; null = it belongs to no organisation. */
  readonly project: string | null
  context(...key: string[]): string
}

/** `store-failures.test.ts` checks that no sealed column of the schema is missing here. */
export const sealedColumns: readonly SealedColumn[] = [
  ofInstallation('instance', 'canary_sealed', ['id', 'int'], () => canaryContext),
  ofInstallation('nodes', 'key_sealed', ['id', 'text'], nodeKeyContext),
  ofProject('projects', 'master_key_sealed', [['id', 'uuid']], masterKeyContext, 'id'),
  ofProject('engine_credentials', 'key_sealed', [['id', 'text']], credentialContext),
  ofProject('networks', 'network_sealed', [['project_id', 'uuid']], networkContext),
  ofProject('networks', 'chats_sealed', [['project_id', 'uuid']], chatsContext),
  ofProject('backups', 'key_sealed', [['id', 'uuid']], backupContext),
  ofProject('webhooks', 'headers_sealed', withinProject(['uuid', 'uuid']), webhookContext),
  ofProject('indexes', 'settings_sealed', [['id', 'uuid']], sealContexts.settings),
  ofProject('indexes', 'settings_done_sealed', [['id', 'uuid']], sealContexts.settingsDone),
  ofChange('secret_sealed', sealContexts.operation),
  ofChange('deliver_sealed', sealContexts.deliver),
]

type KeyColumn = SealedColumn['keys'][number]

function ofInstallation(table: string, column: string, key: KeyColumn, context: SealedColumn['context']): SealedColumn {
  return { table, column, keys: [key], project: null, context }
}

function ofProject(
  ...[table, column, keys, context, project = 'project_id']: [
    table: string,
    column: string,
    keys: readonly KeyColumn[],
    context: SealedColumn['context'],
    project?: string,
  ]
): SealedColumn {
  return { table, column, keys, project, context }
}

function withinProject(key: KeyColumn): readonly KeyColumn[] {
  return [['project_id', 'uuid'], key]
}

function ofChange(column: string, context: (project: string, task: number) => string): SealedColumn {
  const keys = withinProject(['task', 'bigint'])
  return ofProject('changes', column, keys, (project, task) => context(project ?? '', Number(task)))
}

const rowsPerStep = 200
/** Longer than any access token is valid. */
const tokensLastMs = 25 * 3_600_000

/** The newest data key of each organisation, and of the installation (null). */
const newestKeys = `select distinct on (organisation_id) organisation_id, id, usable_from from data_keys
  order by organisation_id, usable_from desc, version desc`

export async function reseal(database: Database, sealing: Sealing, clock: Pick<Clock, 'now'>): Promise<ResealOutcome> {
  const { rows } = await database.pool.query<{ newest_from: number; older: number }>(
    `select coalesce(max(usable_from), 0) as newest_from, (select count(*) from data_keys) - count(*) as older
     from (${newestKeys}) newest`,
  )
  const { newest_from: from, older } = rows[0] ?? { newest_from: 0, older: 0 }
  if (clock.now() < from) return { kind: 'too-early', from }
  const { resealed, stuck } = await resealAll(database, sealing)
  if (stuck > 0)
    throw new SealBroken(
      `the newest data key of some organisation does not open: ${stuck} secrets stay under an older one`,
    )
  if (older === 0) return { kind: 'done', resealed, dropped: 0, keptUntil: null }
  const keptUntil = from + tokensLastMs
  if (clock.now() < keptUntil) return { kind: 'done', resealed, dropped: 0, keptUntil }
  const { rowCount } = await database.pool.query(
    `delete from data_keys where usable_from <= $1 and id not in (select id from (${newestKeys}) newest)`,
    [from],
  )
  return { kind: 'done', resealed, dropped: rowCount ?? 0, keptUntil: null }
}

/** What is of before organisations had data keys goes under theirs. May run in several processes, and again after a crash. */
export async function placeSecrets(database: Database, sealing: Sealing): Promise<number> {
  const { rows } = await database.pool.query<{ secrets_placed: boolean }>('select secrets_placed from instance')
  if (rows[0]?.secrets_placed !== false) return 0
  const { resealed: placed } = await resealAll(database, sealing)
  await database.pool.query('update instance set secrets_placed = true')
  return placed
}

interface Resealed {
  readonly resealed: number
  /** Values that open, and whose new data key does not. */
  readonly stuck: number
}

async function resealAll(database: Database, sealing: Sealing): Promise<Resealed> {
  const all = { resealed: 0, stuck: 0 }
  for (const column of sealedColumns) {
    const { resealed, stuck } = await resealColumn(database, sealing, column)
    all.resealed += resealed
    all.stuck += stuck
  }
  return all
}

async function resealColumn(database: Database, sealing: Sealing, sealed: SealedColumn): Promise<Resealed> {
  const table = pg.escapeIdentifier(sealed.table)
  const column = pg.escapeIdentifier(sealed.column)
  const names = sealed.keys.map(([name]) => `t.${pg.escapeIdentifier(name)}`).join(', ')
  const texts = sealed.keys.map(([name]) => `t.${pg.escapeIdentifier(name)}::text`).join(', ')
  const values = (first: number) => sealed.keys.map(([, type], at) => `$${first + at}::text::${type}`).join(', ')
  const project = sealed.project === null ? 'null::uuid' : `t.${pg.escapeIdentifier(sealed.project)}`
  let after: readonly string[] | undefined
  const all = { resealed: 0, stuck: 0 }
  for (;;) {
    const step = await transact(database, async (client) => {
      const { rows } = await client.query<{ key: readonly string[]; sealed: Buffer; project: string | null }>(
        `with newest as (${newestKeys})
         select array[${texts}] as key, t.${column} as sealed, ${project} as project
         from ${table} t
           left join projects p on p.id = ${project}
           left join newest own on own.organisation_id = p.organisation_id
           join newest general on general.organisation_id is null
         where t.${column} is not null
           and encode(substring(t.${column} from 2 for 4), 'hex') <> coalesce(own.id, general.id)
           ${after === undefined ? '' : `and (${names}) > (${values(1)})`}
         order by ${names} limit ${rowsPerStep} for update of t`,
        [...(after ?? [])],
      )
      const seals = await sealing.ofProjects(
        client,
        rows.flatMap((row) => row.project ?? []),
      )
      const outcome = { resealed: 0, stuck: 0 }
      for (const row of rows) {
        const context = sealed.context(...row.key)
        // What opens for nobody stays as it is: its project is out of service, the others are not kept waiting for it.
        const plain = unlessBroken(() => sealing.open(row.sealed, context))
        if (plain === undefined) continue
        const seal = () => (row.project === null ? sealing.ofInstallation : seals(row.project))
        const fresh = unlessBroken(() => seal().seal(plain, context))
        if (fresh === undefined) {
          outcome.stuck += 1
          continue
        }
        const text = `update ${table} t set ${column} = $1 where (${names}) = (${values(2)})`
        await client.query(text, [fresh, ...row.key])
        outcome.resealed += 1
      }
      return { last: rows.at(-1)?.key, isLast: rows.length < rowsPerStep, ...outcome }
    })
    all.resealed += step.resealed
    all.stuck += step.stuck
    if (step.isLast) return all
    after = step.last
  }
}

function unlessBroken<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (error instanceof SealBroken) return undefined
    throw error
  }
}
