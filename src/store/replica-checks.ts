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

/** Indexes added in one go: to find them, all placements are looked at. */
const addedMax = 500
/** New ones are looked for when none is due, and with so many claims at the latest. */
const claimsPerLook = 50

export function openReplicaChecks({ pool }: Database): ReplicaChecks {
  let claims = 0
  const add = () =>
    reach(() =>
      pool.query(
        `insert into replica_checks (index_id)
         select i.id from indexes i join placements p on p.index_id = i.id and p.generation = i.generation
         where not i.is_gone and not p.is_gone and p.state = 'active'
           and not exists (select 1 from replica_checks known where known.index_id = i.id)
         group by i.id having count(*) > 1 order by i.id limit $1
         on conflict (index_id) do nothing`,
        [addedMax],
      ),
    )
  const take = async (worker: string, leaseMs: number) => {
    const { rows } = await reach(() =>
      pool.query<Row>(
        `update replica_checks set owner = $1, lease_until = ${nowMs} + $2
         where lease_until <= ${nowMs} and index_id = (
           select known.index_id from replica_checks known join indexes i on i.id = known.index_id and not i.is_gone
           where known.due_at <= ${nowMs} and known.lease_until <= ${nowMs} and 1 < (
             select count(*) from placements p
             where p.index_id = i.id and p.generation = i.generation and not p.is_gone and p.state = 'active'
           )
           order by known.due_at, known.index_id limit 1 for update of known skip locked
         )
         returning index_id, findings, checked_at`,
        [worker, leaseMs],
      ),
    )
    return rows[0] && decodeCheck(rows[0])
  }
  return {
    async claim(worker, leaseMs) {
      const mustLook = claims % claimsPerLook === 0
      claims += 1
      if (mustLook) await add()
      const taken = await take(worker, leaseMs)
      if (taken !== undefined || mustLook) return taken
      return (await add()).rowCount === 0 ? undefined : take(worker, leaseMs)
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
           join indexes i on i.id = c.index_id and not i.is_gone
           where c.checked_at is not null or c.owner <> '' order by c.findings = '[]', c.index_id limit $1`,
          [limit],
        ),
      )
      return rows.map(decodeCheck)
    },
    async ask(index) {
      const { rowCount } = await reach(() =>
        pool.query(
          `update replica_checks set due_at = 0
           where ($1::uuid is null or index_id = $1) and (checked_at is not null or owner <> '')`,
          [index],
        ),
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
