/** One request to a node with the answer held in memory: for answers that must be read, never for the fast path. */
import type { Dispatcher } from 'undici'
import type { Clock } from '../lib/clock.ts'
import { mayRepeatRead, toFailure, type UpstreamFailure } from './failure.ts'
import type { NodeConnection } from './node-pools.ts'
import { pauseBefore } from './retry.ts'

export interface NodeRequest {
  readonly method: Dispatcher.HttpMethod
  /** With query string. */
  readonly path: string
  /** Without authorization, which the connection adds. */
  readonly headers: Record<string, string>
  readonly body: Uint8Array | string | null
}

export interface NodeReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export type AskOutcome = { readonly kind: 'answered'; readonly reply: NodeReply } | UpstreamFailure

export interface AskOptions {
  readonly signal: AbortSignal
  readonly answerBytesMax: number
}

/** Sends once. */
export async function askOnce(
  connection: NodeConnection,
  request: NodeRequest,
  { signal, answerBytesMax }: AskOptions,
): Promise<AskOutcome> {
  try {
    const { authorization, dispatcher } = connection
    const answer = await dispatcher.request({
      method: request.method,
      path: request.path,
      headers: authorization === undefined ? request.headers : { ...request.headers, authorization },
      body: request.body,
      signal,
    })
    const chunks: Buffer[] = []
    let byteCount = 0
    for await (const chunk of answer.body) {
      byteCount += chunk.length
      if (byteCount > answerBytesMax) {
        answer.body.destroy()
        return { kind: 'bad-answer', reason: `an answer of more than ${answerBytesMax} bytes` }
      }
      chunks.push(chunk)
    }
    connection.answered()
    return {
      kind: 'answered',
      reply: { status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks, byteCount) },
    }
  } catch (error) {
    const failure = signal.aborted ? ({ kind: 'aborted', reason: String(signal.reason) } as const) : toFailure(error)
    if (failure.kind !== 'aborted') connection.failed(failure.reason)
    return failure
  }
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
