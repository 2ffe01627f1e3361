import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOf, type WaitingTask } from './auto-batch.ts'
import type { EngineOperation } from './core.ts'

const limits = { tasksMax: 1000, payloadBytesMax: 1_000_000 }
const names = {
  add: 'documents-put',
  delete: 'documents-delete',
  filter: 'documents-delete-by-filter',
  clear: 'documents-clear',
  edit: 'documents-edit',
  settings: 'settings',
  create: 'index-create',
  update: 'index-update',
  swap: 'index-swap',
  drop: 'index-delete',
} satisfies Record<string, EngineOperation['kind']>
type Name = keyof typeof names

const task = (name: Name, uid: number, more: Partial<WaitingTask> = {}): WaitingTask => ({
  uid,
  indexUid: 'books',
  kind: names[name],
  allowIndexCreation: true,
  primaryKey: null,
  payloadBytes: 10,
  ...more,
})

const batched = (line: string): string =>
  batchOf(
    line.split(' ').map((name, uid) => task(name as Name, uid)),
    { primaryKey: 'id' },
    limits,
    99,
  )
    .uids.map((uid) => line.split(' ')[uid])
    .join(' ')

test('tasks of one index run together as far as M-C8 lets them', () => {
  const table: Record<string, string> = {
    'add add delete add': 'add add delete add',
    'delete delete filter': 'delete delete filter',
    'filter add add': 'filter add add',
    'add filter': 'add',
    'add filter add': 'add',
    'add add clear': 'add add clear',
    'add clear clear delete': 'add clear clear delete',
    'add clear add': 'add clear',
    'add clear settings': 'add clear',
    'clear add': 'clear',
    'clear filter': 'clear filter',
    'settings settings settings': 'settings settings settings',
    'settings clear settings delete': 'settings clear settings delete',
    'settings clear add': 'settings clear',
    'settings add': 'settings',
    'settings delete': 'settings',
    'add settings': 'add',
    'add settings drop': 'add',
    'add delete drop add': 'add delete drop',
    'settings settings drop': 'settings settings drop',
    'clear drop settings': 'clear drop',
    'drop drop': 'drop',
    'create add': 'create',
    'add create': 'add',
    'update update': 'update',
    'swap add': 'swap',
    'edit edit': 'edit',
    'add edit': 'add',
  }
  for (const [line, expected] of Object.entries(table)) assert.equal(batched(line), expected, line)
})

test('a put with another primary key waits for the next batch', () => {
  const puts = [task('add', 0, { primaryKey: 'id' }), task('add', 1, { primaryKey: 'key' }), task('add', 2)]
  assert.deepEqual(batchOf(puts, undefined, limits, 99).uids, [0])
  assert.deepEqual(batchOf([puts[0]!, puts[2]!], { primaryKey: 'id' }, limits, 99).uids, [0, 2])
})

test('while an index does not exist, no task that may create it stands behind one that may not', () => {
  const tasks = [task('add', 0, { allowIndexCreation: false }), task('add', 1)]
  assert.deepEqual(batchOf(tasks, undefined, limits, 99).uids, [0])
  assert.deepEqual(batchOf(tasks, { primaryKey: null }, limits, 99).uids, [0, 1])
})

test('a batch keeps to its bounds, but always holds one task', () => {
  const many = Array.from({ length: 9 }, (_, uid) => task('add', uid, { payloadBytes: 100 }))
  assert.equal(batchOf(many, undefined, { tasksMax: 4, payloadBytesMax: 10_000 }, 99).uids.length, 4)
  assert.equal(batchOf(many, undefined, { tasksMax: 100, payloadBytesMax: 350 }, 99).uids.length, 3)
  assert.equal(batchOf(many, undefined, { tasksMax: 100, payloadBytesMax: 1 }, 99).uids.length, 1)
})

// The words are those of Meilisearch 1.50.
test('a batch says why it ends where it does', () => {
  const strategyOf = (tasks: readonly WaitingTask[], primaryKey: string | null = 'id') =>
    batchOf(tasks, { primaryKey }, limits, 3).strategy
  assert.equal(strategyOf([task('add', 0)]), 'batched all enqueued tasks for index `books`')
  assert.equal(strategyOf([task('add', 0), task('add', 1), task('add', 2)]), 'batched all enqueued tasks')
  const begin = 'stopped before task with id 1 because it is a'
  assert.equal(
    strategyOf([task('add', 0), task('settings', 1)]),
    `${begin} settings change which cannot be batched with document operations`,
  )
  assert.equal(
    strategyOf([task('settings', 0), task('add', 1)]),
    `${begin} document operation which cannot be batched with settings changes`,
  )
  assert.equal(
    strategyOf([task('add', 0), task('filter', 1)]),
    `${begin} deletion by filter which cannot be batched with document operations`,
  )
  assert.equal(
    strategyOf([task('add', 0), task('drop', 1)]),
    'stopped after task with id 1 because it deletes the index',
  )
  const keyed = (uid: number, primaryKey: string) => task('add', uid, { primaryKey })
  assert.equal(
    strategyOf([keyed(0, 'title'), task('add', 1)]),
    'stopped batching before task with id 0 because its primary key `title` is different from the primary key of the index `id`',
  )
  assert.equal(
    strategyOf([keyed(0, 'id'), keyed(1, 'title')], null),
    'stopped batching before task with id 1 because its primary key `title` is different from the primary key of the batch `id`',
  )
})
