/** Worker thread: makes vectors for the indexing worker, which waits for them inside its transaction. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../lib/assert.ts'
import { systemClock } from '../../lib/clock.ts'
import { type AllowedNetworks, createEgressPolicy } from '../../lib/egress-policy.ts'
import type { Json } from '../../lib/json.ts'
import { systemRandom } from '../../lib/random.ts'
import { type Fault, toEmbedError } from './embed-error.ts'
import type { HttpSource } from './embedder-config.ts'
import { createEmbeddingClient } from './embedding-client.ts'

export interface EmbeddingWorkerData {
  readonly port: MessagePort
  /** One number, which rises when an answer is ready. */
  readonly signal: SharedArrayBuffer
  readonly allowedNetworks: AllowedNetworks
}

export type EmbeddingMessage =
  | {
      readonly kind: 'embed'
      readonly call: number
      readonly source: HttpSource
      readonly inputs: readonly Json[]
      readonly dimensions: number | null
    }
  | { readonly kind: 'cancel' }

export type EmbeddingReply =
  /** The numbers of all vectors, one after another. */
  | {
      readonly call: number
      readonly kind: 'done'
      readonly lengths: readonly number[]
      readonly numbers: Float32Array
    }
  | {
      readonly call: number
      readonly kind: 'failed'
      readonly fault: Fault
      readonly what: string
      readonly status: number | null
    }

assert(parentPort !== null, 'the embedding worker runs as a worker thread')
const { port, signal, allowedNetworks } = workerData as EmbeddingWorkerData
const ready = new Int32Array(signal)
const client = createEmbeddingClient({
  egress: createEgressPolicy({ allowed: allowedNetworks }),
  clock: systemClock,
  random: systemRandom,
})
let running = new AbortController()

async function answer(message: Extract<EmbeddingMessage, { kind: 'embed' }>): Promise<EmbeddingReply> {
  const { call, source, inputs, dimensions } = message
  try {
    const vectors = await client.embed(source, inputs, { signal: running.signal, deadlineMs: null, dimensions })
    const numbers = new Float32Array(vectors.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const vector of vectors) {
      numbers.set(vector, at)
      at += vector.length
    }
    return { call, kind: 'done', lengths: vectors.map(({ length }) => length), numbers }
  } catch (error) {
    const { fault, what, status } = toEmbedError(error)
    return { call, kind: 'failed', fault, what, status }
  }
}

port.on('message', (message: EmbeddingMessage) => {
  if (message.kind === 'cancel') {
    running.abort(new Error('given up'))
    running = new AbortController()
    return
  }
  void answer(message).then((reply) => {
    port.postMessage(reply, reply.kind === 'done' ? [reply.numbers.buffer as ArrayBuffer] : [])
    Atomics.add(ready, 0, 1)
    Atomics.notify(ready, 0)
  })
})
