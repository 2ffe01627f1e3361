/** Carries out backups and restores that are open, and opens those that schedules ask for. Any number of workers may run it. */
import { newId } from '../../lib/ordered-id.ts'
import type { Backup, BackupBody, Backups, Restore } from '../../store/backups.ts'
import { type BackupDeps, type JobContext, JobFailure } from './backup-context.ts'
import { BackupUnusable, deleteObjects } from './backup-parts.ts'
import { dueIndexes, outlived } from './backup-schedule.ts'
import { makeBackup } from './backup-work.ts'
import { carryOutRestore } from './restore-work.ts'

export interface BackupKeeperDeps extends BackupDeps {
  /** How long a job is left to a worker that shows no sign of life. Default 15 s. */
  readonly leaseMs?: number
  /** How often schedules are looked at. Default 1 min: it reads the list of indexes. */
  readonly scheduleMs?: number
  /** How long the journal keeps payloads at least; null, the default = as long as the index is there. */
  readonly retainedMs?: number | null
}

const leaseMsDefault = 15_000
const scheduleMsDefault = 60_000
const lookMs = 1_000
const turnMs = 200
/** Backups that one worker makes at once, and that it deletes at once; and those to delete that it has an eye on. */
const backupsAtOnce = 2
const deletionsMax = 50
/** Restores that one worker fills at once, and those that it has an eye on. */
const fillsAtOnce = 2
const restoresMax = 200
const retryMs = 1_000
const retryMsMax = 15_000
/** Failures in a row after which a backup is given up; a restore goes on until it is cancelled. */
const failuresMax = 10
/** Progress is written this often at most; a change of state always is. */
const saveMs = 500

export function startBackupKeeper(deps: BackupKeeperDeps): { stop(): Promise<void> } {
  const { backups, worker, clock, log, leaseMs = leaseMsDefault, scheduleMs = scheduleMsDefault } = deps
  const stopping = new AbortController()
  const made = new Jobs<Backup>(deps, stopping.signal, backupCourse(deps))
  const restored = new Jobs<Restore>(deps, stopping.signal, restoreCourse(deps))
  let scheduledAt = Number.NEGATIVE_INFINITY
  const look = async () => {
    made.take(await backups.claim(worker, leaseMs, backupsAtOnce, deletionsMax))
    restored.take(await backups.claimRestores(worker, leaseMs, restoresMax))
    if (clock.monotonic() - scheduledAt < scheduleMs) return
    scheduledAt = clock.monotonic()
    await followPolicies(deps)
  }
  const run = async () => {
    while (!stopping.signal.aborted) {
      await look().catch((error) => log.warn({ err: error }, 'backups were not looked for'))
      await clock.sleep(Math.min(lookMs, leaseMs / 3), stopping.signal).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async stop() {
      stopping.abort(new Error('backups stop'))
      await running
      await made.ended()
      await restored.ended()
      await backups.release(worker).catch((error) => log.warn({ err: error }, 'the leases of backups expire'))
    },
  }
}

/** What differs between backups and restores. */
interface Course<Job> {
  readonly what: string
  readonly atOnce: number
  isOver(job: Job): boolean
  run(context: JobContext<Job>): Promise<void>
  save(job: Job): Promise<boolean>
  /** It can never be done; `undefined` = it is tried again. */
  giveUp(context: JobContext<Job>, error: Error, failures: number): Promise<void> | undefined
  /** What another process may have changed. */
  freshen(job: Job, latest: Job): Job
}

function backupCourse(deps: BackupKeeperDeps): Course<Backup> {
  const { backups, worker } = deps
  return {
    what: 'backup',
    atOnce: backupsAtOnce,
    isOver: ({ state }) => state === 'done' || state === 'failed',
    run: (context) => (context.job.state === 'deleting' ? removeBackup(context) : makeBackup(context)),
    save: (job) => backups.save(worker, job),
    giveUp: (context, error, failures) =>
      context.job.state !== 'deleting' && (isFinal(error) || failures >= failuresMax)
        ? endFailed(context, error)
        : undefined,
    freshen: (job, latest) => (latest.state === 'deleting' ? latest : job),
  }
}

function restoreCourse({ backups, worker }: BackupKeeperDeps): Course<Restore> {
  return {
    what: 'restore',
    atOnce: fillsAtOnce,
    isOver: ({ state }) => state === 'done' || state === 'undone' || state === 'cancelled' || state === 'failed',
    run: carryOutRestore,
    save: (job) => backups.saveRestore(worker, job),
    giveUp: () => undefined,
    freshen: (job, { wish }) => ({ ...job, wish }),
  }
}

function isFinal(error: Error): boolean {
  return error instanceof JobFailure || error instanceof BackupUnusable
}

async function endFailed(context: JobContext<Backup>, error: Error): Promise<void> {
  await context.keep({ state: 'failed', failure: error.message })
  // What it left is of no use; a store that is away keeps it until the backup is deleted.
  await removeObjects(context).catch(() => undefined)
}

async function removeBackup(context: JobContext<Backup>): Promise<void> {
  await context.inTurn(() => removeObjects(context))
  await context.backups.remove(context.worker, context.job.id)
}

/** Those in the configured place: what lies in one that was configured before stays there. */
async function removeObjects({ job, objects: open, signal, log }: JobContext<Backup>): Promise<void> {
  const { id, place, folder } = job
  if (folder === null) return
  const objects = await open()
  if (place !== null && place !== objects.place) log.warn({ backup: id, place, folder }, 'objects of a backup stay')
  await deleteObjects(objects, folder, signal)
}

/** The jobs of one kind that this process holds. */
class Jobs<Job extends { readonly id: string; readonly state: string; readonly failure: string | null }> {
  readonly #deps: BackupKeeperDeps
  readonly #stopping: AbortSignal
  readonly #course: Course<Job>
  readonly #driven = new Map<string, { latest: Job; readonly over: AbortController; readonly ended: Promise<void> }>()
  #running = 0

  constructor(deps: BackupKeeperDeps, stopping: AbortSignal, course: Course<Job>) {
    this.#deps = deps
    this.#stopping = stopping
    this.#course = course
  }

  /** @param held  all that are ours now: what is not among them any more is given up. */
  take(held: readonly Job[]): void {
    const ids = new Set(held.map(({ id }) => id))
    for (const [id, { over }] of this.#driven) if (!ids.has(id)) over.abort(new Error('another worker has it'))
    for (const job of held) {
      const known = this.#driven.get(job.id)
      if (known !== undefined) {
        // Its making ends at once, and the next look takes it away.
        if (job.state === 'deleting' && known.latest.state !== 'deleting') known.over.abort(new Error('it is to go'))
        known.latest = job
      } else if (!this.#stopping.aborted) {
        const over = new AbortController()
        const ended = this.#drive(job, over.signal).finally(() => this.#driven.delete(job.id))
        this.#driven.set(job.id, { latest: job, over, ended })
      }
    }
  }

  async ended(): Promise<void> {
    await Promise.all([...this.#driven.values()].map(({ ended }) => ended))
  }

  async #drive(begun: Job, over: AbortSignal): Promise<void> {
    // The caller notes the job first.
    await Promise.resolve()
    const { clock, log } = this.#deps
    const course = this.#course
    const signal = AbortSignal.any([this.#stopping, over])
    const state: { job: Job; savedAt: number } = { job: begun, savedAt: Number.NEGATIVE_INFINITY }
    const context = this.#context(state, signal)
    for (let failures = 0; !signal.aborted && !course.isOver(context.job); ) {
      const before = state.savedAt
      try {
        await course.run(context)
        return
      } catch (error) {
        if (signal.aborted || error instanceof Superseded) return
        if (state.savedAt > before) failures = 0
        failures += 1
        const cause = error instanceof Error ? error : new Error(String(error))
        log.warn({ job: begun.id, state: context.job.state, err: error }, `a ${course.what} does not get on`)
        try {
          await (course.giveUp(context, cause, failures) ?? context.keep({ failure: cause.message } as Partial<Job>))
        } catch (again) {
          if (again instanceof Superseded) return
        }
        await clock.sleep(Math.min(retryMsMax, retryMs * 2 ** (failures - 1)), signal).catch(() => undefined)
      }
    }
  }

  #context(state: { job: Job; savedAt: number }, signal: AbortSignal): JobContext<Job> {
    const course = this.#course
    const jobs = this
    const { clock, log } = this.#deps
    const latest = () => this.#driven.get(state.job.id)?.latest ?? state.job
    return {
      ...this.#deps,
      signal,
      get job() {
        return course.freshen(state.job, latest())
      },
      async inTurn(work) {
        while (jobs.#running >= course.atOnce) await clock.sleep(turnMs, signal)
        jobs.#running += 1
        try {
          return await work()
        } finally {
          jobs.#running -= 1
        }
      },
      async keep(change) {
        const before = state.job
        state.job = { ...course.freshen(before, latest()), ...change }
        const isNews = state.job.state !== before.state || state.job.failure !== before.failure
        if (!isNews && clock.monotonic() - state.savedAt < saveMs) return
        state.savedAt = clock.monotonic()
        if (!(await course.save(state.job))) throw new Superseded()
        if (state.job.state !== before.state) {
          const { id, state: now, failure } = state.job
          log.info({ job: id, state: now, ...(failure === null ? {} : { failure }) }, `a ${course.what} goes on`)
        }
      },
    }
  }
}

/** Another worker has the job, or something else is wanted of it: the next look finds out. */
class Superseded extends Error {}

async function followPolicies(deps: BackupKeeperDeps): Promise<void> {
  const { backups, catalogue, clock, retainedMs = null } = deps
  const policies = await backups.policies()
  if (policies.length === 0) return
  const { indexes } = await catalogue.snapshot()
  for (const project of new Set(policies.map((policy) => policy.project))) {
    const own = policies.filter((policy) => policy.project === project)
    const present = indexes.filter((index) => index.project === project)
    const marks = await backups.marks(project)
    const now = clock.now()
    for (const id of dueIndexes(own, present, marks, now)) {
      const index = present.find((one) => one.id === id)
      if (index !== undefined) await openBackup(deps, index, { isScheduled: true, bytesPerSecond: null })
    }
    const names = new Map(present.map(({ id, uid }) => [id, uid]))
    for (const id of outlived(own, (index) => names.get(index), marks, now, retainedMs)) await backups.doom(id)
  }
}

/** `undefined` = one of the index is being made. */
export function openBackup(
  { backups, clock, random }: Pick<BackupDeps, 'clock' | 'random'> & { readonly backups: Pick<Backups, 'open'> },
  index: { readonly id: string; readonly project: string; readonly uid: string },
  options: Pick<BackupBody, 'isScheduled' | 'bytesPerSecond'>,
): Promise<Backup | undefined> {
  return backups.open({
    ...{ id: newId(clock, random), project: index.project, index: index.id, createdAt: clock.now() },
    ...{
      uid: index.uid,
      place: null,
      folder: null,
      from: null,
      primaryKey: null,
      spread: null,
      sources: [],
      parts: [],
      documents: 0,
    },
    ...{ documentCount: null, byteCount: 0, attempts: 0, failure: null },
    ...options,
  })
}
