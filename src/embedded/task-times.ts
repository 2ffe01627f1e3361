/** When tasks were enqueued, started and finished, in memory: filters by time look at every task (M-C6). */

export type TaskTime = 'enqueuedAt' | 'startedAt' | 'finishedAt'

export type TaskTimesOf = Readonly<Record<TaskTime, number | null>>

interface Block {
  readonly times: Record<TaskTime, Float64Array>
  taskCount: number
}

/** Tasks of neighbouring numbers share a block, which goes with the last of them. */
const blockSize = 4096

export class TaskTimes {
  readonly #blocks = new Map<number, Block>()

  set(uid: number, times: TaskTimesOf): void {
    const at = uid % blockSize
    const block = this.#block(uid)
    if (Number.isNaN(block.times.enqueuedAt[at]!)) block.taskCount += 1
    block.times.enqueuedAt[at] = times.enqueuedAt ?? Number.NEGATIVE_INFINITY
    block.times.startedAt[at] = times.startedAt ?? Number.NaN
    block.times.finishedAt[at] = times.finishedAt ?? Number.NaN
  }

  delete(uid: number): void {
    const number = Math.floor(uid / blockSize)
    const block = this.#blocks.get(number)
    const at = uid % blockSize
    if (block === undefined || Number.isNaN(block.times.enqueuedAt[at]!)) return
    block.taskCount -= 1
    if (block.taskCount === 0) this.#blocks.delete(number)
    else block.times.enqueuedAt[at] = Number.NaN
  }

  /** NaN, which compares as false with every bound, for a task without the time. */
  get(uid: number, time: TaskTime): number {
    return this.#blocks.get(Math.floor(uid / blockSize))?.times[time][uid % blockSize] ?? Number.NaN
  }

  #block(uid: number): Block {
    const number = Math.floor(uid / blockSize)
    let block = this.#blocks.get(number)
    if (block === undefined) {
      const empty = () => new Float64Array(blockSize).fill(Number.NaN)
      block = { times: { enqueuedAt: empty(), startedAt: empty(), finishedAt: empty() }, taskCount: 0 }
      this.#blocks.set(number, block)
    }
    return block
  }
}
