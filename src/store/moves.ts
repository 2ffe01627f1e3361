/** Moves of replicas from node to node, as rows: durable jobs with a lease, a step and a cursor. */
import type { PoolClient } from 'pg'
import type { Json, JsonObject } from '../lib/json.ts'
import type { Take } from '../topology/index-layout.ts'
import { isBusy, isEnded, type MoveStep, type MoveWish, moveSteps } from '../topology/move-steps.ts'
import { type MoveLimits, type MovePriority, movePriorities, rankOf } from '../topology/move-turns.ts'
import type { IndexId, NodeId, ProjectId, Spread } from './catalogue.ts'
import { type Database, nowMs, reach } from './database.ts'
import { isAnyOpen } from './open-jobs.ts'
import type { Tables } from './tables.ts'
import { transact } from './transaction.ts'

/** Milliseconds that a move can be undone, at most. */
export const keepMsMax = 30 * 86_400_000

export interface MoveOptions {
  /** How long the old replica is kept up to date behind the switch, ms, up to `keepMsMax`: until then the move can be undone. */
  readonly keepMs: number
  /** What a copy may carry per second; null = as much as the nodes take. */
  readonly bytesPerSecond: number | null
  /** Of a reshard: how the index is to lie. */
  readonly reshard?: { readonly spread: Spread | null }
  /** Absent = `normal`. */
  readonly priority?: MovePriority
  /** Times of day in which it may begin to copy; absent = those of the installation, none = always. */
  readonly windows?: readonly string[]
}

/** How far a move is. Numbers are those of the present attempt. */
export interface MoveProgress {
  /** Position whose settings the copy began with, and behind which the new lane goes on. */
  readonly from?: number
  /** Only from this position on does the new replica hold what the old one does: the copy went on while writes came. */
  readonly trueFrom?: number
  /** Name of the new replica on the target. */
  readonly targetUid?: string
  /** Marker of the target's disk that the copy is on. */
  readonly disk?: string
  /** How the index is copied; chosen once for an attempt. `journal`: the new lanes bring all of it. */
  readonly copy?: 'snapshot' | 'streamed' | 'journal'
  /** Of a reshard: the generation that is made. */
  readonly generation?: number
  /** Of a reshard: revisions of the replicas that it copies from, by replica; what one of them held before it began anew does not count. */
  readonly revisions?: Readonly<Record<string, number>>
  /** Of a reshard: shards of the old generation that are copied whole. */
  readonly shardsCopied?: number
  /** Of the source's placement when `from` was read. */
  readonly sourceRevision?: number
  /** When the snapshot was made, as its engine writes it. */
  readonly snapshotAt?: string
  /** The engines do not reach each other's files. */
  readonly isFar?: boolean
  /** Size of the snapshot's file, of which `bytes` are on the target. */
  readonly byteCount?: number
  /** Times that the file came over with a wrong checksum. */
  readonly corrupt?: number
  readonly documents?: number
  readonly documentCount?: number
  readonly bytes?: number
  readonly copyStartedAt?: number
  readonly compared?: number
  /** What came late lies on a source; so long its lane has to mend it. */
  readonly doubtUntil?: number
  /** Why it has not begun to copy: too many others do, or it is not the time of day. */
  readonly waitsFor?: 'turn' | 'window'
  /** Catalogue version that gateways must have taken over. */
  readonly version?: number
  readonly keepUntil?: number
  /** Copies that came to nothing. */
  readonly attempts?: number
  /** Documents that differ, at most a few. */
  readonly differing?: readonly string[]
}

/**
 * `move`: the target takes over, the sources give up. `copy`: the sources go on. `removal`: the sources give up what others
 * answer for; nothing is copied, and `target` is the first source. `reshard`: a new generation takes the place of all of them,
 * and `target` is one of its nodes.
 */
export type MoveKind = 'move' | 'copy' | 'removal' | 'reshard'

export interface Move {
  /** UUID v7. */
  readonly id: string
  readonly project: ProjectId
  readonly index: IndexId
  readonly kind: MoveKind
  /** At least one. */
  readonly takes: readonly Take[]
  /** Node of the first of them. */
  readonly source: NodeId
  readonly target: NodeId
  readonly step: MoveStep
  readonly wish: MoveWish | null
  readonly isPaused: boolean
  readonly options: MoveOptions
  readonly progress: MoveProgress
  /** Why it does not get on, or why it ended as it did; null = nothing is wrong. */
  readonly failure: string | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly finishedAt: number | null
}

export type { Take }

export type NewMove = Pick<
  Move,
  'id' | 'project' | 'index' | 'kind' | 'takes' | 'source' | 'target' | 'options' | 'createdAt'
>

export interface MoveChange extends Pick<Move, 'step' | 'progress' | 'failure'> {
  /** The wish that it was decided under: another one that came meanwhile must be looked at first. */
  readonly under: MoveWish | null
}

export interface MoveFilter {
  readonly project?: ProjectId
  readonly isOpen?: boolean
  /** Milliseconds since the epoch: only those that ended since then. */
  readonly finishedAfter?: number
}

/** Every method may throw `StoreUnavailable`. */
export interface Moves {
  /** `undefined` = the index has an open move. */
  open(move: NewMove): Promise<Move | undefined>
  get(id: string): Promise<Move | undefined>
  /** Newest first, at most `limit`. */
  list(filter: MoveFilter, limit: number): Promise<readonly Move[]>
  /** Sets the wish where the step is one of these. `false` = it is at another one. */
  wish(id: string, wish: MoveWish, steps: readonly MoveStep[]): Promise<boolean>
  setPaused(id: string, isPaused: boolean): Promise<boolean>
  /** Takes or renews the leases of open moves: those of this worker, and those that are free. The most urgent first, then the oldest. */
  claim(worker: string, leaseMs: number, limit: number): Promise<readonly Move[]>
  /** Writes how far a move is. A new step ends the wish. `false` = the lease is another's, or another wish came: claim again. */
  save(worker: string, id: string, change: MoveChange): Promise<boolean>
  /** The same for the step into the copy, where the limits leave room and no move that is more urgent waits for its nodes. */
  enter(worker: string, id: string, change: MoveChange, limits: MoveLimits): Promise<boolean>
  release(worker: string): Promise<void>
}

type Row = Tables['moves']

const openText = 'finished_at is null'
const busySteps = moveSteps.filter(isBusy)
const sharesNode =
  '(other.source_node in (m.source_node, m.target_node) or other.target_node in (m.source_node, m.target_node))'
/** 0 = the most urgent. */
const rankText = (table: string) =>
  `array_position(array['${movePriorities.join("', '")}'], coalesce(${table}.options::json->>'priority', 'normal'))`

/** The most urgent first, then the oldest. */
export function byTurn(a: Move, b: Move): number {
  return rankOf(a.options.priority) - rankOf(b.options.priority) || (a.id < b.id ? -1 : 1)
}

export function openMoves({ pool, ...rest }: Database): Moves {
  const database = { pool, ...rest }
  const one = async (text: string, values: readonly unknown[]): Promise<Move | undefined> => {
    const { rows } = await reach(() => pool.query<Row>(text, [...values]))
    return rows[0] && decodeMove(rows[0])
  }
  return {
    open: (move) =>
      one(
        `insert into moves (id, project_id, index_id, source_node, target_node, step, options, progress, created_at, updated_at,
           kind, takes)
         values ($1, $2, $3, $4, $5, 'planned', $6, '{}', $7, $7, $8, $9)
         on conflict (index_id) where ${openText} do nothing returning *`,
        [
          ...[
            move.id,
            move.project,
            move.index,
            move.source,
            move.target,
            JSON.stringify(move.options),
            move.createdAt,
          ],
          ...[move.kind, JSON.stringify(move.takes)],
        ],
      ),
    get: (id) => one('select * from moves where id = $1', [id]),
    async list({ project, isOpen, finishedAfter }, limit) {
      const { rows } = await reach(() =>
        pool.query<Row>(
          `select * from moves where ($1::uuid is null or project_id = $1) and ($2::boolean is null or (${openText}) = $2)
             and ($4::bigint is null or finished_at > $4)
           order by id desc limit $3`,
          [project ?? null, isOpen ?? null, limit, finishedAfter ?? null],
        ),
      )
      return rows.map(decodeMove)
    },
    async wish(id, wish, steps) {
      const { rowCount } = await reach(() =>
        pool.query('update moves set wish = $2, is_paused = false where id = $1 and step = any($3::text[])', [
          ...[id, wish, steps],
        ]),
      )
      return rowCount === 1
    },
    async setPaused(id, isPaused) {
      const { rowCount } = await reach(() =>
        pool.query(`update moves set is_paused = $2 where id = $1 and ${openText}`, [id, isPaused]),
      )
      return rowCount === 1
    },
    async claim(worker, leaseMs, limit) {
      if (!(await isAnyOpen(pool, 'moves'))) return []
      // A lease is renewed when a third of it is over: each renewal is a new version of the row.
      const { rows } = await reach(() =>
        pool.query<Row>(
          `with due as (
             update moves set owner = $1, lease_until = ${nowMs} + $2
             where id in (
               select id from moves where ${openText} and owner = $1 and lease_until <= ${nowMs} + $2 * 2 / 3
               for update skip locked
             ) or id in (
               select id from moves where ${openText} and owner <> $1 and lease_until <= ${nowMs}
               order by ${rankText('moves')}, id
               limit greatest(0, $3 - (select count(*) from moves where ${openText} and owner = $1))
               for update skip locked
             ) returning *
           )
           select * from due
           union all
           select * from moves where ${openText} and owner = $1 and lease_until > ${nowMs} and id not in (select id from due)`,
          [worker, leaseMs, limit],
        ),
      )
      return rows.map(decodeMove).sort(byTurn)
    },
    save: (worker, id, change) => transact(database, (client) => save(client, worker, id, change)),
    enter: (worker, id, change, { perNode, total }) =>
      transact(database, async (client) => {
        // Whoever enters on these nodes waits here.
        await client.query(
          `select n.id from nodes n join moves m on n.id in (m.source_node, m.target_node) where m.id = $1
           order by n.id for no key update of n`,
          [id],
        )
        const { rows } = await client.query<{ is_free: boolean }>(
          `select count(*) filter (where other.step = any($3::text[])) < $4
               and count(*) filter (where other.step = any($3::text[]) and ${sharesNode}) < $2
               and count(*) filter (where ${sharesNode} and other.step = 'planned' and not other.is_paused
                 and other.failure is null and other.progress::json->>'waitsFor' = 'turn'
                 and ${rankText('other')} < ${rankText('m')}) = 0 as is_free
           from moves m left join moves other on other.id <> m.id and other.finished_at is null where m.id = $1`,
          [id, perNode, busySteps, total],
        )
        return rows[0]?.is_free === true && (await save(client, worker, id, change))
      }),
    async release(worker) {
      await reach(() => pool.query("update moves set owner = '', lease_until = 0 where owner = $1", [worker]))
    },
  }
}

async function save(client: PoolClient, worker: string, id: string, change: MoveChange): Promise<boolean> {
  const { rowCount } = await client.query(
    `update moves set wish = case when step = $3 then wish end, step = $3, progress = $4, failure = $5,
       updated_at = ${nowMs}, finished_at = case when $6 then ${nowMs} end
     where id = $1 and owner = $2 and lease_until > ${nowMs} and wish is not distinct from $7`,
    [id, worker, change.step, JSON.stringify(change.progress), change.failure, isEnded(change.step), change.under],
  )
  return rowCount === 1
}

function decodeMove(row: Row): Move {
  return {
    id: row.id,
    project: row.project_id,
    index: row.index_id,
    kind: row.kind as MoveKind,
    takes: JSON.parse(row.takes) as Take[],
    source: row.source_node,
    target: row.target_node,
    step: row.step as MoveStep,
    wish: row.wish as MoveWish | null,
    isPaused: row.is_paused,
    options: JSON.parse(row.options) as MoveOptions,
    progress: JSON.parse(row.progress) as MoveProgress,
    failure: row.failure,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
  }
}

/** A move as operators see it. */
export function moveView({ options, progress, takes, ...move }: Move): JsonObject {
  return {
    ...move,
    takes: takes.map(({ shards, ...from }) => ({ ...from, shards: [...shards] })),
    options: JSON.parse(JSON.stringify(options)) as JsonObject,
    progress: { ...progress } as { [name: string]: Json },
  }
}
