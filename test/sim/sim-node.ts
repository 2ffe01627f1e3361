/**
 * A simulated engine process with its disk, behaving as stock Meilisearch does under lanes: one batch at a time, the oldest
 * task picks the index, one late refusal fails its whole batch, and what was answered before a crash is there after it.
 */
import type { ErrorBody } from '../../src/api/errors.ts'
import type { EngineTask } from '../../src/engine/engine.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { Random } from '../../src/lib/random.ts'
import * as rules from './document-rules.ts'
import { type Scheduler, startOfTime } from './scheduler.ts'

export type TaskBody =
  | {
      readonly kind: 'put'
      readonly documents: readonly JsonObject[]
      readonly merge: boolean
      readonly primaryKey: string | null
    }
  | { readonly kind: 'delete'; readonly ids: readonly string[] }
  | { readonly kind: 'clear' }
  | { readonly kind: 'edit'; readonly filter: unknown }
  | { readonly kind: 'settings'; readonly settings: JsonObject }
  | { readonly kind: 'create'; readonly primaryKey: string | null }
  | { readonly kind: 'update'; readonly primaryKey: string }
  | { readonly kind: 'drop' }
  | { readonly kind: 'cancel'; readonly uid: string }
  | { readonly kind: 'forget'; readonly uids: readonly number[] }

const typeOf: Record<TaskBody['kind'], string> = {
  put: 'documentAdditionOrUpdate',
  delete: 'documentDeletion',
  clear: 'documentDeletion',
  edit: 'documentEdition',
  settings: 'settingsUpdate',
  create: 'indexCreation',
  update: 'indexUpdate',
  drop: 'indexDeletion',
  cancel: 'taskCancelation',
  forget: 'taskDeletion',
}

interface Task {
  readonly uid: number
  readonly indexUid: string | null
  readonly mark: string | null
  body: TaskBody
  status: EngineTask['status']
  batchUid: number | null
  error: ErrorBody | null
  details: JsonObject | null
  startedAt: number | null
  finishedAt: number | null
  isDeleted: boolean
}

export interface Disk {
  readonly tasks: Task[]
  readonly indexes: Map<string, rules.IndexState>
  marker: { name: string; description: string; createdAt: string } | null
  batches: number
}

function emptyDisk(): Disk {
  return { tasks: [], indexes: new Map(), marker: null, batches: 0 }
}

export class SimNode {
  readonly id: string
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #trace: (text: string) => void
  disk: Disk = emptyDisk()
  isUp = true
  /** The disk was wiped or replaced at least once. */
  disksLost = 0
  /** Chance that a batch fails with a passing `internal` or `io_error`. */
  troubleChance = 0
  /** The disk is full: what writes to an index fails. */
  isFull = false
  /** Everything takes so many times as long. */
  slowness = 1
  /** It refuses documents that are `odd` for it; no other node does. */
  isPicky = false
  /** Chance that a put succeeds and does nothing (NF-06). */
  lieChance = 0
  /** Chance that it does not show a task that it has, this time. */
  forgetChance = 0
  /** The disk is not what was written to it, and nobody has noticed yet. */
  isDoubtful = false
  /** When a worker last took the disk as it is. */
  adoptedAt = 0
  /** When it was last started or resumed. */
  wellSince = 0
  /** By index, since lanes believe a count that stays short. */
  readonly #lies = new Map<string, number>()
  #isStopped = false
  readonly #waiting: (() => void)[] = []
  #run = 0
  #isBusy = false
  /** All before it have ended. */
  #oldestOpen = 0

  constructor(id: string, scheduler: Scheduler, random: Random, trace: (text: string) => void) {
    this.id = id
    this.#scheduler = scheduler
    this.#random = random
    this.#trace = trace
  }

  register(indexUid: string, body: TaskBody, mark: string | null): number {
    const uid = this.disk.tasks.length
    const isOfNode = body.kind === 'cancel' || body.kind === 'forget'
    this.disk.tasks.push({
      uid,
      indexUid: isOfNode ? null : indexUid,
      mark,
      body,
      status: 'enqueued',
      batchUid: null,
      error: null,
      details: body.kind === 'settings' ? body.settings : null,
      startedAt: null,
      finishedAt: null,
      isDeleted: false,
    })
    this.#trace(`${this.id} task ${uid} ${body.kind} ${indexUid} ${mark ?? ''}`)
    if (body.kind === 'cancel') this.#cancel(body.uid, uid)
    if (body.kind === 'forget') this.#forget(body.uids, uid)
    this.#work()
    return uid
  }

  /** The task of this number as the node shows it; `undefined` = it does not know it. */
  row(uid: number): EngineTask | undefined {
    const task = this.disk.tasks[uid]
    return task === undefined || task.isDeleted ? undefined : rowOf(task)
  }

  /** What the node shows of its tasks, or of those of one index, newest first, from `from` down. */
  *newestRows(from = Number.POSITIVE_INFINITY, indexUid?: string): Generator<EngineTask> {
    const { tasks } = this.disk
    for (let at = Math.min(from, tasks.length - 1); at >= 0; at -= 1) {
      const task = tasks[at]!
      if (!task.isDeleted && (indexUid === undefined || task.indexUid === indexUid)) yield rowOf(task)
    }
  }

  /** The same of those that have ended, oldest first. */
  endedRows(): EngineTask[] {
    return this.disk.tasks.filter((task) => !task.isDeleted && !isOpen(task)).map(rowOf)
  }

  /** Stops at once; the batch in work is rolled back. With `damage`, payloads of waiting tasks may turn out empty (NF-30). */
  crash(damage: boolean): void {
    this.isUp = false
    this.#run += 1
    this.#isBusy = false
    for (const task of this.disk.tasks) {
      if (task.status === 'processing') task.status = 'enqueued'
      if (damage && task.status === 'enqueued' && task.body.kind === 'put' && this.#random.float() < 0.5) {
        task.body = { ...task.body, documents: [] }
      }
    }
  }

  start(): void {
    this.isUp = true
    this.wellSince = this.#scheduler.now
    this.#work()
  }

  /** SIGSTOP: requests are taken and lie there. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  stop(): void {
    this.#isStopped = true
  }

  resume(): void {
    this.#isStopped = false
    this.wellSince = this.#scheduler.now
    for (const run of this.#waiting.splice(0)) run()
  }

  whenResumed(run: () => void): void {
    this.#waiting.push(run)
  }

  wipe(): void {
    this.disk = emptyDisk()
    this.#oldestOpen = 0
    this.disksLost += 1
    this.isDoubtful = true
  }

  /** A copy of the disk as of now, to be put back later. */
  backup(): Disk {
    return {
      tasks: this.disk.tasks.map((task) => ({
        ...task,
        status: task.status === 'processing' ? 'enqueued' : task.status,
      })),
      indexes: new Map([...this.disk.indexes].map(([uid, index]) => [uid, rules.copyIndex(index)])),
      marker: this.disk.marker,
      batches: this.disk.batches,
    }
  }

  restore(disk: Disk): void {
    this.disk = disk
    this.#oldestOpen = 0
    this.disksLost += 1
    this.isDoubtful = true
  }

  get isQuiet(): boolean {
    return this.isUp && !this.#isStopped && !this.#isBusy && this.#openTasks().length === 0
  }

  #openTasks(): readonly Task[] {
    const { tasks } = this.disk
    while (this.#oldestOpen < tasks.length && !isOpen(tasks[this.#oldestOpen]!)) this.#oldestOpen += 1
    return tasks.slice(this.#oldestOpen).filter(isOpen)
  }

  /** Somebody changes the settings of an index behind everybody's back. */
  meddle(indexUid: string): void {
    const index = this.disk.indexes.get(indexUid)
    if (index === undefined) return
    index.settings = { ...index.settings, filterableAttributes: ['meddled'] }
    this.#trace(`somebody meddles with ${indexUid} on ${this.id}`)
  }

  #cancel(indexUid: string, by: number): void {
    let count = 0
    for (const task of this.disk.tasks) {
      if (task.indexUid !== indexUid || task.status !== 'enqueued' || task.uid >= by) continue
      task.status = 'canceled'
      task.finishedAt = this.#time()
      count += 1
    }
    const own = this.disk.tasks[by]!
    own.status = 'succeeded'
    own.details = { canceledTasks: count }
    own.finishedAt = this.#time()
  }

  #forget(uids: readonly number[], by: number): void {
    for (const uid of uids) {
      const task = this.disk.tasks[uid]
      if (task !== undefined && task.status !== 'enqueued' && task.status !== 'processing') task.isDeleted = true
    }
    const own = this.disk.tasks[by]!
    own.status = 'succeeded'
    own.finishedAt = this.#time()
  }

  #time(): number {
    return startOfTime + Math.floor(this.#scheduler.now)
  }

  #work(): void {
    if (this.#isBusy || !this.isUp) return
    const batch = this.#nextBatch()
    if (batch.length === 0) return
    this.#isBusy = true
    const run = this.#run
    const number = this.disk.batches
    this.disk.batches += 1
    for (const task of batch) {
      task.status = 'processing'
      task.batchUid = number
      task.startedAt = this.#time()
    }
    const documents = batch.reduce((sum, { body }) => sum + (body.kind === 'put' ? body.documents.length : 0), 0)
    const finish = () => {
      if (run !== this.#run) return
      if (this.#isStopped) return this.whenResumed(finish)
      this.#finish(batch)
      // The index is on the disk now and the tasks are not: dying between the two repeats the batch (NF-29).
      this.#isBusy = false
      this.#work()
    }
    this.#scheduler.after((5 + this.#random.integer(60) + documents) * this.slowness, finish)
  }

  /** M-C8 */
  #nextBatch(): Task[] {
    const waiting = this.#openTasks().filter(({ status }) => status === 'enqueued')
    const first = waiting[0]
    if (first === undefined) return []
    const same = waiting.filter(({ indexUid }) => indexUid === first.indexUid)
    const joins = (kind: TaskBody['kind']) => kind === 'put' || kind === 'delete'
    const batch: Task[] = []
    for (const task of same) {
      const kind = task.body.kind
      const isFirst = batch.length === 0
      const isDocuments = joins(first.body.kind) && joins(kind)
      const isSettings = first.body.kind === 'settings' && kind === 'settings'
      if (!isFirst && !isDocuments && !isSettings) break
      batch.push(task)
    }
    return batch
  }

  #finish(batch: readonly Task[]): void {
    const uid = batch[0]!.indexUid!
    if (this.troubleChance > 0 && this.#random.float() < this.troubleChance) {
      const code = this.#random.float() < 0.5 ? 'internal' : 'io_error'
      return void this.#end(batch, { message: `trouble in ${uid}`, code, type: 'internal', link: '' })
    }
    if (this.isFull)
      return void this.#end(batch, {
        message: 'No space left on device (os error 28)',
        code: 'internal',
        type: 'internal',
        link: '',
      })
    const stored = this.disk.indexes.get(uid)
    const index = stored === undefined ? undefined : rules.copyIndex(stored)
    const [first] = batch
    const { body } = first!
    if (body.kind === 'create') {
      if (index !== undefined)
        return void this.#end(batch, rules.refusal('index_already_exists', `Index \`${uid}\` already exists.`))
      this.disk.indexes.set(uid, rules.emptyIndex(body.primaryKey))
      return void this.#end(batch, null)
    }
    if (body.kind === 'drop') {
      if (index === undefined) return void this.#end(batch, missing(uid))
      this.disk.indexes.delete(uid)
      first!.details = { deletedDocuments: index.documents.size }
      return void this.#end(batch, null)
    }
    if (body.kind === 'settings') {
      const next = index ?? rules.emptyIndex(null)
      // Adjacent settings lose what earlier ones of the batch set (NF-02); seen here as all but the last being lost.
      const error = batch
        .map((task) => (task.body.kind === 'settings' ? task.body.settings : {}))
        .find(({ broken }) => broken)
      if (error !== undefined) return void this.#end(batch, rules.applySettings(next, error)!)
      const last = batch.at(-1)!.body
      if (last.kind === 'settings') rules.applySettings(next, last.settings)
      this.disk.indexes.set(uid, next)
      return void this.#end(batch, null)
    }
    if (body.kind === 'put' || body.kind === 'delete') return void this.#finishDocuments(uid, index, batch)
    if (index === undefined) return void this.#end(batch, missing(uid))
    if (body.kind === 'clear') {
      first!.details = { deletedDocuments: index.documents.size }
      index.documents.clear()
    }
    if (body.kind === 'update') index.primaryKey = body.primaryKey
    if (body.kind === 'edit') rules.edit(index, [...index.documents.keys()])
    this.disk.indexes.set(uid, index)
    this.#end(batch, null)
  }

  #finishDocuments(uid: string, stored: rules.IndexState | undefined, batch: readonly Task[]): void {
    const isPut = batch.some(({ body }) => body.kind === 'put')
    if (stored === undefined && !isPut) return void this.#end(batch, missing(uid))
    const index = stored ?? rules.emptyIndex(null)
    const puts = batch.flatMap(({ body }) => (body.kind === 'put' ? body.documents : []))
    const late = rules.lateRefusal(index, puts, this.isPicky ? this.id : null)
    if (late !== undefined) return void this.#end(batch, late)
    for (const task of batch) {
      if (task.body.kind === 'put') {
        index.primaryKey ??= task.body.primaryKey
        if (this.#isLie(uid, task.body.documents)) {
          task.details = { receivedDocuments: task.body.documents.length, indexedDocuments: 0 }
          continue
        }
        rules.put(index, task.body.documents, task.body.merge)
        const distinct = new Set(task.body.documents.map(({ id }) => String(id))).size
        task.details = { receivedDocuments: task.body.documents.length, indexedDocuments: distinct }
      }
      if (task.body.kind === 'delete') {
        task.details = { providedIds: task.body.ids.length, deletedDocuments: rules.remove(index, task.body.ids) }
      }
    }
    this.disk.indexes.set(uid, index)
    this.#end(batch, null)
  }

  #isLie(uid: string, documents: readonly JsonObject[]): boolean {
    const before = this.#lies.get(uid) ?? 0
    if (this.lieChance === 0 || documents.length === 0 || before > 0) return false
    if (this.#random.float() >= this.lieChance) return false
    this.#lies.set(uid, before + 1)
    this.#trace(`${this.id} lies about ${uid}`)
    return true
  }

  #end(batch: readonly Task[], error: ErrorBody | null): void {
    for (const task of batch) {
      task.status = error === null ? 'succeeded' : 'failed'
      task.error = error
      if (error !== null && task.body.kind !== 'settings') task.details = null
      task.finishedAt = this.#time()
    }
    this.#trace(`${this.id} batch ${batch.map(({ uid }) => uid).join(',')} ${error?.code ?? 'done'}`)
  }
}

export function isOpen({ status }: Pick<EngineTask, 'status'>): boolean {
  return status === 'enqueued' || status === 'processing'
}

/** Of tasks that have ended: nothing of them changes any more. */
const endedRows = new WeakMap<Task, EngineTask>()

function rowOf(task: Task): EngineTask {
  const known = endedRows.get(task)
  if (known !== undefined) return known
  const row = freshRow(task)
  if (!isOpen(task)) endedRows.set(task, row)
  return row
}

function freshRow(task: Task): EngineTask {
  return {
    uid: task.uid,
    batchUid: task.batchUid,
    indexUid: task.indexUid,
    status: task.status,
    type: typeOf[task.body.kind],
    error: task.error,
    details: task.details,
    startedAt: task.startedAt,
    finishedAt: task.finishedAt,
    customMetadata: task.mark,
  }
}

function missing(uid: string): ErrorBody {
  return rules.refusal('index_not_found', `Index \`${uid}\` not found.`)
}
