/** Which waiting tasks run together (M-C5, M-C8). Pure. */
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
 */
export function batchOf(
  tasks: Iterable<WaitingTask>,
  index: { readonly primaryKey: string | null } | undefined,
  limits: BatchLimits,
): Batch {
  const uids: number[] = []
  let shape: Shape = 'alone'
  let first: WaitingTask | undefined
  let primaryKey: string | null | undefined
  let byteCount = 0
  for (const task of tasks) {
    byteCount += task.payloadBytes
    if (first === undefined) {
      first = task
      shape = firstShapes[task.kind]
      uids.push(task.uid)
      if (shape === 'alone')
        return {
          uids,
          strategy: `created batch containing only task with id ${task.uid} of type \`${task.kind}\` that cannot be batched with any other task.`,
        }
    } else {
      const joined: Shape | undefined = joins[task.kind][shape]
      if (joined === undefined)
        return {
          uids,
          strategy: `stopped before task with id ${task.uid} because its type cannot be batched with ${shape}.`,
        }
      if (index === undefined && task.allowIndexCreation !== first.allowIndexCreation)
        return {
          uids,
          strategy: `stopped before task with id ${task.uid} because the right to create the index differs.`,
        }
      const asked = task.primaryKey === index?.primaryKey ? null : task.primaryKey
      if (task.kind === 'documents-put' && primaryKey !== undefined && primaryKey !== asked)
        return { uids, strategy: `stopped before task with id ${task.uid} because its primary key differs.` }
      if (uids.length >= limits.tasksMax)
        return { uids, strategy: `batched up to configured batch limit of ${limits.tasksMax} tasks` }
      if (byteCount > limits.payloadBytesMax)
        return { uids, strategy: `batched up to configured batch size of ${limits.payloadBytesMax} bytes` }
      shape = joined
      uids.push(task.uid)
    }
    if (task.kind === 'documents-put' && primaryKey === undefined)
      primaryKey = task.primaryKey === index?.primaryKey ? null : task.primaryKey
    if (shape === 'index-delete')
      return {
        uids,
        strategy:
          'stopped after the last task of type `indexDeletion` because they cannot be batched with tasks of any other type.',
      }
  }
  return {
    uids,
    strategy:
      first?.indexUid == null
        ? 'batched all enqueued tasks'
        : `batched all enqueued tasks for index \`${first.indexUid}\``,
  }
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
