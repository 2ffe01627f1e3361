/** Which waiting tasks run together (M-C5, M-C8). Pure. */
import { taskKindOf } from '../api/tasks.ts'
import type { EngineOperation } from './core.ts'

export interface WaitingTask {
  readonly uid: number
  readonly indexUid: string | null
  readonly kind: EngineOperation['kind']
  readonly allowIndexCreation: boolean
  /** The `primaryKey` argument of a document put. */
  readonly primaryKey: string | null
  readonly payloadBytes: number
}

export interface BatchLimits {
  readonly tasksMax: number
  readonly payloadBytesMax: number
}

export interface Batch {
  readonly uids: readonly number[]
  /** Why the batch ends where it does: a text for people. */
  readonly strategy: string
}

/** What a batch of one index has become so far. */
type Shape =
  | 'documents'
  | 'deletions'
  | 'clear'
  | 'settings'
  | 'clear-settings'
  | 'index-delete'
  | 'rules'
  | 'rules-clear'
  | 'alone'

/** How a kind joins each shape; undefined = it does not, and the batch ends before it. */
const joins: Record<EngineOperation['kind'], Partial<Record<Shape, Shape>>> = {
  'documents-put': { documents: 'documents', deletions: 'documents' },
  'documents-delete': {
    documents: 'documents',
    deletions: 'deletions',
    clear: 'clear',
    'clear-settings': 'clear-settings',
  },
  'documents-delete-by-filter': { deletions: 'deletions', clear: 'clear', 'clear-settings': 'clear-settings' },
  'documents-clear': {
    documents: 'clear',
    deletions: 'clear',
    clear: 'clear',
    settings: 'clear-settings',
    'clear-settings': 'clear-settings',
  },
  settings: { settings: 'settings', 'clear-settings': 'clear-settings' },
  'index-delete': {
    documents: 'index-delete',
    deletions: 'index-delete',
    clear: 'index-delete',
    settings: 'index-delete',
    'clear-settings': 'index-delete',
  },
  'documents-edit': {},
  'index-create': {},
  'index-update': {},
  'index-compact': {},
  'index-swap': {},
  'task-cancel': {},
  'task-delete': {},
  dump: {},
  snapshot: {},
  export: {},
  'rule-put': { rules: 'rules' },
  'rule-delete': { rules: 'rules' },
  'rules-clear': { rules: 'rules-clear', 'rules-clear': 'rules-clear' },
}

const firstShapes: Record<EngineOperation['kind'], Shape> = {
  'documents-put': 'documents',
  'documents-delete': 'deletions',
  'documents-delete-by-filter': 'deletions',
  'documents-clear': 'clear',
  settings: 'settings',
  'index-delete': 'index-delete',
  'documents-edit': 'alone',
  'index-create': 'alone',
  'index-update': 'alone',
  'index-compact': 'alone',
  'index-swap': 'alone',
  'task-cancel': 'alone',
  'task-delete': 'alone',
  dump: 'alone',
  snapshot: 'alone',
  export: 'alone',
  'rule-put': 'rules',
  'rule-delete': 'rules',
  'rules-clear': 'rules-clear',
}

/**
 * The batch that begins with the first of `tasks`.
 *
 * @param tasks  waiting tasks of one index in the order in which they came, at least one.
 * @param index  undefined while the index does not exist.
 * @param waitingCount  all waiting tasks, of whatever index.
 */
export function batchOf(
  tasks: Iterable<WaitingTask>,
  index: { readonly primaryKey: string | null } | undefined,
  limits: BatchLimits,
  waitingCount: number,
): Batch {
  const uids: number[] = []
  let shape: Shape = 'alone'
  let first: WaitingTask | undefined
  /** Of the documents so far: undefined = there are none yet, null = it is to be guessed. */
  let primaryKey: string | null | undefined
  let byteCount = 0
  for (const task of tasks) {
    byteCount += task.payloadBytes
    if (first === undefined) {
      first = task
      shape = firstShapes[task.kind]
      uids.push(task.uid)
      if (shape === 'alone') return { uids, strategy: isAlone(task) }
    } else {
      const joined: Shape | undefined = joins[task.kind][shape]
      if (joined === undefined) return { uids, strategy: doesNotJoin(task, shape) }
      if (index === undefined && createsUnlike(task, first))
        return {
          uids,
          strategy: `stopped batching before task with id ${task.uid} because its index creation rules differ from the ones from the batch`,
        }
      const mistake = otherKey(task, index?.primaryKey ?? null, primaryKey)
      if (mistake !== undefined) return { uids, strategy: mistake }
      if (uids.length >= limits.tasksMax)
        return { uids, strategy: `batched up to configured batch limit of ${limits.tasksMax} tasks` }
      if (byteCount > limits.payloadBytesMax)
        return {
          uids,
          strategy: `batched up to configured batch size limit of ${limits.payloadBytesMax}B with a total of ${byteCount}B`,
        }
      shape = joined
      uids.push(task.uid)
    }
    if (shape === 'index-delete')
      return { uids, strategy: `stopped after task with id ${task.uid} because it deletes the index` }
    if (task.kind !== 'documents-put') continue
    // A batch of one that fails.
    const mistake = uids.length === 1 ? otherKey(task, index?.primaryKey ?? null, undefined) : undefined
    if (mistake !== undefined) return { uids, strategy: mistake }
    primaryKey = task.primaryKey ?? primaryKey ?? null
  }
  return {
    uids,
    strategy:
      first?.indexUid == null || uids.length === waitingCount
        ? 'batched all enqueued tasks'
        : `batched all enqueued tasks for index \`${first.indexUid}\``,
  }
}

/** Only what may create an index is not put behind what may not. */
function createsUnlike(task: WaitingTask, first: WaitingTask): boolean {
  const creates = ({ kind, allowIndexCreation }: WaitingTask) =>
    allowIndexCreation && (kind === 'documents-put' || kind === 'settings')
  return creates(task) && !creates(first)
}

/** Why the task's primary key ends the batch; undefined = it does not. */
function otherKey(
  { uid, kind, primaryKey: own }: WaitingTask,
  ofIndex: string | null,
  ofBatch: string | null | undefined,
): string | undefined {
  if (kind !== 'documents-put' || own === null) return undefined
  const begin = `stopped batching before task with id ${uid} because`
  if (ofIndex !== null)
    return own === ofIndex
      ? undefined
      : `${begin} its primary key \`${own}\` is different from the primary key of the index \`${ofIndex}\``
  if (ofBatch === undefined || own === ofBatch) return undefined
  return ofBatch === null
    ? `${begin} it is setting the \`${own}\` primary key and it would interfere with primary key guessing of the batch`
    : `${begin} its primary key \`${own}\` is different from the primary key of the batch \`${ofBatch}\``
}

const isAlone = ({ uid, kind }: WaitingTask): string =>
  `created batch containing only task with id ${uid} of type \`${taskKindOf[kind]}\` that cannot be batched with any other task.`

/** Tasks of the kind run together, and with no others. */
export const isOfKind = (kind: EngineOperation['kind']): string =>
  `stopped after the last task of type \`${taskKindOf[kind]}\` because they cannot be batched with tasks of any other type.`

function doesNotJoin(task: WaitingTask, shape: Shape): string {
  const { uid, kind } = task
  const begin = `stopped before task with id ${uid} because it is`
  if (shape === 'rules') return isOfKind('rule-put')
  if (shape === 'rules-clear') return isOfKind('rules-clear')
  if (firstShapes[kind] === 'alone') return isAlone(task)
  const isSettings = shape === 'settings' || shape === 'clear-settings'
  if (firstShapes[kind] === 'rules' || kind === 'rules-clear')
    return `${begin} a dynamic search rule update or clear, which cannot be batched with ${isSettings ? 'settings changes' : 'document operations'}`
  if (isSettings) return `${begin} a document operation which cannot be batched with settings changes`
  if (kind === 'documents-delete-by-filter')
    return `${begin} a deletion by filter which cannot be batched with document operations`
  return `${begin} a settings change which cannot be batched with document operations`
}

/** Kinds that go before the tasks of indexes, in this order, and whether all of a kind run together. */
export const globalKinds: readonly {
  readonly kind: EngineOperation['kind']
  readonly take: 'newest' | 'all' | 'oldest'
}[] = [
  { kind: 'task-cancel', take: 'newest' },
  { kind: 'task-delete', take: 'all' },
  { kind: 'index-compact', take: 'oldest' },
  { kind: 'export', take: 'oldest' },
  { kind: 'snapshot', take: 'all' },
  { kind: 'dump', take: 'oldest' },
]
