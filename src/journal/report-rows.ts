/** What replicas of spread indexes say of changes that are not complete yet, as rows. */
import type { PoolClient } from 'pg'
import type { IndexId, NodeId, Placement } from '../store/catalogue.ts'
import { type Database, reach } from '../store/database.ts'
import type { ChangeRow } from '../store/tables.ts'
import { isInSync, statesWhere } from '../topology/placement-states.ts'
import type { Report } from './joint-progress.ts'
import type { ChangeOutcome, LaneChange } from './ports.ts'

/** Safe to repeat: the newest report of a replica counts. */
export async function saveReports(
  client: PoolClient,
  { index, generation, node }: Placement,
  outcomes: readonly ChangeOutcome[],
): Promise<void> {
  if (outcomes.length === 0) return
  await client.query({
    name: 'save-reports',
    text: `insert into reports (index_id, position, generation, node_id, outcome)
      select $1, position, $2, $3, outcome from unnest($4::bigint[], $5::text[]) as r (position, outcome)
      on conflict (index_id, position, generation, node_id) do update set outcome = excluded.outcome`,
    values: [
      index,
      generation,
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
  const { rows } = await client.query<{ position: number; node_id: string; outcome: string }>({
    name: 'take-reports',
    text: `with taken as (
        delete from reports where index_id = $1 and position <= $2 returning position, node_id, outcome
      )
      select * from taken where position > $3 order by position`,
    values: [index, through, after],
  })
  for (const row of rows) {
    const report = { node: row.node_id, outcome: JSON.parse(row.outcome) as ChangeOutcome }
    const others = reports.get(row.position)
    if (others === undefined) reports.set(row.position, [report])
    else others.push(report)
  }
  return reports
}

export async function deleteReports(client: PoolClient, index: IndexId): Promise<void> {
  await client.query('delete from reports where index_id = $1', [index])
}

/** Some of these changes ended otherwise than this replica says: it does not hold what the others hold. */
export async function isContradicted(
  client: PoolClient,
  index: IndexId,
  outcomes: readonly ChangeOutcome[],
): Promise<boolean> {
  if (outcomes.length === 0) return false
  const { rowCount } = await client.query({
    name: 'contradicted-outcomes',
    text: `select 1 from changes c join unnest($2::bigint[], $3::text[]) as o (position, status) on o.position = c.position
      where c.index_id = $1 and c.finished_at is not null and c.refusal is null and c.status <> o.status limit 1`,
    values: [index, outcomes.map(({ position }) => position), outcomes.map(({ status }) => status)],
  })
  return rowCount !== 0
}

/** How a settings change of a spread index goes over its nodes: see `LaneChange`. */
export type SettingsTurn = Pick<LaneChange, 'firstOn' | 'refusedFirst'>

/** Pure. @param first  the node whose turn is first. @param reports  of the change, so far. */
export function settingsTurn(first: NodeId | null, reports: readonly ChangeOutcome[]): SettingsTurn {
  const refusal = reports.find(({ error }) => error !== null)?.error ?? null
  if (refusal !== null) return { refusedFirst: refusal }
  return first === null || reports.length > 0 ? {} : { firstOn: first }
}

/**
 * One replica of a spread index takes a settings change before the others, so that what a node refuses never reaches them.
 * Asks only when the page has such a change that is not finished.
 */
export async function settingsTurns(
  database: Database,
  index: IndexId,
  rows: readonly ChangeRow[],
): Promise<ReadonlyMap<number, SettingsTurn>> {
  const isOpen = ({ operation, finished_at, refusal }: ChangeRow) =>
    operation === 'settings' && finished_at === null && refusal === null
  const positions = rows.filter(isOpen).map(({ position }) => position)
  if (positions.length === 0) return new Map()
  const { rows: found } = await reach(() =>
    database.pool.query<{ node: NodeId | null; position: number | null; outcome: string | null }>(
      `select (
         select min(p.node_id) from placements p
         where p.index_id = i.id and not p.is_gone and p.state = any($3::text[])
       ) as node, r.position, r.outcome
       from indexes i left join reports r on r.index_id = i.id and r.position = any($2::bigint[])
       where i.id = $1 and i.spread is not null`,
      [index, positions, statesWhere(isInSync)],
    ),
  )
  if (found.length === 0) return new Map()
  const reportsAt = (position: number | null) =>
    found.flatMap(({ position: at, outcome }) =>
      at !== null && at === position && outcome !== null ? [JSON.parse(outcome) as ChangeOutcome] : [],
    )
  const first = found[0]?.node ?? null
  return new Map(positions.map((position) => [position ?? 0, settingsTurn(first, reportsAt(position))]))
}
