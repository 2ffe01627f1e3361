/** Tasks from when they are accepted: their payloads, their numbers, and how clients see them. */
import { ApiError } from '../api/errors.ts'
import { renderSummary } from '../api/task-view.ts'
import { type SummarizedTask, type TaskPageQuery, type TaskView, taskKindOf } from '../api/tasks.ts'
import type { Clock } from '../lib/clock.ts'
import type { EnqueueRequest, Page } from './core.ts'
import type { PayloadFiles } from './payload-files.ts'
import { firstDetails, type TaskRecord, viewOf } from './task-record.ts'
import type { TaskStore } from './task-store.ts'
import type { SentPayload } from './worker-messages.ts'

/** Tasks that are kept; above it the oldest finished ones go (M-C7). */
const tasksMax = 1_000_000
const tasksCleaned = 100_000

export interface AcceptedTasksDeps {
  readonly store: TaskStore
  readonly payloads: PayloadFiles
  readonly clock: Clock
  /** Of every task, in the order of their numbers. */
  readonly onAccepted: (record: TaskRecord) => void
}

export class AcceptedTasks {
  readonly #store: TaskStore
  readonly #payloads: PayloadFiles
  readonly #clock: Clock
  readonly #onAccepted: (record: TaskRecord) => void
  /** Tasks become visible in the order of their numbers. */
  #lastInsert: Promise<unknown> = Promise.resolve()

  constructor({ store, payloads, clock, onAccepted }: AcceptedTasksDeps) {
    this.#store = store
    this.#payloads = payloads
    this.#clock = clock
    this.#onAccepted = onAccepted
  }

  /** See `EngineCore.enqueue`. */
  async enqueue(request: EnqueueRequest): Promise<SummarizedTask> {
    const { uid: indexUid, operation, allowIndexCreation, customMetadata } = request
    const payload = request.payload === undefined ? undefined : await this.#payloads.receive(request.payload)
    const { received = 0 } = request
    const selected =
      operation.kind === 'task-cancel' || operation.kind === 'task-delete'
        ? this.#store.matching(operation.filter).toArray()
        : null
    const uid = this.#store.takeTaskUid()
    const count = typeof received === 'function' ? received() : received
    const record: TaskRecord = {
      uid,
      batchUid: null,
      indexUid,
      status: 'enqueued',
      operation,
      allowIndexCreation,
      payload: payload?.stored ?? null,
      details: firstDetails(operation, indexUid, count, selected),
      error: null,
      canceledBy: null,
      selected,
      enqueuedAt: this.#clock.now(),
      startedAt: null,
      finishedAt: null,
      customMetadata,
    }
    const before = this.#lastInsert
    const insert = this.#store.insert(record, payload?.bytes)
    this.#lastInsert = Promise.allSettled([before, insert])
    try {
      await insert
    } catch (error) {
      if (payload?.stored.kind === 'file') this.#payloads.remove(payload.stored.name)
      throw new ApiError('no_space_left_on_device', 'The task could not be stored.', { cause: error })
    }
    await before
    this.#onAccepted(record)
    this.#clean()
    return renderSummary({ ...record, type: taskKindOf[operation.kind] })
  }

  /** A snapshot of the engine, unless one waits. */
  enqueueSnapshot(): void {
    if (this.#store.ofKind(taskKindOf.snapshot).intersects(this.#store.waiting)) return
    // A disk that is full now may have room at the next time.
    this.enqueue({ uid: null, operation: { kind: 'snapshot' }, ...ownTask }).catch(() => undefined)
  }

  get(uid: number): TaskView | undefined {
    const record = this.#store.get(uid)
    return record === undefined ? undefined : viewOf(record)
  }

  page(query: TaskPageQuery): Page<TaskView> {
    const page = this.#store.page(query)
    return { ...page, results: page.results.map(viewOf) }
  }

  /** NDJSON of its documents or ids. */
  payload({ uid, payload }: TaskRecord): AsyncIterable<Uint8Array> | undefined {
    if (payload === null) return undefined
    if (payload.kind === 'file') return this.#payloads.read(payload.name)
    return single(this.#store.payload(uid) ?? new Uint8Array())
  }

  /** The same, for a thread that reads it. */
  sentPayload({ payload }: TaskRecord): SentPayload | null {
    if (payload === null) return null
    return payload.kind === 'file' ? { kind: 'file', path: this.#payloads.path(payload.name) } : { kind: 'stored' }
  }

  /** Every task that was begun to be accepted is stored, or refused. */
  async settled(): Promise<void> {
    await this.#lastInsert
  }

  #clean(): void {
    const store = this.#store
    if (store.size < tasksMax || !store.ofKind('taskDeletion').and(store.waiting).isEmpty()) return
    const ended = store.matching({ statuses: ['succeeded', 'failed', 'canceled'] }).toArray()
    const oldest = ended.slice(0, tasksCleaned)
    if (oldest.length === 0) return
    const operation = { kind: 'task-delete', filter: { uids: oldest }, originalFilter: '' } as const
    void this.enqueue({ uid: null, operation, ...ownTask }).catch(() => {})
  }
}

/** Of tasks that nobody asked for. */
const ownTask = { customMetadata: null, allowIndexCreation: false } as const

/** Payload files that waiting tasks name. */
export function filesInUse(store: TaskStore): ReadonlySet<string> {
  const used = new Set<string>()
  for (const uid of store.waiting) {
    const payload = store.get(uid)?.payload
    if (payload?.kind === 'file') used.add(payload.name)
  }
  return used
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
