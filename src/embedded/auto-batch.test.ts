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
  assert.deepEqual(batchOf(puts, undefined, limits).uids, [0])
  assert.deepEqual(batchOf([puts[0]!, puts[2]!], { primaryKey: 'id' }, limits).uids, [0, 2])
})

test('while an index does not exist, only tasks with the same right to create it run together', () => {
  const tasks = [task('add', 0), task('add', 1, { allowIndexCreation: false })]
  assert.deepEqual(batchOf(tasks, undefined, limits).uids, [0])
  assert.deepEqual(batchOf(tasks, { primaryKey: null }, limits).uids, [0, 1])
})

test('a batch keeps to its bounds, but always holds one task', () => {
  const many = Array.from({ length: 9 }, (_, uid) => task('add', uid, { payloadBytes: 100 }))
  assert.equal(batchOf(many, undefined, { tasksMax: 4, payloadBytesMax: 10_000 }).uids.length, 4)
  assert.equal(batchOf(many, undefined, { tasksMax: 100, payloadBytesMax: 350 }).uids.length, 3)
  assert.equal(batchOf(many, undefined, { tasksMax: 100, payloadBytesMax: 1 }).uids.length, 1)
})
