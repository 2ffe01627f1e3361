import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bitmap } from '../lib/bitmap.ts'
import { nextTask } from './turn.ts'

/** Waiting tasks as `index` or `kind:index,index`, numbered from 0. */
function waiting(line: string) {
  const tasks = line.split(' ').map((text) => {
    const [left = '', right] = text.split(':')
    return right === undefined
      ? { kind: 'documentAdditionOrUpdate', indexes: [left] }
      : { kind: left, indexes: right.split(',') }
  })
  const where = (test: (task: (typeof tasks)[number]) => boolean) =>
    Bitmap.from(tasks.flatMap((task, uid) => (test(task) ? [uid] : [])))
  return {
    waiting: where(() => true),
    ofIndex: (uid: string) => where(({ indexes }) => indexes.includes(uid)),
    ofKind: (wanted: string) => where(({ kind }) => kind === wanted),
  }
}

test('a change of another index goes before what the last one still has queued', () => {
  assert.equal(nextTask(waiting('big big small big'), 'big'), 2)
  assert.equal(nextTask(waiting('big big small big'), 'small'), 0)
  assert.equal(nextTask(waiting('big big small big'), null), 0)
  assert.equal(nextTask(waiting('big big'), 'big'), 0)
})

test('what runs already keeps its own index busy and no other', () => {
  assert.equal(nextTask(waiting('big small other'), 'big', ['big']), 1)
  assert.equal(nextTask(waiting('big small other'), null, ['big', 'small']), 2)
  assert.equal(nextTask(waiting('big big'), null, ['big']), undefined)
})

test('a swap, a renaming or a change of rules waits for what runs, and what came later waits for it', () => {
  assert.equal(nextTask(waiting('indexSwap:big,small other'), null, ['big']), undefined)
  assert.equal(nextTask(waiting('indexSwap:big,small other'), null, ['third']), undefined)
  assert.equal(nextTask(waiting('other indexSwap:big,small other'), null, ['big']), 0)
})

// A name may mean another index behind them.
test('nothing overtakes a swap, a renaming or a change of rules, and they overtake nothing', () => {
  assert.equal(nextTask(waiting('big indexSwap:big,small small'), 'big'), 0)
  assert.equal(nextTask(waiting('indexSwap:big,small small'), 'big'), 0)
  assert.equal(nextTask(waiting('big indexUpdate:big other'), 'big'), 0)
  assert.equal(nextTask(waiting('big dsrUpdate: small'), 'big'), 0)
  assert.equal(nextTask(waiting('big other indexSwap:big,small'), 'big'), 1)
})
