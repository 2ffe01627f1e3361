/** The engine of one database folder: see `core.ts` for what it offers. */

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { RenderQuery } from '../api/render-query.ts'
import { renderTime } from '../api/task-view.ts'
import type { SummarizedTask, TaskPageQuery, TaskView } from '../api/tasks.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { collectGarbage } from '../lib/heap.ts'
import type { JsonObject } from '../lib/json.ts'
import { AcceptedTasks, filesInUse } from './accepted-tasks.ts'
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
import { engineLoader } from './dump/engine-loader.ts'
import { EngineArchives } from './engine-archives.ts'
import { beginLoading, endLoading, isToLoad } from './engine-loading.ts'
import { storeOf } from './engine-store.ts'
import { lockFolder } from './folder-lock.ts'
import { IndexAnswers } from './index-answers.ts'
import type { IndexState } from './index-batch.ts'
import { IndexRegistry } from './index-registry.ts'
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
import { importEngineSnapshot } from './snapshot/engine-snapshot.ts'
import { IndexSnapshots } from './snapshot/index-snapshots.ts'
import { sync } from './snapshot/snapshot-folder.ts'
import { isEnded } from './task-record.ts'
import { TaskStore } from './task-store.ts'
import type { Adoption, CompactionSizes, WorkerSettings } from './worker-messages.ts'

const defaults = {
  indexingBytesMax: 256 * 2 ** 20,
  cacheBytesMax: 32 * 2 ** 20,
  vectorBytesMax: 192 * 2 ** 20,
  batchTasksMax: 1000,
  searchQueueMax: 1000,
}
/** Quiet time after which an index is closed and memory given back. */
const restMs = 60_000
/** A thread costs more to start than a shorter rest would give back. */
const threadRestMs = 10_000
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
  readonly #accepted: AcceptedTasks
  readonly #archives: EngineArchives
  #snapshotTimer: NodeJS.Timeout | undefined

  constructor(dbPath: string, options: EngineOptions, clock: Clock, unlock: () => void) {
    this.#dbPath = dbPath
    this.#clock = clock
    this.#unlock = unlock
    this.#meta = openMetaEnv(join(dbPath, 'tasks'))
    this.#tasks = new TaskStore(this.#meta)
    this.#registry = new IndexRegistry(join(dbPath, 'indexes'), this.#meta)
    this.#payloads = new PayloadFiles(join(dbPath, 'payloads'), filesInUse(this.#tasks))
    this.store = storeOf(this.#meta)
    this.rules = new RuleBook(this.store)
    this.#accepted = new AcceptedTasks({
      store: this.#tasks,
      payloads: this.#payloads,
      clock,
      onAccepted: ({ operation, selected }) => {
        if (operation.kind === 'task-cancel') this.#abortRunning(selected ?? [])
        this.#scheduler.wake()
      },
    })
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
    this.#archives = new EngineArchives({
      ...options,
      allowedNetworks: settings.allowedNetworks,
      dbPath,
      clock,
      store: this.store,
      meta: this.#meta,
      registry: this.#registry,
      tasks: this.#tasks,
      payload: (record) => this.#accepted.payload(record),
      answers: this.#answers,
      open: this.#open,
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
      payloadOf: (record) => this.#accepted.sentPayload(record),
      documentCount: (folder) => this.#answers.documentCount(folder),
      dump: (record) => this.#archives.dump(record),
      rules: this.rules,
      export: (operation) => this.#archives.export(operation),
      snapshot: () => this.#archives.snapshot(),
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
    this.#snapshotTimer = setInterval(() => this.#accepted.enqueueSnapshot(), snapshotEveryMs)
    this.#snapshotTimer.unref()
  }

  /** Fills an engine that was not started. */
  loader(): EngineLoader {
    return engineLoader({
      folder: this.#dbPath,
      store: this.store,
      registry: this.#registry,
      tasks: this.#tasks,
      payloads: this.#payloads,
      open: this.#open,
      indexing: this.#indexing,
      adopt: (folder, adoption) => this.#adopt(folder, adoption),
    })
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

  enqueue(request: EnqueueRequest): Promise<SummarizedTask> {
    return this.#accepted.enqueue(request)
  }

  task(uid: number): TaskView | undefined {
    return this.#accepted.get(uid)
  }

  tasks(query: TaskPageQuery): Page<TaskView> {
    return this.#accepted.page(query)
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
    return record?.operation.kind === 'documents-put' ? this.#accepted.payload(record) : undefined
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
    this.#archives.giveUpExport()
    clearInterval(this.#snapshotTimer)
    await Promise.all([this.#scheduler.close(), this.#integrity.close()])
    await this.snapshots.close()
    await this.#accepted.settled()
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

  #adopt(folder: string, adoption: Adoption): Promise<IndexState> {
    return this.#open.use([folder], () => this.#indexing.adopt(folder, adoption), 'write')
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
      if (isAlone) this.#archives.giveUpExport()
    }
  }
}

function viewOfIndex({ uid, createdAt, updatedAt, primaryKey }: RegistryEntry): IndexView {
  return { uid, createdAt: renderTime(createdAt), updatedAt: renderTime(updatedAt), primaryKey }
}
