/** One request to a provider's API: with a deadline, a bound on the answer, and failures without secrets. */
import { type Dispatcher, request } from 'undici'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { DriverFailed } from './node-driver.ts'

export interface ProviderCall {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  readonly url: string
  readonly token: string | null
  readonly body?: JsonObject
  /** Default JSON. */
  readonly type?: string
  readonly dispatcher?: Dispatcher
  /** Texts that no message may show, besides the token. */
  readonly secrets?: readonly string[]
  readonly signal: AbortSignal
}

export interface ProviderAnswer {
  readonly status: number
  /** `{}` when it was empty or no object. */
  readonly body: JsonObject
  /** Of a refusal, in the provider's words, without secrets. */
  readonly message: string
}

const answerMsMax = 30_000
const answerBytesMax = 32 * 1024 * 1024

/** Any status is an answer. @throws DriverFailed when there is none. */
export async function callProvider(call: ProviderCall): Promise<ProviderAnswer> {
  const { method, url, token, body, type = 'application/json', dispatcher, signal } = call
  const mask = masking([token ?? '', ...(call.secrets ?? [])])
  try {
    const answer = await request(url, {
      method,
      headers: {
        accept: 'application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(dispatcher === undefined ? {} : { dispatcher }),
      headersTimeout: answerMsMax,
      bodyTimeout: answerMsMax,
      signal,
    })
    const text = await readText(answer.body)
    const parsed = parse(text)
    return { status: answer.statusCode, body: parsed, message: mask(messageOf(parsed) ?? text.slice(0, 500)) }
  } catch (error) {
    if (error instanceof DriverFailed) throw error
    throw new DriverFailed(mask(`${new URL(url).host} did not answer: ${reasonOf(error)}`))
  }
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let byteCount = 0
  for await (const chunk of body) {
    byteCount += chunk.byteLength
    if (byteCount > answerBytesMax) throw new DriverFailed('the answer of the provider is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Replaces secrets of four characters or more. */
function masking(secrets: readonly string[]): (text: string) => string {
  const known = secrets.filter((secret) => secret.length >= 4)
  return (text) => known.reduce((masked, secret) => masked.replaceAll(secret, '…'), text)
}

function parse(text: string): JsonObject {
  try {
    const value = JSON.parse(text) as Json
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

/** `{"error": {"code", "message"}}` of clouds, `{"reason", "message"}` of Kubernetes. */
function messageOf({ error, message, reason }: JsonObject): string | undefined {
  if (isObject(error) && typeof error.message === 'string') return `${error.message} (${String(error.code)})`
  if (typeof message !== 'string') return undefined
  return typeof reason === 'string' ? `${message} (${reason})` : message
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || ('code' in error ? String(error.code) : error.name)
}

/** The object at a key, `{}` where there is none. */
export function objectAt(value: JsonObject, key: string): JsonObject {
  const found = value[key]
  return isObject(found) ? found : {}
}

export function listAt(value: JsonObject, key: string): readonly JsonObject[] {
  const found = value[key]
  return Array.isArray(found) ? found.filter(isObject) : []
}

export function textAt(value: JsonObject, key: string): string | null {
  const found = value[key]
  return typeof found === 'string' && found !== '' ? found : null
}
