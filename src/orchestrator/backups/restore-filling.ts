/**
 * Brings into the index of a restore what it comes from, as changes of its journal: the steps of a backup, then those of the
 * old journal behind it.
 *
 * Twice: safe. Steps that were brought may be brought again, in order and up to the same end (NF-20).
 */
import type { Operation, Payload } from '../../journal/change.ts'
import type { AppendRequest } from '../../journal/ports.ts'
import { assert, unreachable } from '../../lib/assert.ts'
import type { Restore, RestoreCursor } from '../../store/backups.ts'
import { type JobContext, JobFailure, keepRate, objectsOf } from './backup-context.ts'
import { keyOf, readManifest, readPart } from './backup-parts.ts'
import { journalSteps } from './journal-steps.ts'
import type { Piece, ScriptStep } from './script-step.ts'

type Context = JobContext<Restore>

/** Changes that are on the way at once; behind each lot it is written how far it is. */
const changesPerSave = 16

/** Until all is appended, or somebody wishes for something else. */
export async function fill(context: Context): Promise<void> {
  const { keep, clock } = context
  const startedAt = clock.monotonic()
  let { changes, lines, bytes } = context.job
  const bytesBefore = bytes
  const appends = new OpenAppends()
  try {
    for await (const place of changesOf(context)) {
      const counted = (piece: Piece) => {
        lines += piece.lines
        bytes += piece.bytes.byteLength
      }
      const change = await changeOf(context, place.first, place.rest, counted)
      changes += 1
      if (change !== undefined) appends.add(appendTo(context, change.operation, { payload: change.payload }))
      await keepRate(context, context.job.bytesPerSecond, bytes - bytesBefore, startedAt)
      if (appends.count < changesPerSave) continue
      await appends.settled()
      await keep({ cursor: place.next, changes, lines, bytes })
      if (context.job.wish !== null) return
    }
    await appends.settled()
  } finally {
    await appends.over()
  }
  await keep({ state: 'catching_up', changes, lines, bytes, failure: null })
}

/** Appends on the way: they keep the order of their calls, and those that wait share a transaction. */
class OpenAppends {
  #open: Promise<number | null>[] = []
  #last: number | null = null

  get count(): number {
    return this.#open.length
  }

  add(appended: Promise<number | null>): void {
    // A failure shows where all are waited for.
    appended.catch(() => undefined)
    this.#open.push(appended)
  }

  /** @throws JobFailure when something of others stands between them. */
  async settled(): Promise<void> {
    await this.over()
    for (const position of await Promise.all(this.#open)) {
      if (this.#last !== null && position !== this.#last + 1) {
        throw new JobFailure('the new index was written to by somebody else while it was filled')
      }
      this.#last = position
    }
    this.#open = []
  }

  async over(): Promise<void> {
    await Promise.allSettled(this.#open)
  }
}

interface PlacedChange {
  readonly first: ScriptStep
  /** The other pieces of its payload; to be read to the end. */
  readonly rest: AsyncIterator<Piece>
  /** Where to go on when it was brought. */
  readonly next: RestoreCursor
}

/** What is still to be brought: whole changes, with the place behind each. */
async function* changesOf(context: Context): AsyncGenerator<PlacedChange> {
  const { job, lanes, signal } = context
  const steps = job.cursor?.kind === 'journal' ? undefined : backupSteps(context, job.cursor)
  if (steps !== undefined) yield* wholeChanges(steps)
  const from = job.cursor?.kind === 'journal' ? job.cursor.position : await positionOfBackup(context)
  if (from >= job.position) return
  const placed = async function* () {
    for await (const { position, step } of journalSteps(lanes, job.index, from, job.position, signal)) {
      // Several steps of one position are brought again together.
      yield { step, next: { kind: 'journal', position: position - 1 } as const }
    }
  }
  yield* wholeChanges(placed())
}

type PlacedStep = { readonly step: ScriptStep; readonly next: RestoreCursor }

async function* wholeChanges(steps: AsyncGenerator<PlacedStep>): AsyncGenerator<PlacedChange> {
  try {
    for (let found = await steps.next(); found.done !== true; found = await steps.next()) {
      const { step, next } = found.value
      const place: { next: RestoreCursor } = { next }
      const rest = (async function* (): AsyncGenerator<Piece> {
        for (let last = step; 'piece' in last && !last.piece.isLast; ) {
          const more = await steps.next()
          if (more.done === true || !('piece' in more.value.step)) throw new Error('a change breaks off')
          last = more.value.step
          place.next = more.value.next
          yield last.piece
        }
      })()
      yield {
        first: step,
        rest,
        get next() {
          return place.next
        },
      }
    }
  } finally {
    await steps.return(undefined)
  }
}

async function* backupSteps(context: Context, cursor: RestoreCursor | null): AsyncGenerator<PlacedStep> {
  const { job, backups, secret, signal } = context
  const backup = job.backup === null ? undefined : await backups.get(job.backup)
  if (backup === undefined) throw new JobFailure(`backup ${job.backup} is gone`)
  const objects = await objectsOf(context, backup)
  const { folder } = backup
  assert(folder !== null, 'a backup that is done has objects')
  const manifest = await readManifest(objects, folder, signal)
  const key = backup.key ?? keyOf(manifest, secret)
  const begin = cursor?.kind === 'part' ? cursor : { part: 0, step: 0 }
  for (let part = begin.part; part < manifest.parts.length; part += 1) {
    const one = manifest.parts[part]
    assert(one !== undefined, 'a part of the list')
    const steps = await readPart(objects, folder, key, one, signal)
    for (const [at, step] of steps.entries()) {
      if (part === begin.part && at < begin.step) continue
      yield { step, next: { kind: 'part', part, step: at + 1 } }
    }
  }
}

async function positionOfBackup({ job, backups }: Context): Promise<number> {
  if (job.backup === null) return 0
  const position = (await backups.get(job.backup))?.position
  if (position == null) throw new JobFailure(`backup ${job.backup} is gone`)
  return position
}

/** The step as a change of the new index's journal; `undefined` = it comes to nothing. */
async function changeOf(
  { journal }: Context,
  step: ScriptStep,
  rest: AsyncIterator<Piece>,
  counted: (piece: Piece) => void,
): Promise<{ readonly operation: Operation; readonly payload: Payload | null } | undefined> {
  switch (step.kind) {
    case 'put': {
      const { merge, primaryKey, received, distinct, piece } = step
      const payload = await journal.stage(payloadOf(piece, rest, counted))
      const counts = { received, distinct }
      return { operation: { kind: 'documents-put', skipCreation: false, merge, primaryKey, ...counts }, payload }
    }
    case 'delete': {
      const payload = await journal.stage(payloadOf(step.piece, rest, counted))
      return { operation: { kind: 'documents-delete', provided: step.provided }, payload }
    }
    case 'clear':
      return { operation: { kind: 'documents-clear' }, payload: null }
    case 'settings':
      if (Object.keys(step.settings).length === 0) return undefined
      return { operation: { kind: 'settings', settings: step.settings }, payload: null }
    case 'primary-key':
      return { operation: { kind: 'index-update', primaryKey: step.primaryKey, uid: null }, payload: null }
    default:
      return unreachable(step)
  }
}

async function* payloadOf(
  first: Piece,
  rest: AsyncIterator<Piece>,
  counted: (piece: Piece) => void,
): AsyncGenerator<Uint8Array> {
  counted(first)
  yield first.bytes
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    counted(next.value)
    yield next.value.bytes
  }
}

/** Of every change that a restore appends: whatever has another is not its own. */
export const metadataOf = ({ id }: Pick<Restore, 'id'>) => `restore ${id}`

/** Appends to the journal of the index that is made, and answers where. @throws when it takes nothing now: it is tried again. */
export async function appendTo(
  { job, journal, signal }: Context,
  operation: Operation,
  options: Partial<Pick<AppendRequest, 'payload' | 'spread'>> = {},
  uid: string | null = job.workUid,
): Promise<number | null> {
  signal.throwIfAborted()
  const outcome = await journal.append({
    ...{ project: job.project, uid, operation, payload: null, customMetadata: metadataOf(job), refusal: null },
    mayCreateIndex: operation.kind === 'index-create',
    ...options,
  })
  if (outcome.kind !== 'appended') {
    if (options.payload) await journal.discard(options.payload).catch(() => undefined)
    const cause = outcome.kind === 'unavailable' ? outcome.cause : undefined
    throw new Error(cause === undefined ? 'no node takes what is restored' : 'the journal takes no writes', { cause })
  }
  if (uid !== null && job.made !== null && outcome.index !== job.made) {
    throw new JobFailure(`the index \`${job.workUid}\` was deleted or renamed meanwhile`)
  }
  return outcome.position
}
