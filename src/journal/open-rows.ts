/** Changes that have not finished, as rows. */
import type { PoolClient } from 'pg'
import type { ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { decodeOpen, jsonText, type OpenRow, openColumns, sealContexts, sealJson } from './change-row.ts'
import type { IndexState, OpenChange } from './write-index.ts'

/** @param through  last position to load; absent = up to the head. Locked, so that nobody marks them as sent meanwhile. */
export async function lockOpen(
  client: PoolClient,
  sealing: Sealing,
  index: IndexState,
  through = index.head,
): Promise<readonly OpenChange[]> {
  const { rows } = await client.query<OpenRow>({
    name: 'lock-open',
    text: `select ${openColumns} from changes
      where index_id = $1 and position > $2 and position <= $3 and finished_at is null order by position for update`,
    values: [index.id, index.completed, through],
  })
  return rows.map((row) => decodeOpen(sealing, row))
}

/** Writes the refusals and deliveries that `complete` or `cancel` made new. */
export async function saveRewritten(
  client: PoolClient,
  sealing: Sealing,
  project: ProjectId,
  changes: readonly OpenChange[],
): Promise<void> {
  if (changes.length === 0) return
  const seals = await sealing.ofProjects(client, changes.some(({ deliver }) => deliver !== null) ? [project] : [])
  await client.query(
    `update changes c set refusal = u.refusal, deliver_sealed = u.deliver
     from unnest($2::bigint[], $3::text[], $4::bytea[]) as u (task, refusal, deliver)
     where c.project_id = $1 and c.task = u.task`,
    [
      project,
      changes.map((change) => change.task),
      changes.map((change) => jsonText(change.refusal)),
      changes.map((change) =>
        change.deliver === null
          ? null
          : sealJson(seals(project), change.deliver, sealContexts.deliver(project, change.task)),
      ),
    ],
  )
}
