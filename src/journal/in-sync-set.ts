/** Who leaves the in-sync sets of indexes and comes back (design 2, rule 3), as transactions. */
import type { IndexId } from '../store/catalogue.ts'
import { type Database, nowMs, reach } from '../store/database.ts'
import { transact } from '../store/transaction.ts'
import { isInSync, statesWhere } from '../topology/placement-states.ts'
import { holding } from './lane-leases.ts'
import { changeStanding, type ProgressDependencies, type ProgressEffects } from './lane-progress.ts'
import type { NodeLease } from './ports.ts'

export interface InSyncDependencies extends ProgressDependencies {
  readonly database: Database
  /** Told of each commit. */
  readonly tell: (effects: ProgressEffects) => void
}

/** Indexes looked at in one go; each is a transaction of its own. */
const indexesPerLook = 500

export async function noteSilence(deps: InSyncDependencies, lease: NodeLease, isSilent: boolean): Promise<boolean> {
  const node = lease.node.id
  const isHeld = await holding(deps.database, lease, async (client) => {
    await client.query(
      `update nodes set silent_since = case when $2 then coalesce(silent_since, ${nowMs}) end where id = $1`,
      [node, isSilent],
    )
    return true
  })
  if (!isHeld) return false
  const kind = isSilent ? 'leave' : 'return'
  for (let after: IndexId | null = null; ; ) {
    const { rows } = await reach(() =>
      deps.database.pool.query<{ id: IndexId }>(
        `select i.id from placements p join indexes i on i.id = p.index_id
         where p.node_id = $1 and not p.is_gone and ($2::uuid is null or i.id > $2::uuid)
           and (i.spread is not null or exists (
             select 1 from placements o where o.index_id = i.id and not o.is_gone and o.node_id <> p.node_id))
           and case when $3 then p.state = any($5::text[]) else p.state = 'filling' and p.applied >= i.completed end
         order by i.id limit $4`,
        [node, after, isSilent, indexesPerLook, statesWhere(isInSync)],
      ),
    )
    for (const { id } of rows) {
      const effects = await holding(deps.database, lease, (client) => changeStanding(client, deps, id, { kind, node }))
      if (effects === false) return false
      deps.tell(effects)
      after = id
    }
    if (rows.length < indexesPerLook) return true
  }
}

/** Served by indexes_held (held_since). */
export async function releaseHeld(deps: InSyncDependencies, lagMs: number): Promise<void> {
  const heldBefore = deps.clock.now() - lagMs
  const { rows } = await reach(() =>
    deps.database.pool.query<{ id: IndexId }>({
      name: 'indexes-held',
      text: 'select id from indexes where held_since is not null and held_since <= $1 order by held_since limit $2',
      values: [heldBefore, indexesPerLook],
    }),
  )
  for (const { id } of rows) {
    deps.tell(
      await transact(deps.database, (client) => changeStanding(client, deps, id, { kind: 'unhold', heldBefore })),
    )
  }
}
