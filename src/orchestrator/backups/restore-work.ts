/**
 * Carries out one restore: makes a new index under a name of its own and brings it, through its journal, what the backup and
 * the journal of the old one hold up to a position; then gives it its name, or, when it takes the place of an index, swaps the
 * names, in one transaction. The old index stays under the other name until the way back closes.
 *
 * Twice: safe. Steps that were brought may be brought again in order (NF-20); names are looked at before they are changed.
 */
import { assert, unreachable } from '../../lib/assert.ts'
import type { Restore, RestoreCursor } from '../../store/backups.ts'
import type { IndexId } from '../../store/catalogue.ts'
import { WorkFailure } from '../work-failure.ts'
import { type JobContext, JobFailure, pollMs } from './backup-context.ts'
import { BackupUnusable } from './backup-parts.ts'
import { appendTo, fill, metadataOf } from './restore-filling.ts'

type Context = JobContext<Restore>

/** Goes on as far as it gets without waiting for people. */
export async function carryOutRestore(context: Context): Promise<void> {
  const { keep, clock, signal } = context
  for (;;) {
    const { state, wish, keepUntil } = context.job
    if (wish === 'cancel' && (state === 'waiting' || state === 'filling' || state === 'catching_up')) {
      await keep({ state: 'clearing', outcome: 'cancelled' })
      continue
    }
    if (wish === 'undo' && state === 'keeping_back') {
      await keep({ state: 'undoing', task: null })
      continue
    }
    try {
      switch (state) {
        case 'waiting':
          await begin(context)
          break
        case 'filling':
          await context.inTurn(() => fill(context))
          break
        case 'catching_up':
          await catchUp(context)
          break
        case 'switching':
          await switchNames(context)
          break
        case 'keeping_back':
          if (wish === 'close' || clock.now() >= (keepUntil ?? 0)) await close(context)
          else await clock.sleep(Math.min(pollMs * 10, Math.max(1, (keepUntil ?? 0) - clock.now())), signal)
          break
        case 'undoing':
          await undo(context)
          break
        case 'clearing':
          await clear(context)
          break
        case 'done':
        case 'undone':
        case 'cancelled':
        case 'failed':
          return
        default:
          return unreachable(state)
      }
    } catch (error) {
      const isFinal = error instanceof JobFailure || error instanceof BackupUnusable || error instanceof WorkFailure
      if (!isFinal || state === 'clearing') throw error
      // Behind the switch nothing is taken away: whoever looks finds both.
      const isSwitched = state === 'keeping_back' || state === 'undoing'
      await keep(
        isSwitched
          ? { state: 'failed', failure: error.message }
          : { state: 'clearing', outcome: 'failed', failure: error.message },
      )
    }
  }
}

async function begin(context: Context): Promise<void> {
  const { job, history, lanes, clock, signal, keep, backups } = context
  const backup = job.backup === null ? undefined : await backups.get(job.backup)
  if (job.backup !== null && backup?.state !== 'done') throw new JobFailure(`backup ${job.backup} is gone`)
  const from = backup?.position ?? 0
  const past = await history.past(job.index)
  if (past === undefined) throw new JobFailure('what is to be restored left no journal')
  while (from < job.position && ((await history.past(job.index))?.completed ?? 0) < job.position) {
    await clock.sleep(pollMs, signal)
    if (context.job.wish !== null) return
  }
  if ((await holderOf(context, job.workUid)) === undefined) {
    const primaryKey = backup === undefined ? await firstKey(context) : backup.primaryKey
    const operation = { kind: 'index-create', primaryKey } as const
    await appendTo(context, operation, { spread: backup?.spread ?? past.spread })
  }
  const made = await holderOf(context, job.workUid)
  const [first] = made === undefined ? [] : await lanes.read(made, 0, 1, 1)
  if (made === undefined || first?.change.customMetadata !== metadataOf(job)) {
    throw new JobFailure(`an index \`${job.workUid}\` was made by somebody else meanwhile`)
  }
  const cursor: RestoreCursor =
    backup === undefined ? { kind: 'journal', position: 0 } : { kind: 'part', part: 0, step: 0 }
  await keep({ state: 'filling', made, cursor, failure: null })
}

/** What the index was created with, when its creation was a change of its own. */
async function firstKey({ lanes, job }: Context): Promise<string | null> {
  const [first] = await lanes.read(job.index, 0, 1, 1)
  return first?.change.operation.kind === 'index-create' ? first.change.operation.primaryKey : null
}

/** Until every change that was brought has ended well. */
async function catchUp(context: Context): Promise<void> {
  const { job, history, clock, signal, keep } = context
  assert(job.made !== null, 'an index was made')
  const head = (await history.past(job.made))?.head ?? 0
  for (;;) {
    const past = await history.past(job.made)
    if (past === undefined || past.isGone) throw new JobFailure(`the index \`${job.workUid}\` was deleted meanwhile`)
    if (past.completed >= head) break
    await clock.sleep(pollMs, signal)
    if (context.job.wish !== null) return
  }
  const foreign = await history.firstForeign(job.made, metadataOf(job))
  if (foreign !== null) throw new JobFailure(`\`${job.workUid}\` was written to by somebody else while it was filled`)
  const failure = await history.firstFailure(job.made)
  if (failure !== undefined) throw new JobFailure(`task ${failure.task} of what was brought failed: ${failure.message}`)
  await keep({ state: 'switching', failure: null })
}

/** The index that writes see under a name. */
async function holderOf({ journal, job }: Pick<Context, 'journal' | 'job'>, uid: string): Promise<IndexId | undefined> {
  return (await journal.writeState(job.project, uid))?.index
}

async function switchNames(context: Context): Promise<void> {
  const { job, keep, clock } = context
  const holder = await holderOf(context, job.target)
  if (holder !== job.made) {
    if (holder !== undefined && holder !== job.replaced) {
      throw new JobFailure(`\`${job.target}\` is another index than when the restore began`)
    }
    await exchange(context, holder === undefined)
  }
  await untilRead(context, job.made)
  // There is no way back to nothing.
  if (job.replaced === null) await keep({ state: 'done', failure: null })
  else await keep({ state: 'keeping_back', keepUntil: clock.now() + job.keepMs, failure: null })
}

/** The names change hands in the transaction that ends the change. */
async function exchange(context: Context, isFree: boolean): Promise<void> {
  const { workUid, target } = context.job
  const swaps = [{ indexes: [workUid, target] as const, rename: false }]
  if (isFree) await appendTo(context, { kind: 'index-update', primaryKey: null, uid: target })
  else await appendTo(context, { kind: 'index-swap', swaps }, {}, null)
}

/** Until reads find that index under the target's name. */
async function untilRead({ job, journal, replicas, clock, signal }: Context, wanted: IndexId | null): Promise<void> {
  assert(wanted !== null, 'an index was made')
  for (;;) {
    const standing = await replicas.standing(wanted)
    if (standing === undefined) throw new JobFailure(`the index \`${job.target}\` was deleted meanwhile`)
    if (standing.uid === job.target) return
    // The change of names came to nothing, or another one came behind it: reads would never find it.
    if ((await holderOf({ journal, job }, job.target)) !== wanted) {
      throw new JobFailure(`the name \`${job.target}\` was taken by somebody else meanwhile`)
    }
    await clock.sleep(pollMs, signal)
  }
}

async function close(context: Context): Promise<void> {
  const { job, keep } = context
  // Only the very index that was there before, and only under the name that it has from us.
  if (job.replaced !== null && (await holderOf(context, job.workUid)) === job.replaced) {
    await appendTo({ ...context, job: { ...job, made: job.replaced } }, { kind: 'index-delete' })
  }
  await keep({ state: 'done' })
}

async function undo(context: Context): Promise<void> {
  const { job, keep } = context
  if (job.replaced === null) throw new JobFailure('nothing was there before')
  const [holder, other] = [await holderOf(context, job.target), await holderOf(context, job.workUid)]
  if (holder !== job.replaced) {
    if (holder !== job.made || other !== job.replaced) {
      throw new JobFailure(`\`${job.target}\` and \`${job.workUid}\` are not what the restore left`)
    }
    await exchange(context, false)
  }
  await untilRead(context, job.replaced)
  await keep({ state: 'clearing', outcome: 'undone' })
}

/** What was made goes, as long as it has the name that nobody but us uses. */
async function clear(context: Context): Promise<void> {
  const { job, keep } = context
  if (job.made !== null && job.workUid !== job.target && (await holderOf(context, job.workUid)) === job.made) {
    await appendTo(context, { kind: 'index-delete' })
  }
  await keep({ state: job.outcome ?? 'failed' })
}
