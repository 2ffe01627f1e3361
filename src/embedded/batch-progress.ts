/**
 * How far the running batch is (`progress` of M-C9), in the words of the reference: the indexing thread notes a few numbers
 * in memory that it shares with the main thread, which makes steps of them when somebody asks.
 */
import type { taskKindOf } from '../api/tasks.ts'
import type { JsonObject } from '../lib/json.ts'
import type { BatchRecord } from './batch-record.ts'

type TaskType = (typeof taskKindOf)[keyof typeof taskKindOf]

export type IndexingStep = 'config' | 'payload' | 'documents' | 'embeddings' | 'words' | 'finalizing'
const indexingSteps: readonly IndexingStep[] = ['config', 'payload', 'documents', 'embeddings', 'words', 'finalizing']

export interface IndexingPlace {
  readonly step: IndexingStep
  readonly payloads: number
  readonly documents: number
  /** 0 = as many as the batch's tasks say. */
  readonly total: number
}

/** The step, payloads and documents that are done, documents altogether. Read and written alone: a view may mix two moments. */
export class SharedProgress {
  readonly buffer: SharedArrayBuffer
  readonly #numbers: Int32Array

  constructor(buffer = new SharedArrayBuffer(16)) {
    this.buffer = buffer
    this.#numbers = new Int32Array(buffer)
  }

  /** A batch begins, or something that goes through `documentCount` documents; 0 = as many as the tasks say. */
  begin(step: IndexingStep, documentCount = 0): void {
    this.#numbers.set([indexingSteps.indexOf(step), 0, 0, documentCount])
  }

  enter(step: IndexingStep): void {
    this.#numbers[0] = indexingSteps.indexOf(step)
  }

  /** Another one is done. */
  advance(step: 'payload' | 'documents', count = 1): void {
    this.enter(step)
    this.#numbers[step === 'payload' ? 1 : 2]! += count
  }

  get place(): IndexingPlace {
    const [step, payloads, documents, total] = this.#numbers
    return { step: indexingSteps[step!]!, payloads: payloads!, documents: documents!, total: total! }
  }
}

interface Step {
  readonly currentStep: string
  readonly finished: number
  readonly total: number
}

const step = (currentStep: string, finished: number, total: number): Step => ({ currentStep, finished, total })

const documentSteps = ['retrieving config', 'computing document changes', 'reading payload stats', 'indexing']
const editSteps = ['retrieving config', 'computing document changes', 'indexing']
const deletionSteps = ['retrieving config', 'delete documents', 'indexing']
const settingsSteps = ['retrieving and merging the settings', 'apply the settings']
const insideSteps: Partial<Record<TaskType, readonly string[]>> = {
  documentAdditionOrUpdate: documentSteps,
  documentEdition: editSteps,
  documentDeletion: deletionSteps,
  settingsUpdate: settingsSteps,
}

/** Where a batch that is not inside an index is: its longest step. */
const outsideSteps: Partial<Record<TaskType, Step>> = {
  indexCreation: step('creating the index', 0, 1),
  indexUpdate: step('updating the index', 0, 1),
  indexDeletion: step('deleting the index', 0, 1),
  indexSwap: step('swapping the indexes', 1, 2),
  indexCompaction: step('copy and compact the index', 2, 6),
  taskCancelation: step('updating tasks', 3, 4),
  taskDeletion: step('deleting tasks', 6, 8),
  snapshotCreation: step('snapshot the indexes', 3, 6),
  dumpCreation: step('dump the indexes', 5, 10),
  export: step('exporting the documents', 2, 3),
}

/** Steps of the reference's indexer; not all of them are steps of ours. */
const indexerSteps = 24

/** @param place  of the indexing thread; null = the batch's results are being stored. */
export function progressOf(batch: BatchRecord, place: IndexingPlace | null): JsonObject {
  if (place === null)
    return viewOf([step('writing tasks to disk', 1, 2), step('task', 0, Math.max(1, batch.tasks.length))])
  const first = step('processing tasks', 0, 2)
  const types = Object.keys(batch.types) as TaskType[]
  const outside = types.flatMap((type) => outsideSteps[type] ?? [])[0]
  if (outside !== undefined) return viewOf([first, outside])
  const names = types.flatMap((type) => [insideSteps[type] ?? []]).sort((left, right) => right.length - left.length)[0]
  if (names === undefined || names.length === 0) return viewOf([first])
  return viewOf([first, ...inside(batch, names, place)])
}

function inside(
  batch: BatchRecord,
  names: readonly string[],
  { step: at, payloads, documents, total }: IndexingPlace,
): Step[] {
  const part = (place: number) => step(names[place]!, place, names.length)
  const last = part(names.length - 1)
  switch (at) {
    case 'config':
      return [part(0)]
    case 'payload':
      return [
        part(1),
        step('preparing payloads', 0, indexerSteps),
        step('payload', Math.min(payloads, batch.tasks.length), batch.tasks.length),
      ]
    case 'documents': {
      const count = Math.max(total === 0 ? documentCount(batch) : total, documents)
      return [last, step('extracting documents', 3, indexerSteps), step('document', documents, count)]
    }
    case 'embeddings':
      return [last, step('extracting embeddings', 7, indexerSteps)]
    case 'words':
      return [last, step('merging word caches', 9, indexerSteps)]
    case 'finalizing':
      return [last, step('finalizing', 23, indexerSteps)]
  }
}

function documentCount({ details }: BatchRecord): number {
  const [received, ids] = [details.receivedDocuments, details.providedIds]
  return (typeof received === 'number' ? received : 0) + (typeof ids === 'number' ? ids : 0)
}

/** Each step's part of the one before it. Reckoned with 32 bits, as in the reference. */
function viewOf(steps: readonly Step[]): JsonObject {
  let percentage = 0
  let factor = 1
  for (const { finished, total } of steps) {
    factor = Math.fround(factor * total)
    percentage = Math.fround(percentage + Math.fround(finished / factor))
  }
  return { steps: steps.map((each) => ({ ...each })), percentage: shortest(Math.fround(percentage * 100)) }
}

/** The number that is written with the fewest digits, of those that 32 bits hold as `value`. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits += 1) {
    const rounded = Number(value.toPrecision(digits))
    if (Math.fround(rounded) === value) return rounded
  }
  return value
}
