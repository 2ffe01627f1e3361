/** What replicas of spread indexes say of changes that are not complete yet, as rows. */
import type { PoolClient } from 'pg'
import type { IndexId, Placement } from '../store/catalogue.ts'
import { type Database, reach } from '../store/database.ts'
import type { ChangeRow } from '../store/tables.ts'
import { replicaId } from '../topology/replica-id.ts'
import { replicasIn, selectIndexes } from './index-rows.ts'
import type { Report } from './joint-progress.ts'
import type { ChangeOutcome } from './ports.ts'
import { mayMix, type SettingsTurn, settingsTurn } from './settings-turn.ts'
import type { ReplicaStanding } from './write-index.ts'

/** Safe to repeat: the newest report of a replica counts. */
export async function saveReports(
  client: PoolClient,
  { index, physicalUid, node }: Placement,
  outcomes: readonly ChangeOutcome[],
): Promise<void> {
  if (outcomes.length === 0) return
  await client.query({
    name: 'save-reports',
    text: `insert into reports (index_id, position, physical_uid, node_id, outcome)
      select $1, position, $2, $3, outcome from unnest($4::bigint[], $5::text[]) as r (position, outcome)
      on conflict (index_id, position, node_id, physical_uid) do update set outcome = excluded.outcome`,
    values: [
      index,
      physicalUid,
      node,
      outcomes.map(({ position }) => position),
      outcomes.map((outcome) => JSON.stringify(outcome)),
    ],
  })
}

/** The reports of positions behind `after` up to `through`, by position, ascending; they are no longer stored. */
export async function takeReports(
  client: PoolClient,
  index: IndexId,
  after: number,
  through: number,
): Promise<ReadonlyMap<number, readonly Report[]>> {
  const reports = new Map<number, Report[]>()
  if (through <= after) return reports
  const { rows } = await client.query<ReportRow & { position: number }>({
    name: 'take-reports',
    text: `with taken as (
        delete from reports where index_id = $1 and position <= $2 returning position, node_id, physical_uid, outcome
      )
      select * from taken where position > $3 order by position`,
    values: [index, through, after],
  })
  for (const row of rows) {
    const report = reportIn(row)
    const others = reports.get(row.position)
    if (others === undefined) reports.set(row.position, [report])
    else others.push(report)
  }
  return reports
}

/** The reports of one position. */
export async function reportsOf(client: PoolClient, index: IndexId, position: number): Promise<readonly Report[]> {
  const { rows } = await client.query<ReportRow>({
    name: 'reports-of',
    text: 'select node_id, physical_uid, outcome from reports where index_id = $1 and position = $2',
    values: [index, position],
  })
  return rows.map(reportIn)
}

type ReportRow = { node_id: string; physical_uid: string; outcome: string }

function reportIn({ node_id: node, physical_uid: physicalUid, outcome }: ReportRow): Report {
  return { replica: replicaId({ node, physicalUid }), outcome: JSON.parse(outcome) as ChangeOutcome }
}

export async function deleteReports(client: PoolClient, index: IndexId): Promise<void> {
  await client.query('delete from reports where index_id = $1', [index])
}

/** Some of these changes ended otherwise than this replica says: it does not hold what the others hold. */
export async function isContradicted(
  client: PoolClient,
  index: IndexId,
  told: readonly ChangeOutcome[],
): Promise<boolean> {
  const outcomes = told.filter(({ isElsewhere }) => !isElsewhere)
  if (outcomes.length === 0) return false
  const { rowCount } = await client.query({
    name: 'contradicted-outcomes',
    text: `select 1 from changes c join unnest($2::bigint[], $3::text[]) as o (position, status) on o.position = c.position
      where c.index_id = $1 and c.finished_at is not null and c.refusal is null and c.status <> o.status limit 1`,
    values: [index, outcomes.map(({ position }) => position), outcomes.map(({ status }) => status)],
  })
  return rowCount !== 0
}

/** Served by changes_position (index_id, position) and the key of reports. */
export async function failedOn(
  database: Database,
  { index, physicalUid, node }: Placement,
  positions: readonly number[],
): Promise<readonly number[]> {
  if (positions.length === 0) return []
  const { rows } = await reach(() =>
    database.pool.query<{ position: number }>({
      name: 'failed-on',
      text: `select position from changes
        where index_id = $1 and position = any($2::bigint[]) and finished_at is not null and status = 'failed'
        union
        select position from reports
        where index_id = $1 and position = any($2::bigint[]) and physical_uid = $3 and node_id = $4
          and outcome::json->>'status' = 'failed'`,
      values: [index, positions, physicalUid, node],
    }),
  )
  return rows.map(({ position }) => position)
}

/**
 * How the settings changes of a page of a spread index go over its replicas, by position. Asks only when the page has some
 * that may reach a node.
 */
export async function settingsTurns(
  database: Database,
  index: IndexId,
  rows: readonly ChangeRow[],
): Promise<ReadonlyMap<number, SettingsTurn>> {
  const turning = rows.filter(
    ({ operation, status, refusal }) => operation === 'settings' && status !== 'canceled' && refusal === null,
  )
  const positions = turning.flatMap(({ position }) => position ?? [])
  if (positions.length === 0) return new Map()
  const { rows: found } = await reach(() =>
    database.pool.query<{
      replicas: Omit<ReplicaStanding, 'isCurrent'>[] | null
      generation: number
      created_at: number | null
      may_hold_documents: boolean
      reports: (ReportRow & { position: number })[] | null
    }>({
      name: 'settings-turns',
      text: `${selectIndexes(
        false,
        `(
          select json_agg(json_build_object('position', r.position, 'node_id', r.node_id, 'physical_uid', r.physical_uid, 'outcome', r.outcome))
          from reports r where r.index_id = i.id and r.position = any($2::bigint[])
        ) as reports`,
      )} where i.id = $1 and i.spread is not null`,
      values: [index, positions],
    }),
  )
  const [one] = found
  if (one === undefined) return new Map()
  const terms = { mayMix: mayMix({ createdAt: one.created_at, mayHoldDocuments: one.may_hold_documents }) }
  const reportsAt = (at: number) => (one.reports ?? []).filter(({ position }) => position === at).map(reportIn)
  return new Map(
    turning.map(({ position, finished_at }) => {
      const at = position ?? 0
      const isOver = finished_at !== null
      const turning = replicasIn(one).filter(({ isCurrent }) => isOver || isCurrent)
      return [at, settingsTurn(turning, at, reportsAt(at), { ...terms, isOver })]
    }),
  )
}
