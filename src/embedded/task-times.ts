/** When tasks were enqueued, started and finished, and in which batch: filters look at every task (M-C6), so in memory. */

export type TaskTime = 'enqueuedAt' | 'startedAt' | 'finishedAt'
type Column = TaskTime | 'batchUid'

export type TaskTimesOf = Readonly<Record<Column, number | null>>

const columns: readonly Column[] = ['enqueuedAt', 'startedAt', 'finishedAt', 'batchUid']

interface Block {
  readonly times: Record<Column, Float64Array>
  taskCount: number
  /** Differs from what was saved. */
  isChanged: boolean
}

/** Tasks of neighbouring numbers share a block, which goes with the last of them. */
const blockSize = 4096

export class TaskTimes {
  readonly #blocks = new Map<number, Block>()

  set(uid: number, times: TaskTimesOf): void {
    const at = uid % blockSize
    const block = this.#block(uid)
    block.isChanged = true
    if (Number.isNaN(block.times.enqueuedAt[at]!)) block.taskCount += 1
    block.times.enqueuedAt[at] = times.enqueuedAt ?? Number.NEGATIVE_INFINITY
    block.times.startedAt[at] = times.startedAt ?? Number.NaN
    block.times.finishedAt[at] = times.finishedAt ?? Number.NaN
    block.times.batchUid[at] = times.batchUid ?? Number.NaN
  }

  delete(uid: number): void {
    const number = Math.floor(uid / blockSize)
    const block = this.#blocks.get(number)
    const at = uid % blockSize
    if (block === undefined || Number.isNaN(block.times.enqueuedAt[at]!)) return
    block.taskCount -= 1
    block.isChanged = true
    block.times.enqueuedAt[at] = Number.NaN
  }

  /** NaN, which compares as false with every bound, for a task without the time. */
  get(uid: number, time: Column): number {
    return this.#blocks.get(Math.floor(uid / blockSize))?.times[time][uid % blockSize] ?? Number.NaN
  }

  /** Blocks that changed since they were saved, by number; null = no task is left in it. They count as saved from now on. */
  *changed(): Iterable<readonly [number, Uint8Array | null]> {
    for (const [number, block] of [...this.#blocks]) {
      if (!block.isChanged) continue
      block.isChanged = false
      if (block.taskCount === 0) this.#blocks.delete(number)
      yield [number, block.taskCount === 0 ? null : bytesOf(block)]
    }
  }

  load(number: number, bytes: Uint8Array): void {
    const values = new Float64Array(columns.length * blockSize)
    new Uint8Array(values.buffer).set(bytes)
    const column = (place: number) => values.slice(place * blockSize, (place + 1) * blockSize)
    const times = { enqueuedAt: column(0), startedAt: column(1), finishedAt: column(2), batchUid: column(3) }
    const taskCount = times.enqueuedAt.reduce((count, time) => (Number.isNaN(time) ? count : count + 1), 0)
    this.#blocks.set(number, { times, taskCount, isChanged: false })
  }

  #block(uid: number): Block {
    const number = Math.floor(uid / blockSize)
    let block = this.#blocks.get(number)
    if (block === undefined) {
      const empty = () => new Float64Array(blockSize).fill(Number.NaN)
      const times = { enqueuedAt: empty(), startedAt: empty(), finishedAt: empty(), batchUid: empty() }
      block = { times, taskCount: 0, isChanged: true }
      this.#blocks.set(number, block)
    }
    return block
  }
}

function bytesOf({ times }: Block): Uint8Array {
  const values = new Float64Array(columns.length * blockSize)
  for (const [place, column] of columns.entries()) values.set(times[column], place * blockSize)
  return new Uint8Array(values.buffer)
}
