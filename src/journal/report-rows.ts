/** What replicas of spread indexes say of changes that are not complete yet, as rows. */
import type { PoolClient } from 'pg'
import type { IndexId, Placement } from '../store/catalogue.ts'
import type { Report } from './joint-progress.ts'
import type { ChangeOutcome } from './ports.ts'

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
