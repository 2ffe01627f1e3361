/** One call of an engine's API beside documents and searches: JSON there and back. */
import { request } from 'undici'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

const answerMsMax = 10_000

/** An answer that is no JSON object counts as an empty one. @throws when it is no JSON, or does not come within 10 seconds. */
export type EngineCall = (
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  signal: AbortSignal,
  sent?: Json,
) => Promise<{ readonly status: number; readonly answer: JsonObject }>

export interface EnginePlace {
  readonly url: string
  /** null = the engine runs without a master key. */
  readonly key: string | null
}

export function engineCall({ url, key }: EnginePlace): EngineCall {
  const base = url.replace(/\/$/, '')
  return async (method, path, signal, sent) => {
    const { statusCode, body } = await request(`${base}${path}`, {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
      headersTimeout: answerMsMax,
      bodyTimeout: answerMsMax,
      signal,
    })
    const text = await body.text()
    const answer: Json = text === '' ? null : JSON.parse(text)
    return { status: statusCode, answer: isObject(answer) ? answer : {} }
  }
}
