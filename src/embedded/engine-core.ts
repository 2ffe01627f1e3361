/** The engine of one database folder: see `core.ts` for what it offers. */

import { availableParallelism } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { ApiError } from '../api/errors.ts'
import { completeFeatures, featureNames } from '../api/features.ts'
import type { RenderQuery } from '../api/render-query.ts'
import { decodeSettings } from '../api/settings.ts'
import { renderSummary, renderTime } from '../api/task-view.ts'
import type { SummarizedTask, TaskPageQuery, TaskView } from '../api/tasks.ts'
import { taskKindOf } from '../api/tasks.ts'
import { assert } from '../lib/assert.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { type AllowedNetworks, createEgressPolicy } from '../lib/egress-policy.ts'
import { collectGarbage } from '../lib/heap.ts'
import type { JsonObject } from '../lib/json.ts'
import { progressOf } from './batch-progress.ts'
import { type BatchRecord, viewOfBatch } from './batch-record.ts'
import type {
  BatchView,
  EngineCore,
  EngineOptions,
  EngineStore,
  EnqueueRequest,
  IndexStats,
  IndexView,
  InstanceStats,
  IntegrityReport,
  Page,
  ReadOptions,
} from './core.ts'
import { type EngineLoader, importDump } from './dump/dump-import.ts'
import type { UnpackedIndex } from './dump/dump-reader.ts'
import { dumpUid } from './dump/dump-writer.ts'
import { dumpEngine } from './dump/engine-dump.ts'
import { beginLoading, endLoading, isToLoad, LoadRefused } from './engine-loading.ts'
import { storeOf } from './engine-store.ts'
import { type ExportOperation, exportEngine } from './export/engine-export.ts'
import { openExportTarget } from './export/export-target.ts'
import { lockFolder } from './folder-lock.ts'
import { IndexAnswers } from './index-answers.ts'
import type { IndexState } from './index-batch.ts'
import { IndexRegistry, withState } from './index-registry.ts'
import { IndexingThreads } from './indexing-threads.ts'
import { EngineIntegrity } from './integrity/engine-integrity.ts'
import { sealPages } from './integrity/page-sums.ts'
import { checkTasks } from './integrity/tasks-check.ts'
import { type MetaEnv, openMetaEnv, type RegistryEntry } from './meta-env.ts'
import { OpenIndexes } from './open-indexes.ts'
import { PayloadFiles } from './payload-files.ts'
import { ReadPool } from './read-pool.ts'
import { RuleBook } from './rule-book.ts'
import { Scheduler } from './scheduler.ts'
import { importEngineSnapshot, writeEngineSnapshot } from './snapshot/engine-snapshot.ts'
import { IndexSnapshots } from './snapshot/index-snapshots.ts'
import { sync } from './snapshot/snapshot-folder.ts'
import { firstDetails, isEnded, type TaskRecord, viewOf } from './task-record.ts'
import { TaskStore } from './task-store.ts'
import type { Adoption, CompactionSizes, SentPayload, SentTask, WorkerSettings } from './worker-messages.ts'

const defaults = {
  indexingBytesMax: 256 * 2 ** 20,
  cacheBytesMax: 32 * 2 ** 20,
  vectorBytesMax: 192 * 2 ** 20,
  batchTasksMax: 1000,
  searchQueueMax: 1000,
}
/** Tasks that are kept; above it the oldest finished ones go (M-C7). */
const tasksMax = 1_000_000
const tasksCleaned = 100_000
/** Quiet time after which an index is closed and memory given back. */
const restMs = 60_000
/** A thread costs more to start than a shorter rest would give back. */
const threadRestMs = 10_000
/** Settings of a dump may be of any feature. */
const everyFeature = completeFeatures(Object.fromEntries(featureNames.map((name) => [name, true])))
/** Documents that a dump reads at once. */
const dumpPageBytes = 4 * 2 ** 20

/** @throws EngineFolderInUse when another process has the folder open. */
export async function openEngine(
  dbPath: string,
  options: EngineOptions,
  clock: Clock = systemClock,
): Promise<EngineCore> {
  const unlock = lockFolder(dbPath)
  try {
    const { load } = options
    const isLoading = isToLoad(dbPath, load)
    if (isLoading) beginLoading(dbPath)
    if (isLoading && load?.kind === 'snapshot') await importEngineSnapshot(load.path, dbPath)
    await checkTasks(join(dbPath, 'tasks'))
    const engine = new Engine(dbPath, options, clock, unlock)
    try {
      if (isLoading && load?.kind === 'dump') await importDump(load.path, engine.loader())
    } catch (error) {
      await engine.close()
      throw error
    }
    for (const path of [join(dbPath, 'tasks'), dbPath]) await sync(path)
    if (isLoading) endLoading(dbPath)
    engine.start(options.snapshotEveryMs)
    return engine
  } catch (error) {
    unlock()
    throw error
  }
}

class Engine implements EngineCore {
  readonly store: EngineStore
  readonly rules: RuleBook
  readonly snapshots: IndexSnapshots
  readonly #dbPath: string
  readonly #clock: Clock
  readonly #unlock: () => void
  readonly #meta: MetaEnv
  readonly #tasks: TaskStore
  readonly #registry: IndexRegistry
  readonly #payloads: PayloadFiles
  readonly #reads: ReadPool
  readonly #answers: IndexAnswers
  readonly #open: OpenIndexes
  readonly #integrity: EngineIntegrity
  #checkingAhead: Promise<void> = Promise.resolve()
  readonly #indexing: IndexingThreads
  readonly #scheduler: Scheduler
  #giveUpExport = () => {}
  #snapshotTimer: NodeJS.Timeout | undefined
  /** Tasks become visible in the order of their numbers. */
  #lastInsert: Promise<unknown> = Promise.resolve()

  constructor(dbPath: string, options: EngineOptions, clock: Clock, unlock: () => void) {
    this.#dbPath = dbPath
    this.#clock = clock
    this.#unlock = unlock
    this.#meta = openMetaEnv(join(dbPath, 'tasks'))
    this.#tasks = new TaskStore(this.#meta)
    this.#registry = new IndexRegistry(join(dbPath, 'indexes'), this.#meta)
    this.#payloads = new PayloadFiles(join(dbPath, 'payloads'), this.#usedFiles())
    this.store = storeOf(this.#meta)
    this.rules = new RuleBook(this.store)
    const quietMs = options.restMs ?? restMs
    const indexingBytesMax = options.indexingBytesMax ?? defaults.indexingBytesMax
    const settings: WorkerSettings = {
      metaFolder: join(dbPath, 'tasks'),
      postingBytesMax: Math.floor(indexingBytesMax / 4),
      cacheBytesMax: options.cacheBytesMax ?? defaults.cacheBytesMax,
      vectorBytesMax: options.vectorBytesMax ?? defaults.vectorBytesMax,
      allowedNetworks: options.allowedNetworks ?? [],
    }
    this.#reads = new ReadPool({
      workersMax: options.searchWorkersMax ?? Math.min(2, availableParallelism()),
      openMax: options.searchQueueMax ?? defaults.searchQueueMax,
      settings,
    })
    this.#indexing = new IndexingThreads(settings)
    this.#open = new OpenIndexes({
      clock,
      restMs: quietMs,
      forgetInWorkers: (folder) => this.#forgetInWorkers(folder),
      onRest: () => {
        if (this.#open.count === 0 && quietMs >= threadRestMs) this.#indexing.rest()
        collectGarbage()
      },
      onDamage: (damage) => this.#integrity.tell(damage),
    })
    this.#integrity = new EngineIntegrity({
      ...options,
      clock,
      tasksFolder: settings.metaFolder,
      indexes: () => this.#registry.list().map((entry) => ({ ...entry, path: this.#registry.folderOf(entry) })),
      checks: this.#open.checks,
    })
    this.#answers = new IndexAnswers({
      dbPath,
      registry: this.#registry,
      open: this.#open,
      reads: this.#reads,
      isIndexing: (uid) => this.#scheduler.isIndexing(uid),
    })
    this.#scheduler = new Scheduler({
      registry: this.#registry,
      store: this.#tasks,
      clock,
      now: () => clock.now(),
      limits: {
        tasksMax: options.batchTasksMax ?? defaults.batchTasksMax,
        payloadBytesMax: options.batchBytesMax ?? indexingBytesMax,
      },
      runInIndex: (track, folder, tasks) => {
        this.#indexing.on(track).begin()
        return this.#open.use([folder], () => this.#indexing.run(track, folder, tasks), 'write')
      },
      compact: (folder, target) => this.#open.use([folder], () => this.#indexing.compact(folder, target), 'write'),
      payloadOf: (record) => this.#payloadOf(record),
      documentCount: (folder) => this.#answers.documentCount(folder),
      dump: (record) => this.#dump(record, options.dumpFolder ?? join(dbPath, 'dumps')),
      rules: this.rules,
      export: (operation) => this.#export(operation, options.allowedNetworks ?? []),
      snapshot: () => this.#snapshot(options.snapshotFolder ?? join(dbPath, 'snapshots')),
      removeIndex: (entry) => this.#removeIndex(entry),
      removePayload: (name) => this.#payloads.remove(name),
      onFinished: options.onFinished ?? (() => {}),
    })
    this.snapshots = new IndexSnapshots({
      folder: join(dbPath, 'index-snapshots'),
      clock,
      registry: this.#registry,
      copy: (folder, target) => this.#open.copy(folder, target),
      adopt: (folder) => this.#adopt(folder, {}),
      publish: async (entry, replaced) => {
        await this.#tasks.commit({ tasks: [], putIndexes: [entry] })
        this.#registry.apply([], [entry])
        if (replaced !== undefined) await this.#removeIndex(replaced)
      },
      between: (work) => this.#scheduler.between(work),
      forget: (folder) => this.#open.forget(folder),
    })
  }

  /** Tasks begin to run. */
  start(snapshotEveryMs: number | undefined): void {
    this.#scheduler.start()
    // The first search after a start would wait for a thread; an engine without indexes has nothing to search.
    if (this.#registry.list().length > 0) setImmediate(() => this.#reads.warmUp())
    this.#checkingAhead = this.#open.checkAhead(this.#integrity.foldersByUse())
    this.#integrity.start()
    if (snapshotEveryMs === undefined) return
    this.#snapshotTimer = setInterval(() => this.#scheduleSnapshot(), snapshotEveryMs)
    this.#snapshotTimer.unref()
  }

  /** Fills an engine that was not started. */
  loader(): EngineLoader {
    return {
      folder: this.#dbPath,
      store: this.store,
      addIndex: (index) => this.#addIndex(index),
      addTask: async (record, source) => {
        const payload = source === undefined ? undefined : await this.#payloads.receive(source)
        await this.#tasks.insert({ ...record, payload: payload?.stored ?? null }, payload?.bytes)
      },
      addBatch: (batch) => this.#tasks.commit({ tasks: [], batch }),
    }
  }

  indexes(): readonly IndexView[] {
    return this.#registry.list().map(viewOfIndex)
  }

  index(uid: string): IndexView | undefined {
    const entry = this.#registry.get(uid)
    return entry === undefined ? undefined : viewOfIndex(entry)
  }

  indexStats(uid: string): Promise<IndexStats> {
    return this.#answers.indexStats(uid)
  }

  stats(): Promise<InstanceStats> {
    return this.#answers.stats()
  }

  fields(uid: string): Promise<readonly JsonObject[]> {
    return this.#answers.fields(uid)
  }

  settings(uid: string): Promise<JsonObject> {
    return this.#answers.settings(uid)
  }

  document(...sent: Parameters<EngineCore['document']>): Promise<Uint8Array> {
    return this.#answers.document(...sent)
  }

  documents(...sent: Parameters<EngineCore['documents']>): Promise<Uint8Array> {
    return this.#answers.documents(...sent)
  }

  search(...[uid, query, options]: Parameters<EngineCore['search']>): Promise<Uint8Array> {
    return this.#answers.search(uid, query, this.#withRules(options, [uid]))
  }

  multiSearch(...[query, options]: Parameters<EngineCore['multiSearch']>): Promise<Uint8Array> {
    const uids = query.queries.map(({ indexUid }) => indexUid)
    return this.#answers.multiSearch(query, this.#withRules(options, uids))
  }

  #withRules(options: ReadOptions, uids: readonly string[]): ReadOptions {
    if (options.rules !== undefined || !options.features.dynamicSearchRules) return options
    return { ...options, rules: this.rules.of(uids, this.#clock.now()) }
  }

  facetSearch(...sent: Parameters<EngineCore['facetSearch']>): Promise<Uint8Array> {
    return this.#answers.facetSearch(...sent)
  }

  similar(...sent: Parameters<EngineCore['similar']>): Promise<Uint8Array> {
    return this.#answers.similar(...sent)
  }

  renderTemplate(query: RenderQuery): Promise<Uint8Array> {
    return this.#answers.renderTemplate(query)
  }

  async enqueue(request: EnqueueRequest): Promise<SummarizedTask> {
    const { uid: indexUid, operation, allowIndexCreation, customMetadata } = request
    const payload = request.payload === undefined ? undefined : await this.#payloads.receive(request.payload)
    const { received = 0 } = request
    const selected =
      operation.kind === 'task-cancel' || operation.kind === 'task-delete'
        ? this.#tasks.matching(operation.filter).toArray()
        : null
    const uid = this.#tasks.takeTaskUid()
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
    const insert = this.#tasks.insert(record, payload?.bytes)
    this.#lastInsert = Promise.allSettled([before, insert])
    try {
      await insert
    } catch (error) {
      if (payload?.stored.kind === 'file') this.#payloads.remove(payload.stored.name)
      throw new ApiError('no_space_left_on_device', 'The task could not be stored.', { cause: error })
    }
    await before
    if (operation.kind === 'task-cancel') this.#abortRunning(selected ?? [])
    this.#cleanTasks()
    this.#scheduler.wake()
    return renderSummary({ ...record, type: taskKindOf[operation.kind] })
  }

  task(uid: number): TaskView | undefined {
    const record = this.#tasks.get(uid)
    return record === undefined ? undefined : viewOf(record)
  }

  tasks(query: TaskPageQuery): Page<TaskView> {
    const page = this.#tasks.page(query)
    return { ...page, results: page.results.map(viewOf) }
  }

  batch(uid: number): BatchView | undefined {
    const batch = this.#tasks.batch(uid)
    return batch === undefined ? undefined : this.#viewOfBatch(batch)
  }

  batches(query: TaskPageQuery): Page<BatchView> {
    const page = this.#tasks.batchPage(query)
    return { ...page, results: page.results.map((batch) => this.#viewOfBatch(batch)) }
  }

  #viewOfBatch(batch: BatchRecord): BatchView {
    if (batch.finishedAt !== null) return viewOfBatch(batch, null)
    const running = this.#scheduler.running.find(({ uid }) => uid === batch.uid)
    const place = running === undefined || running.isStoring ? null : this.#indexing.on(running.track).place
    return viewOfBatch(batch, progressOf(batch, place))
  }

  taskPayload(uid: number): AsyncIterable<Uint8Array> | undefined {
    const record = this.#tasks.get(uid)
    return record?.operation.kind === 'documents-put' ? this.#payloadBytes(record) : undefined
  }

  async waitForTask(uid: number, timeoutMs: number): Promise<TaskView | undefined> {
    const until = performance.now() + timeoutMs
    for (;;) {
      const task = this.task(uid)
      if (task === undefined || isEnded(task.status)) return task
      if (!(await this.#scheduler.someTaskEnds(until - performance.now()))) return this.task(uid)
    }
  }

  someTaskEnds(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    return this.#scheduler.someTaskEnds(timeoutMs, signal)
  }

  async close(): Promise<void> {
    // Batches that run are rolled back and run again at the next start.
    this.#indexing.abort()
    this.#giveUpExport()
    clearInterval(this.#snapshotTimer)
    await Promise.all([this.#scheduler.close(), this.#integrity.close()])
    await this.snapshots.close()
    await this.#lastInsert
    await this.#open.rest()
    await this.#checkingAhead
    await Promise.all([this.#reads.close(), this.#indexing.close()])
    await this.#open.close()
    await this.#tasks.save().catch(() => undefined)
    await this.#meta.root.close()
    // Without them the tasks cannot be checked at the next start, and are believed.
    await sealPages(join(this.#dbPath, 'tasks')).catch(() => undefined)
    this.#unlock()
  }

  compactTasks(): Promise<CompactionSizes> {
    return this.#scheduler.between(() => this.#integrity.whileTasksAreReplaced(() => this.#meta.compact()))
  }

  integrity(): IntegrityReport {
    return this.#integrity.report()
  }

  #payloadBytes({ uid, payload }: TaskRecord): AsyncIterable<Uint8Array> | undefined {
    if (payload === null) return undefined
    if (payload.kind === 'file') return this.#payloads.read(payload.name)
    return single(this.#tasks.payload(uid) ?? new Uint8Array())
  }

  #payloadOf({ payload }: TaskRecord): SentPayload | null {
    if (payload === null) return null
    return payload.kind === 'file' ? { kind: 'file', path: this.#payloads.path(payload.name) } : { kind: 'stored' }
  }

  async #addIndex({ uid, primaryKey, createdAt, updatedAt, settings, documents }: UnpackedIndex): Promise<void> {
    const entry = this.#registry.draft(uid, createdAt)
    const folder = this.#registry.folderOf(entry)
    const put = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey } as const
    const tasks: readonly SentTask[] = [
      { uid: 0, operation: { kind: 'index-create', primaryKey }, payload: null },
      { uid: 1, operation: { kind: 'settings', settings: decodeSettings(settings, everyFeature) }, payload: null },
      { uid: 2, operation: put, payload: { kind: 'file', path: documents } },
    ]
    const outcome = await this.#open.use([folder], () => this.#indexing.run('main', folder, tasks), 'write')
    assert(outcome !== 'aborted', 'nothing runs beside a load that could end it')
    const refused = outcome.outcomes.find(({ error }) => error !== null)
    if (refused?.error) throw new LoadRefused(`Index \`${uid}\` of the dump is refused: ${refused.error.message}`)
    const state = await this.#adopt(folder, { createdAt, updatedAt })
    const next = withState(entry, state)
    await this.#tasks.commit({ tasks: [], putIndexes: [next] })
    this.#registry.apply([], [next])
  }

  #adopt(folder: string, adoption: Adoption): Promise<IndexState> {
    return this.#open.use([folder], () => this.#indexing.adopt(folder, adoption), 'write')
  }

  async #export(operation: ExportOperation, allowed: AllowedNetworks): Promise<JsonObject | 'aborted'> {
    const giveUp = new AbortController()
    this.#giveUpExport = () => giveUp.abort()
    const egress = createEgressPolicy({ allowed })
    const target = openExportTarget({ ...operation, egress, clock: this.#clock, signal: giveUp.signal })
    try {
      return await exportEngine(
        operation,
        {
          indexes: this.#registry.list(),
          settings: ({ uid }) => this.#answers.settings(uid),
          page: ({ uid }, ...page) => this.#answers.dumpPage(uid, ...page),
        },
        target,
      )
    } catch (error) {
      if (giveUp.signal.aborted) return 'aborted'
      throw error
    } finally {
      this.#giveUpExport = () => {}
      await target.close()
    }
  }

  async #dump(record: TaskRecord, folder: string): Promise<string> {
    const now = this.#clock.now()
    const name = dumpUid(record.startedAt ?? now)
    await dumpEngine(join(folder, `${name}.dump`), {
      store: this.store,
      indexes: this.#registry.list(),
      taskUids: this.#tasks.matching({}).toArray(),
      task: (uid) => this.#tasks.get(uid),
      payload: (task) => this.#payloadBytes(task),
      batchUids: this.#tasks.batchUids(),
      batch: (uid) => this.#tasks.batch(uid),
      settings: ({ uid }) => this.#answers.settings(uid),
      page: ({ uid }, from) => this.#answers.dumpPage(uid, from, dumpPageBytes),
      own: { uid: record.uid, dumpUid: name },
      now,
    })
    return name
  }

  #scheduleSnapshot(): void {
    if (this.#tasks.ofKind(taskKindOf.snapshot).intersects(this.#tasks.waiting)) return
    const request = {
      uid: null,
      operation: { kind: 'snapshot' },
      customMetadata: null,
      allowIndexCreation: false,
    } as const
    // A disk that is full now may have room at the next time.
    this.enqueue(request).catch(() => undefined)
  }

  #snapshot(folder: string): Promise<void> {
    return writeEngineSnapshot(join(folder, `${basename(resolve(this.#dbPath))}.snapshot`), {
      indexes: this.#registry.list().map((entry) => entry.folder),
      payloadFolder: join(this.#dbPath, 'payloads'),
      copyTasks: (target) => this.#meta.root.backup(target, true),
      copyIndex: (name, target) => this.#open.copy(this.#registry.folderOf({ folder: name }), target),
    })
  }

  async #removeIndex(entry: RegistryEntry): Promise<void> {
    const folder = this.#registry.folderOf(entry)
    await this.#open.forget(folder)
    this.#registry.removeFolder(entry)
    this.#open.drop(folder)
  }

  async #forgetInWorkers(folder: string): Promise<void> {
    await Promise.all([this.#reads.forget(folder), this.#indexing.forget(folder)])
  }

  #abortRunning(selected: readonly number[]): void {
    const wanted = new Set(selected)
    for (const { track, tasks, isAlone } of this.#scheduler.running) {
      if (!tasks.some((uid) => wanted.has(uid))) continue
      this.#indexing.on(track).abort()
      if (isAlone) this.#giveUpExport()
    }
  }

  #cleanTasks(): void {
    if (this.#tasks.size < tasksMax || !this.#tasks.ofKind('taskDeletion').and(this.#tasks.waiting).isEmpty()) return
    const oldest = this.#tasks
      .matching({ statuses: ['succeeded', 'failed', 'canceled'] })
      .toArray()
      .slice(0, tasksCleaned)
    if (oldest.length === 0) return
    void this.enqueue({
      uid: null,
      operation: { kind: 'task-delete', filter: { uids: oldest }, originalFilter: '' },
      customMetadata: null,
      allowIndexCreation: false,
    }).catch(() => {})
  }

  #usedFiles(): ReadonlySet<string> {
    const used = new Set<string>()
    for (const uid of this.#tasks.waiting) {
      const payload = this.#tasks.get(uid)?.payload
      if (payload?.kind === 'file') used.add(payload.name)
    }
    return used
  }
}

function viewOfIndex({ uid, createdAt, updatedAt, primaryKey }: RegistryEntry): IndexView {
  return { uid, createdAt: renderTime(createdAt), updatedAt: renderTime(updatedAt), primaryKey }
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
