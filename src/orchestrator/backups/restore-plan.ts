/** What a restore starts from and what it would do, or why it cannot be done. Looks only. */
import { isIndexUid, wrongIndexUid } from '../../api/index-uid.ts'
import { newId } from '../../lib/ordered-id.ts'
import type { Backup, Restore, RestoreBody } from '../../store/backups.ts'
import type { IndexId, Project } from '../../store/catalogue.ts'
import type { BackupDeps } from './backup-context.ts'

export interface RestoreOrder {
  /** Whose index it is. */
  readonly project: Project
  readonly uid: string
  /** Milliseconds since 1970, or a backup's id. */
  readonly point: { readonly at: number } | { readonly backup: string }
  readonly into: Project
  /** Name of a new index; null = in the place of the index of that name, or as that when there is none. */
  readonly as: string | null
  readonly keepMs: number
  readonly bytesPerSecond: number | null
}

export interface RestorePlan extends RestoreBody {
  readonly project: Project['id']
  readonly index: IndexId
  /** Changes of the journal behind the backup, and bytes of their payloads; bytes and documents of the backup. */
  readonly changesToBring: number
  readonly payloadBytes: number
  readonly backupBytes: number
  readonly backupDocuments: number
}

/** Why it cannot be done. */
export interface RestoreRefusal {
  readonly refusal: string
  /** The order is wrong, names what is not there, or cannot be carried out as things are. */
  readonly reason: 'wrong' | 'unknown' | 'impossible'
}

export type RestoreDeps = Pick<BackupDeps, 'backups' | 'history' | 'journal' | 'clock' | 'random'>

const backupsMax = 10_000

export async function planRestore(deps: RestoreDeps, order: RestoreOrder): Promise<RestorePlan | RestoreRefusal> {
  const { history, journal, clock } = deps
  const { uid, into, as } = order
  if (as !== null && !isIndexUid(as)) return { refusal: wrongIndexUid(as), reason: 'wrong' }
  const found = await findPoint(deps, order)
  if ('refusal' in found) return found
  const { index, position, at, backup } = found
  const target = as ?? uid
  const present = await journal.writeState(into.id, target)
  if (as !== null && present !== undefined)
    return { refusal: `\`${into.name}\` has an index \`${as}\` already`, reason: 'impossible' }
  const from = backup?.position ?? 0
  const gap = await history.firstGap(index, from, position)
  if (gap !== null) {
    const known = restorableFrom(found.known)
    return {
      refusal: `what was written to \`${uid}\` at position ${gap} is not kept any more (backups.restore_window, store.payload_retention_ms)${known}`,
      reason: 'impossible',
    }
  }
  const id = newId(clock, deps.random)
  return {
    project: into.id,
    index,
    ...{ uid, target, position, at, made: null, backup: backup?.id ?? null },
    // Never the target: clients that find a name write to it, and what is filled is deleted when it comes to nothing.
    workUid: `${target.slice(0, 360)}-restore-${id.slice(-8)}`,
    replaced: present?.index ?? null,
    ...{ keepMs: order.keepMs, bytesPerSecond: order.bytesPerSecond },
    ...{ cursor: null, changes: 0, lines: 0, bytes: 0, task: null, keepUntil: null, outcome: null, failure: null },
    changesToBring: position - from,
    payloadBytes: await history.bytesBetween(index, from, position),
    backupBytes: backup?.byteCount ?? 0,
    backupDocuments: backup?.documents ?? 0,
  }
}

export async function openRestore(deps: RestoreDeps, order: RestoreOrder): Promise<Restore | RestoreRefusal> {
  const plan = await planRestore(deps, order)
  if ('refusal' in plan) return plan
  const { changesToBring: _c, payloadBytes: _p, backupBytes: _b, backupDocuments: _d, ...body } = plan
  const { clock, random, backups } = deps
  return backups.openRestore({ ...body, id: newId(clock, random), createdAt: clock.now() })
}

interface Point {
  readonly index: IndexId
  readonly position: number
  readonly at: number
  readonly backup: Backup | undefined
  readonly known: readonly Backup[]
}

async function findPoint(deps: RestoreDeps, order: RestoreOrder): Promise<Point | RestoreRefusal> {
  const { backups, history, clock } = deps
  const { project, uid, point } = order
  if ('backup' in point) {
    const backup = await backups.get(point.backup)
    if (backup?.project !== project.id || backup.uid !== uid) {
      return { refusal: `\`${uid}\` has no backup ${point.backup}; \`flapjack backup list ${uid}\``, reason: 'unknown' }
    }
    if (backup.state !== 'done' || backup.position === null || backup.takenAt === null) {
      return { refusal: `backup ${backup.id} is ${backup.state}`, reason: 'impossible' }
    }
    const { index, position, takenAt: at } = backup
    return { index, position, at, backup, known: [backup] }
  }
  const { at } = point
  if (at > clock.now()) return { refusal: `${new Date(at).toISOString()} has not come yet`, reason: 'wrong' }
  const index = await history.indexNamed(project.id, uid, at)
  if (index === undefined) {
    const named = (await backups.list({ project: project.id }, backupsMax)).filter((one) => one.uid === uid)
    return {
      refusal: `\`${project.name}\` had no index \`${uid}\` at ${new Date(at).toISOString()}${restorableFrom(named)}`,
      reason: 'unknown',
    }
  }
  const position = await history.positionAt(index, at)
  const all = await backups.list({ project: project.id, index }, backupsMax)
  const known = all.filter((one) => one.state === 'done')
  const usable = known.filter((one) => (one.position ?? Number.POSITIVE_INFINITY) <= position)
  const backup = usable.reduce<Backup | undefined>(
    (best, one) => (best === undefined || (one.position ?? 0) > (best.position ?? 0) ? one : best),
    undefined,
  )
  return { index, position, at, backup, known }
}

function restorableFrom(backups: readonly Backup[]): string {
  const times = backups.flatMap(({ state, takenAt }) => (state === 'done' && takenAt !== null ? [takenAt] : []))
  if (times.length === 0) return '; there is no backup of it'
  const texts = times.sort((a, b) => a - b).map((time) => new Date(time).toISOString())
  return `; its backups are of ${texts.length > 6 ? [...texts.slice(0, 3), '…', ...texts.slice(-3)].join(', ') : texts.join(', ')}`
}
