/** What leaves the engine as a whole: dumps, its snapshot, and exports to other servers. */
import { basename, join, resolve } from 'node:path'
import type { Clock } from '../lib/clock.ts'
import { type AllowedNetworks, createEgressPolicy } from '../lib/egress-policy.ts'
import type { JsonObject } from '../lib/json.ts'
import type { EngineStore } from './core.ts'
import { dumpUid } from './dump/dump-writer.ts'
import { dumpEngine } from './dump/engine-dump.ts'
import { type ExportOperation, exportEngine } from './export/engine-export.ts'
import { openExportTarget } from './export/export-target.ts'
import type { IndexAnswers } from './index-answers.ts'
import type { IndexRegistry } from './index-registry.ts'
import type { MetaEnv } from './meta-env.ts'
import type { OpenIndexes } from './open-indexes.ts'
import { writeEngineSnapshot } from './snapshot/engine-snapshot.ts'
import type { TaskRecord } from './task-record.ts'
import type { TaskStore } from './task-store.ts'

/** Documents that a dump reads at once. */
const dumpPageBytes = 4 * 2 ** 20

export interface EngineArchivesDeps {
  readonly dbPath: string
  /** Defaults: `dumps` and `snapshots` in the engine's folder. */
  readonly dumpFolder?: string
  readonly snapshotFolder?: string
  readonly allowedNetworks: AllowedNetworks
  readonly clock: Clock
  readonly store: EngineStore
  readonly meta: MetaEnv
  readonly registry: IndexRegistry
  readonly tasks: TaskStore
  readonly payload: (record: TaskRecord) => AsyncIterable<Uint8Array> | undefined
  readonly answers: IndexAnswers
  readonly open: OpenIndexes
}

/** Each method is called by the batch of its task, while no other runs. */
export class EngineArchives {
  readonly #deps: EngineArchivesDeps
  #giveUp = () => {}

  constructor(deps: EngineArchivesDeps) {
    this.#deps = deps
  }

  /** Answers its name. */
  async dump(record: TaskRecord): Promise<string> {
    const { dbPath, dumpFolder = join(dbPath, 'dumps'), clock, store, registry, tasks, payload, answers } = this.#deps
    const now = clock.now()
    const name = dumpUid(record.startedAt ?? now)
    await dumpEngine(join(dumpFolder, `${name}.dump`), {
      store,
      indexes: registry.list(),
      taskUids: tasks.matching({}).toArray(),
      task: (uid) => tasks.get(uid),
      payload,
      batchUids: tasks.batchUids(),
      batch: (uid) => tasks.batch(uid),
      settings: ({ uid }) => answers.settings(uid),
      page: ({ uid }, from) => answers.dumpPage(uid, from, dumpPageBytes),
      own: { uid: record.uid, dumpUid: name },
      now,
    })
    return name
  }

  /** Answers the details of its task. */
  async export(operation: ExportOperation): Promise<JsonObject | 'aborted'> {
    const { allowedNetworks: allowed, clock, registry, answers } = this.#deps
    const giveUp = new AbortController()
    this.#giveUp = () => giveUp.abort()
    const egress = createEgressPolicy({ allowed })
    const target = openExportTarget({ ...operation, egress, clock, signal: giveUp.signal })
    try {
      return await exportEngine(
        operation,
        {
          indexes: registry.list(),
          settings: ({ uid }) => answers.settings(uid),
          page: ({ uid }, ...page) => answers.dumpPage(uid, ...page),
        },
        target,
      )
    } catch (error) {
      if (giveUp.signal.aborted) return 'aborted'
      throw error
    } finally {
      this.#giveUp = () => {}
      await target.close()
    }
  }

  /** The export that runs, if any, ends. */
  giveUpExport(): void {
    this.#giveUp()
  }

  snapshot(): Promise<void> {
    const { dbPath, snapshotFolder = join(dbPath, 'snapshots'), registry, meta, open } = this.#deps
    return writeEngineSnapshot(join(snapshotFolder, `${basename(resolve(dbPath))}.snapshot`), {
      indexes: registry.list().map((entry) => entry.folder),
      payloadFolder: join(dbPath, 'payloads'),
      copyTasks: (target) => meta.root.backup(target, true),
      copyIndex: (name, target) => open.copy(registry.folderOf({ folder: name }), target),
    })
  }
}
