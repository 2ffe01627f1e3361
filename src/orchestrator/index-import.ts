/**
 * Brings settings and documents into a new index as changes of its journal, so that whatever is built from the journal later
 * holds them: what clones are made of. Every change is a task that clients see; its `customMetadata` names the
 * import and how far it is.
 *
 * Twice: safe. The marks on the tasks tell whoever continues what is there; a change that was appended and not seen comes
 * again at most, and puts the same documents.
 *
 * Memory: one batch. The journal is at most `openMax` batches ahead of the nodes.
 */
import type { ErrorBody } from '../api/errors.ts'
import type { TaskView } from '../api/tasks.ts'
import type { Operation, Payload } from '../journal/change.ts'
import type { Journal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import { bytesOf } from '../replication/ndjson.ts'
import type { ProjectId, Spread } from '../store/catalogue.ts'
import { WorkFailure } from './work-failure.ts'

export interface ImportedIndex {
  /** Names the import, such as a UUID: the same for whoever continues it. */
  readonly id: string
  readonly project: ProjectId
  /** A name that no index has. */
  readonly uid: string
  readonly primaryKey: string | null
  /** As a client would send them, with secrets in clear. */
  readonly settings: JsonObject
  readonly spread: Spread | null
}

export interface ImportDeps {
  readonly journal: Pick<Journal, 'append' | 'stage' | 'discard' | 'task' | 'tasks'>
  readonly clock: Clock
}

export interface IndexImport {
  /** Documents that were appended before it was continued: the first of those that are put next stands behind them. */
  readonly documents: number
  /** Appends documents in batches. @param texts  JSON objects, each id once. @param onBatch  told how many there are. */
  put(texts: AsyncIterable<string>, onBatch?: (documents: number) => void): Promise<void>
  /** Appends one change. @param payload  as its operation has it; null = none. */
  append(operation: Operation, payload: AsyncIterable<Uint8Array> | null): Promise<void>
  /** Waits until the nodes hold all of it. */
  settled(): Promise<void>
}

/** A batch closes when it has this many characters. */
const batchLength = 4 * 1024 * 1024
/** Changes that are appended and not done. */
const openMax = 16
const pollMs = 50
const retryMs = 500
/** Tasks that are looked through for the mark of the last batch. */
const markPageCount = 100

/**
 * Creates the index with its settings, or finds what is there of the import.
 *
 * @throws WorkFailure when the name is taken, or the settings are refused. So do the methods, when a change of theirs fails.
 */
export async function openImport(deps: ImportDeps, index: ImportedIndex, signal: AbortSignal): Promise<IndexImport> {
  const { journal } = deps
  const appender = new Appender(deps, index, signal)
  const reached = await reachedBefore(journal, index)
  let documents = typeof reached === 'number' ? reached : 0
  if (reached === undefined) {
    await appender.append({ kind: 'index-create', primaryKey: index.primaryKey }, null, 'created')
    await appender.settled()
  }
  if (typeof reached !== 'number') {
    if (Object.keys(index.settings).length > 0) {
      await appender.append({ kind: 'settings', settings: index.settings }, null, 'settings')
      await appender.settled()
    }
  }
  const put = async (texts: readonly string[]) => {
    documents += texts.length
    const { primaryKey } = index
    const counts = { received: texts.length, distinct: texts.length }
    const operation = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey, ...counts } as const
    await appender.append(operation, bytesOf(texts), documents)
  }
  return {
    documents,
    async put(texts, onBatch) {
      let batch: string[] = []
      let length = 0
      const close = async () => {
        if (batch.length > 0) await put(batch)
        batch = []
        length = 0
        onBatch?.(documents)
      }
      for await (const text of texts) {
        batch.push(text)
        length += text.length
        if (length >= batchLength) await close()
      }
      await close()
    },
    append: (operation, payload) => appender.append(operation, payload, documents),
    settled: () => appender.settled(),
  }
}

/** Documents when the mark was made, or which of the first changes it stands on. */
type Reached = number | 'created' | 'settings'

const markOf = ({ id }: ImportedIndex, reached: Reached): string => `flapjack import ${id} ${reached}`

/** `undefined` = nothing is there. */
async function reachedBefore(journal: ImportDeps['journal'], index: ImportedIndex): Promise<Reached | undefined> {
  const start = markOf(index, 0).slice(0, -1)
  for (let from: number | undefined; ; ) {
    const filter = { indexUids: [index.uid] }
    const page = await journal.tasks(index.project, {
      ...{ filter, limit: markPageCount, reverse: false },
      ...(from === undefined ? {} : { from }),
    })
    for (const { customMetadata, status } of page.results) {
      if (customMetadata?.startsWith(start) !== true || status === 'failed' || status === 'canceled') continue
      const reached = customMetadata.slice(start.length)
      return reached === 'created' || reached === 'settings' ? reached : Number(reached)
    }
    if (page.next === null) return undefined
    from = page.next
  }
}

class Appender {
  readonly #deps: ImportDeps
  readonly #index: ImportedIndex
  readonly #signal: AbortSignal
  /** Tasks that may not have ended, oldest first. */
  readonly #open: number[] = []

  constructor(deps: ImportDeps, index: ImportedIndex, signal: AbortSignal) {
    this.#deps = deps
    this.#index = index
    this.#signal = signal
  }

  async append(operation: Operation, bytes: AsyncIterable<Uint8Array> | null, reached: Reached): Promise<void> {
    while (this.#open.length >= openMax) await this.#oldestEnded()
    const { journal, clock } = this.#deps
    const payload = bytes === null ? null : await journal.stage(bytes)
    try {
      for (;;) {
        const task = await this.#tryAppend(operation, payload, reached)
        if (task !== undefined) return void this.#open.push(task)
        await clock.sleep(retryMs, this.#signal)
      }
    } catch (error) {
      if (payload !== null) await journal.discard(payload).catch(() => undefined)
      throw error
    }
  }

  /** The task; `undefined` = nothing was appended, and may be later. */
  async #tryAppend(operation: Operation, payload: Payload | null, reached: Reached): Promise<number | undefined> {
    const { project, uid, spread } = this.#index
    const outcome = await this.#deps.journal.append({
      ...{ project, uid, operation, payload, spread },
      customMetadata: markOf(this.#index, reached),
      mayCreateIndex: operation.kind === 'index-create',
      refusal: null,
    })
    return outcome.kind === 'appended' ? outcome.task : undefined
  }

  async settled(): Promise<void> {
    while (this.#open.length > 0) await this.#oldestEnded()
  }

  async #oldestEnded(): Promise<void> {
    const { journal, clock } = this.#deps
    const [oldest] = this.#open
    if (oldest === undefined) return
    for (;;) {
      const task = await journal.task(this.#index.project, oldest)
      const isOpen = task?.status === 'enqueued' || task?.status === 'processing'
      if (!isOpen) {
        this.#open.shift()
        // One that was deleted from the list had ended.
        if (task !== undefined && task.status !== 'succeeded') throw failureOf(this.#index, task)
        return
      }
      await clock.sleep(pollMs, this.#signal)
    }
  }
}

function failureOf({ uid }: ImportedIndex, { uid: task, status, error }: TaskView): WorkFailure {
  const reason: ErrorBody['message'] = error?.message ?? `it was ${status}`
  return new WorkFailure(`Task ${task} of index \`${uid}\`: ${reason}`)
}
