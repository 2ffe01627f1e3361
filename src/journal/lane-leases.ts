/** Leases of nodes, by the database's clock: workers on several machines need not agree on the time. */
import type { PoolClient } from 'pg'
import type { NodeId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { type Database, nowMs, reach } from '../store/database.ts'
import { decodeNode, type NodeRow } from '../store/node-row.ts'
import { transactBehind } from '../store/transaction.ts'
import type { NodeLease } from './ports.ts'
import { troubleText } from './trouble-text.ts'

/**
 * Takes what is free or expired and renews what is ours, in one statement. The epoch rises whenever a lease changes hands,
 * or was let expire: what its former holder still does is then refused by `holdLease`.
 *
 * Live leases of others are not touched, and an expired one whose holder stands still in the middle of a transaction is left
 * for the next time: waiting for it would let our own leases expire.
 */
export async function leaseNodes(
  database: Database,
  sealing: Sealing,
  worker: string,
  leaseMs: number,
): Promise<readonly NodeLease[]> {
  const { rows } = await reach(() =>
    database.pool.query<NodeRow & { epoch: number }>(
      `with expired as materialized (
         select node_id from node_leases where owner <> $1 and until <= ${nowMs} order by node_id for update skip locked
       ), wanted as (
         select node_id from expired
         union all select node_id from node_leases where owner = $1
         union all select id from nodes n where not exists (select from node_leases l where l.node_id = n.id) and not n.is_removed
       ), taken as (
         insert into node_leases as l (node_id, owner, epoch, until)
         select node_id, $1, 1, ${nowMs} + $2 from wanted order by node_id
         on conflict (node_id) do update set
           owner = excluded.owner,
           until = excluded.until,
           epoch = case when l.owner = excluded.owner and l.until > ${nowMs} then l.epoch else l.epoch + 1 end
         where l.owner = excluded.owner or l.until <= ${nowMs}
         returning node_id, epoch
       )
       select n.*, t.epoch from taken t join nodes n on n.id = t.node_id where not n.is_removed order by n.id`,
      [worker, leaseMs],
    ),
  )
  return rows.map((row) => ({ node: decodeNode(sealing, row), epoch: row.epoch }))
}

/** The epoch stays: the next grant must be above it. */
export async function releaseNodes(database: Database, worker: string): Promise<void> {
  await reach(() => database.pool.query("update node_leases set owner = '', until = 0 where owner = $1", [worker]))
}

export async function noteTrouble(database: Database, lease: NodeLease, trouble: string | null): Promise<boolean> {
  const { rowCount } = await reach(() =>
    database.pool.query("update node_leases set trouble = $3 where node_id = $1 and epoch = $2 and owner <> ''", [
      lease.node.id,
      lease.epoch,
      trouble,
    ]),
  )
  return rowCount !== 0
}

export async function troubles(database: Database): Promise<ReadonlyMap<NodeId, string>> {
  const { rows } = await reach(() =>
    database.pool.query<{ id: NodeId; trouble: string | null; silent_since: string | null }>(
      `select n.id, l.trouble, n.silent_since from nodes n left join node_leases l on l.node_id = n.id
       where not n.is_removed and (l.trouble is not null or n.silent_since is not null)`,
    ),
  )
  return new Map(
    rows.map(({ id, trouble, silent_since: since }) => [
      id,
      troubleText(trouble, since === null ? null : Number(since)),
    ]),
  )
}

/** Runs `work` while nobody can take the lease; `false` = somebody has. */
export async function holding<T>(
  database: Database,
  lease: NodeLease,
  work: (client: PoolClient) => Promise<T>,
): Promise<T | false> {
  return transactBehind(
    database,
    (client) =>
      `select 1 from node_leases where node_id = ${client.escapeLiteral(lease.node.id)} and epoch = ${Number(lease.epoch)}
         and owner <> '' for share`,
    async (client, heldCount) => (heldCount === 0 ? false : work(client)),
  )
}
