/**
 * The threads that write indexes: one for whatever comes, and a quick one for small batches, so that a small change of one
 * index does not wait while a large batch of another runs. An index has one batch at a time, on either of them.
 */
import type { IndexState } from './index-batch.ts'
import { IndexingThread } from './indexing-thread.ts'
import type { Adoption, CompactionSizes, SentTask, SizedOutcome, WorkerSettings } from './worker-messages.ts'

/** Which thread a batch runs on. */
export type Track = 'main' | 'quick'
export const tracks: readonly Track[] = ['main', 'quick']

export class IndexingThreads {
  readonly #threads: Readonly<Record<Track, IndexingThread>>
  /** Who wrote to an index last keeps its checksums up to date. */
  readonly #lastWriters = new Map<string, Track>()

  constructor(settings: WorkerSettings) {
    this.#threads = { main: new IndexingThread(settings), quick: new IndexingThread(settings) }
  }

  on(track: Track): Pick<IndexingThread, 'place' | 'begin' | 'abort'> {
    return this.#threads[track]
  }

  async run(track: Track, folder: string, tasks: readonly SentTask[]): Promise<SizedOutcome | 'aborted'> {
    return this.#writer(track, folder).run(folder, tasks)
  }

  compact(folder: string, target: string): Promise<CompactionSizes> {
    return this.#threads.main.compact(folder, target)
  }

  adopt(folder: string, adoption: Adoption): Promise<IndexState> {
    return this.#writer('main', folder).adopt(folder, adoption)
  }

  async forget(folder: string): Promise<void> {
    this.#lastWriters.delete(folder)
    await Promise.all(tracks.map((track) => this.#threads[track].forget(folder)))
  }

  /** All batches that run are given up. */
  abort(): void {
    for (const track of tracks) this.#threads[track].abort()
  }

  /** Ends the threads until the next call. */
  rest(): void {
    for (const track of tracks) this.#threads[track].rest()
  }

  async close(): Promise<void> {
    await Promise.all(tracks.map((track) => this.#threads[track].close()))
  }

  #writer(track: Track, folder: string): IndexingThread {
    const last = this.#lastWriters.get(folder)
    // Not waited for: it may be busy with a long batch. What it would still sum meanwhile is true of the state it sums.
    if (last !== undefined && last !== track) void this.#threads[last].handOver(folder).catch(() => undefined)
    this.#lastWriters.set(folder, track)
    return this.#threads[track]
  }
}
