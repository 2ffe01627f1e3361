/** Which indexes' replicas were compared in the background, and what was found: one row for each index. */
import type { Json, JsonObject } from '../lib/json.ts'
import type { IndexId } from './catalogue.ts'
import { type Database, nowMs, reach } from './database.ts'

/** A replica that differed the last time. */
export interface ReplicaFinding {
  readonly node: string
  readonly physicalUid: string
  /** Passes in a row in which it did. */
  readonly times: number
  /** Times that it, or what it was compared with, was built anew because of that. */
  readonly rebuilt: number
  /** Ids of documents that differed, at most a few. */
  readonly differing: readonly string[]
  readonly settingsDiffer: boolean
}

export interface ReplicaCheck {
  readonly index: IndexId
  readonly findings: readonly ReplicaFinding[]
  /** When the last pass ended; null = none did. */
  readonly checkedAt: number | null
}

export interface CheckResult extends Pick<ReplicaCheck, 'findings'> {
  /** When the next pass is due, ms from now. */
  readonly dueInMs: number
}

/** Every method may throw `StoreUnavailable`. */
export interface ReplicaChecks {
  /** Takes the index with several replicas that has been due for longest. `undefined` = none is. */
  claim(worker: string, leaseMs: number): Promise<ReplicaCheck | undefined>
  /** `false` = the lease is another's, or the index is gone. */
  renew(worker: string, index: IndexId, leaseMs: number): Promise<boolean>
  /** Writes what a pass found, and gives the lease back. `false` as above. */
  finish(worker: string, index: IndexId, result: CheckResult): Promise<boolean>
  /** What was looked at, by index; those with findings first, at most `limit`. */
  list(limit: number): Promise<readonly ReplicaCheck[]>
  /** Makes a pass due now: of one index, or of all (`null`). Answers of how many that were looked at before. */
  ask(index: IndexId | null): Promise<number>
}

type Row = { index_id: string; findings: string; checked_at: number | null }

export function openReplicaChecks({ pool }: Database): ReplicaChecks {
  return {
    async claim(worker, leaseMs) {
      const { rows } = await reach(() =>
        pool.query<Row>(
          `insert into replica_checks as c (index_id, owner, lease_until)
           select i.id, $1, ${nowMs} + $2 from (
             select index_id from placements where not is_gone and state = 'active' group by index_id having count(*) > 1
           ) several
           join indexes i on i.id = several.index_id and not i.is_gone
           left join replica_checks known on known.index_id = i.id
           where known.index_id is null or known.due_at <= ${nowMs} and known.lease_until <= ${nowMs}
           order by coalesce(known.due_at, 0), i.id limit 1
           on conflict (index_id) do update set owner = excluded.owner, lease_until = excluded.lease_until
             where c.lease_until <= ${nowMs}
           returning index_id, findings, checked_at`,
          [worker, leaseMs],
        ),
      )
      return rows[0] && decodeCheck(rows[0])
    },
    async renew(worker, index, leaseMs) {
      const { rowCount } = await reach(() =>
        pool.query(
          `update replica_checks set lease_until = ${nowMs} + $3
           where index_id = $2 and owner = $1 and lease_until > ${nowMs}`,
          [worker, index, leaseMs],
        ),
      )
      return rowCount === 1
    },
    async finish(worker, index, { findings, dueInMs }) {
      const { rowCount } = await reach(() =>
        pool.query(
          `update replica_checks set findings = $3, due_at = ${nowMs} + $4, checked_at = ${nowMs}, lease_until = 0
           where index_id = $2 and owner = $1 and lease_until > ${nowMs}`,
          [worker, index, JSON.stringify(findings), dueInMs],
        ),
      )
      return rowCount === 1
    },
    async list(limit) {
      const { rows } = await reach(() =>
        pool.query<Row>(
          `select c.index_id, c.findings, c.checked_at from replica_checks c
           join indexes i on i.id = c.index_id and not i.is_gone order by c.findings = '[]', c.index_id limit $1`,
          [limit],
        ),
      )
      return rows.map(decodeCheck)
    },
    async ask(index) {
      const { rowCount } = await reach(() =>
        pool.query('update replica_checks set due_at = 0 where $1::uuid is null or index_id = $1', [index]),
      )
      return rowCount ?? 0
    },
  }
}

function decodeCheck(row: Row): ReplicaCheck {
  const findings = JSON.parse(row.findings) as readonly ReplicaFinding[]
  return { index: row.index_id, findings, checkedAt: row.checked_at }
}

/** A check as operators see it. */
export function checkView({ findings, ...check }: ReplicaCheck): JsonObject {
  const told: readonly Json[] = findings.map((finding) => ({ ...finding, differing: [...finding.differing] }))
  return { ...check, findings: [...told] }
}
