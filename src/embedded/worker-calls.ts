/** Calls to one worker thread, answered by number. A worker that dies fails its open calls and is started again. */
import type { Worker } from 'node:worker_threads'
import { openReply, type Reply } from './worker-messages.ts'

interface OpenCall<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

export class WorkerCalls<T> {
  readonly #start: () => Worker
  #worker: Worker | undefined
  readonly #open = new Map<number, OpenCall<T>>()
  #nextCall = 0
  #isClosed = false

  constructor(start: () => Worker) {
    this.#start = start
  }

  /** Calls that wait for an answer. */
  get openCount(): number {
    return this.#open.size
  }

  get isStarted(): boolean {
    return this.#worker !== undefined
  }

  call(messageOf: (call: number) => object): Promise<T> {
    const call = this.#nextCall
    this.#nextCall += 1
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(new Error('the engine is closing'))
        return
      }
      this.#open.set(call, { resolve, reject })
      this.#running().postMessage(messageOf(call))
    })
  }

  /** Starts the thread ahead of the first call. */
  start(): void {
    if (!this.#isClosed) this.#running()
  }

  /** Ends the thread, and with it the memory that it holds, unless a call is open; the next call starts another. */
  rest(): void {
    if (this.#open.size > 0) return
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#worker?.terminate()
  }

  #running(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = this.#start()
    worker.on('message', (reply: Reply<T>) => {
      const open = this.#open.get(reply.call)
      this.#open.delete(reply.call)
      if (open === undefined) return
      try {
        open.resolve(openReply(reply))
      } catch (error) {
        open.reject(error)
      }
    })
    const end = (error: unknown) => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      const calls = [...this.#open.values()]
      this.#open.clear()
      for (const { reject } of calls) reject(error)
    }
    worker.on('error', end)
    worker.on('exit', (code) => end(new Error(`a worker of the engine ended with ${code}`)))
    this.#worker = worker
    return worker
  }
}
