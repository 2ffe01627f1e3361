/** One request to a node with the answer held in memory: for answers that must be read, never for the fast path. */
import type { Clock } from '../lib/clock.ts'
import type { Json } from '../lib/json.ts'
import type { AnswerReceiver, NodeRequest } from './connection-pool.ts'
import { mayRepeatRead, type UpstreamFailure } from './failure.ts'
import type { NodeConnection } from './node-pools.ts'
import { pauseBefore } from './retry.ts'

export interface NodeReply {
  readonly status: number
  readonly body: Buffer
}

export type AskOutcome = { readonly kind: 'answered'; readonly reply: NodeReply } | UpstreamFailure

export interface AskOptions {
  readonly signal: AbortSignal
  readonly answerBytesMax: number
}

/** A request with a JSON body. */
export function jsonRequest(
  method: NodeRequest['method'],
  path: string,
  body: Json,
  headers: readonly string[] = [],
): NodeRequest {
  return {
    method,
    path,
    headers: ['content-type', 'application/json', ...headers],
    body: Buffer.from(JSON.stringify(body)),
  }
}

/** Sends once. */
export function askOnce(
  connection: NodeConnection,
  request: NodeRequest,
  { signal, answerBytesMax }: AskOptions,
): Promise<AskOutcome> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve({ kind: 'aborted', reason: String(signal.reason) })
    const pieces: Buffer[] = []
    let byteCount = 0
    let status = 0
    let isTooLarge = false
    const onAbort = () => pending.abort(String(signal.reason))
    const end = (outcome: AskOutcome) => {
      signal.removeEventListener('abort', onAbort)
      resolve(outcome)
    }
    const receiver: AnswerReceiver = {
      onHead(sent) {
        status = sent
      },
      onData(piece) {
        pieces.push(piece)
        byteCount += piece.length
        if (byteCount <= answerBytesMax) return true
        isTooLarge = true
        pending.abort('the answer is too large')
        return false
      },
      onEnd: () => end({ kind: 'answered', reply: { status, body: Buffer.concat(pieces, byteCount) } }),
      onFailure: (failure) =>
        end(isTooLarge ? { kind: 'bad-answer', reason: `an answer of more than ${answerBytesMax} bytes` } : failure),
    }
    const pending = connection.send(request, receiver)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Sends a read, again and again for a short time while the node cannot be reached.
 * @param connect  asked before each attempt, since a node that starts again may have a new address.
 */
export async function askRead(
  connect: () => NodeConnection,
  request: NodeRequest,
  options: AskOptions & { readonly clock: Pick<Clock, 'sleep' | 'monotonic'> },
): Promise<AskOutcome> {
  const { clock, signal } = options
  const startedAt = clock.monotonic()
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await askOnce(connect(), request, options)
    if (outcome.kind === 'answered' || !mayRepeatRead(outcome)) return outcome
    const pauseMs = pauseBefore(attempt, clock.monotonic() - startedAt)
    if (pauseMs === undefined) return outcome
    try {
      await clock.sleep(pauseMs, signal)
    } catch {
      return { kind: 'aborted', reason: String(signal.reason) }
    }
  }
}
