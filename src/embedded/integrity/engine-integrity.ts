/** What an engine knows of its files while they are open: who looks after them, and what came of it. */
import { basename } from 'node:path'
import { renderTime } from '../../api/task-view.ts'
import type { Clock } from '../../lib/clock.ts'
import type { DamagedFile, EngineOptions, IntegrityReport } from '../core.ts'
import type { RegistryEntry } from '../meta-env.ts'
import type { Damage, IndexChecks } from './index-checks.ts'
import { Scrub } from './scrub.ts'
import { TasksCheck } from './tasks-check.ts'

const scrubEveryMs = 600_000
/** A fraction of a per cent of one core. */
const scrubBytesPerSecond = 4 * 2 ** 20

export interface EngineIntegrityOptions
  extends Pick<EngineOptions, 'scrubEveryMs' | 'scrubBytesPerSecond' | 'onDamage'> {
  readonly clock: Clock
  readonly tasksFolder: string
  /** All of them, with the folder's whole path. */
  readonly indexes: () => readonly (RegistryEntry & { readonly path: string })[]
  readonly checks: Pick<IndexChecks, 'scrub' | 'checkedBytes' | 'damaged'>
}

export class EngineIntegrity {
  readonly #options: EngineIntegrityOptions
  readonly #scrub: Scrub
  readonly #tasks: TasksCheck

  constructor(options: EngineIntegrityOptions) {
    const { clock, tasksFolder, checks } = options
    this.#options = options
    this.#tasks = new TasksCheck(tasksFolder)
    this.#scrub = new Scrub({
      clock,
      everyMs: options.scrubEveryMs ?? scrubEveryMs,
      bytesPerSecond: options.scrubBytesPerSecond ?? scrubBytesPerSecond,
      folders: () => [tasksFolder, ...this.foldersByUse()],
      check: (folder, pause) => (folder === tasksFolder ? this.#checkTasks(pause) : checks.scrub(folder, pause)),
    })
  }

  start(): void {
    this.#scrub.start()
  }

  close(): Promise<void> {
    return this.#scrub.close()
  }

  /** See `TasksCheck`. */
  whileTasksAreReplaced<T>(work: () => Promise<T>): Promise<T> {
    return this.#tasks.alone(work)
  }

  /** Of an index. */
  tell(damage: Damage): void {
    this.#options.onDamage?.(this.#indexView(damage))
  }

  report(): IntegrityReport {
    const { checkedBytes, damaged } = this.#options.checks
    const { lastPassAt } = this.#scrub
    return {
      checkedBytes,
      lastPassAt: lastPassAt === null ? null : renderTime(lastPassAt),
      damaged: [...this.#tasksView(), ...damaged.map((damage) => this.#indexView(damage))],
    }
  }

  /** Indexes that were written to last come first. */
  foldersByUse(): readonly string[] {
    return [...this.#options.indexes()].sort((left, right) => right.updatedAt - left.updatedAt).map(({ path }) => path)
  }

  async #checkTasks(pause: (byteCount: number) => Promise<void>): Promise<void> {
    if (!(await this.#tasks.run(this.#options.clock.now(), pause))) return
    for (const view of this.#tasksView()) this.#options.onDamage?.(view)
  }

  #tasksView(): readonly DamagedFile[] {
    const { damage } = this.#tasks
    return damage === undefined ? [] : [{ indexUid: null, ...damage, foundAt: renderTime(damage.foundAt) }]
  }

  #indexView({ folder, error, foundAt }: Damage): DamagedFile {
    const entry = this.#options.indexes().find((each) => each.folder === basename(folder))
    return { indexUid: entry?.uid ?? '', message: error.message, foundAt: renderTime(foundAt) }
  }
}
