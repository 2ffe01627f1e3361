/**
 * Vectors for code that cannot wait in an event loop: a batch is one synchronous transaction. The requests are made by a
 * thread of their own, and this thread sleeps until the answer is there.
 */

import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads'
import type { AllowedNetworks } from '../../lib/egress-policy.ts'
import type { Json } from '../../lib/json.ts'
import { startWorker } from '../../lib/worker-entry.ts'
import { EmbedError } from './embed-error.ts'
import type { HttpSource } from './embedder-config.ts'
import type { EmbeddingMessage, EmbeddingReply, EmbeddingWorkerData } from './embedding-worker.ts'

/** Embeds in the thread that asks; blocks it. */
export interface BlockingEmbedding {
  /**
   * One vector per input, in order.
   *
   * @throws EmbedError, and what `checkAborted` throws.
   */
  embed(
    source: HttpSource,
    inputs: readonly Json[],
    options: { readonly dimensions: number | null; readonly checkAborted: () => void },
  ): readonly Float32Array[]
}

/** How often a waiting thread looks whether its batch was given up. */
const lookMs = 50
/** A thread that died does not answer: longer than a request with all its pauses may take. */
const answerMsMax = 15 * 60_000

interface Running {
  readonly worker: Worker
  readonly port: MessagePort
  readonly ready: Int32Array
}

/** Starts its thread when it is first asked, and keeps it. */
export class EmbeddingThread implements BlockingEmbedding {
  readonly #allowedNetworks: AllowedNetworks
  #running: Running | undefined
  #nextCall = 0

  constructor({ allowedNetworks }: { readonly allowedNetworks: AllowedNetworks }) {
    this.#allowedNetworks = allowedNetworks
  }

  embed(
    source: HttpSource,
    inputs: readonly Json[],
    { dimensions, checkAborted }: { readonly dimensions: number | null; readonly checkAborted: () => void },
  ): readonly Float32Array[] {
    const { port, ready } = this.#start()
    const call = this.#nextCall
    this.#nextCall += 1
    port.postMessage({ kind: 'embed', call, source, inputs, dimensions } satisfies EmbeddingMessage)
    const end = Date.now() + answerMsMax
    for (;;) {
      const seen = Atomics.load(ready, 0)
      const received = receiveMessageOnPort(port) as { readonly message: EmbeddingReply } | undefined
      if (received?.message.call === call) return vectorsOf(received.message)
      // An answer to a call that was given up.
      if (received !== undefined) continue
      try {
        checkAborted()
        if (Date.now() > end) throw new EmbedError('runtime error', 'no answer from the thread that embeds')
      } catch (error) {
        port.postMessage({ kind: 'cancel' } satisfies EmbeddingMessage)
        throw error
      }
      Atomics.wait(ready, 0, seen, lookMs)
    }
  }

  #start(): Running {
    if (this.#running !== undefined) return this.#running
    const signal = new SharedArrayBuffer(4)
    const { port1, port2 } = new MessageChannel()
    const workerData: EmbeddingWorkerData = {
      port: port2,
      signal,
      allowedNetworks: this.#allowedNetworks,
    }
    const worker = startWorker(import.meta.url, 'embedding-worker', {
      workerData,
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 8 },
    })
    const running = { worker, port: port1, ready: new Int32Array(signal) }
    const forget = () => {
      if (this.#running === running) this.#running = undefined
    }
    worker.on('error', forget)
    worker.on('exit', forget)
    // Neither keeps the thread alive that owns them.
    worker.unref()
    port1.unref()
    this.#running = running
    return running
  }
}

function vectorsOf(reply: EmbeddingReply): readonly Float32Array[] {
  if (reply.kind === 'failed') throw new EmbedError(reply.fault, reply.what, reply.status)
  let at = 0
  return reply.lengths.map((length) => {
    const vector = reply.numbers.subarray(at, at + length)
    at += length
    return vector
  })
}
