/**
 * Texts to vectors over HTTP. Requests are repeated with growing pauses as Meilisearch repeats them; the pauses together
 * are bounded, since other indexes wait while one is embedded. Where requests may go is the egress policy's affair.
 */
import type { Agent } from 'undici'
import { extract, InjectionFault, inject, notNumbers, placeholders } from '../../api/injected-value.ts'
import type { Clock } from '../../lib/clock.ts'
import type { EgressPolicy } from '../../lib/egress-policy.ts'
import type { Json } from '../../lib/json.ts'
import type { Random } from '../../lib/random.ts'
import { EmbedError, refusedBy } from './embed-error.ts'
import type { HttpSource } from './embedder-config.ts'

export interface EmbeddingClientDeps {
  readonly egress: EgressPolicy
  readonly clock: Clock
  readonly random: Random
}

export interface EmbeddingOptions {
  readonly signal: AbortSignal
  /** Monotonic time after which nothing is tried again; null = only the bounds of this file hold. */
  readonly deadlineMs: number | null
  /** Every vector must have this many numbers; null = they may have any. */
  readonly dimensions: number | null
}

export interface EmbeddingClient {
  /**
   * One vector per input, in order. Inputs are texts, or rendered fragments. Large lists are cut into requests.
   *
   * @throws EmbedError
   */
  embed(source: HttpSource, inputs: readonly Json[], options: EmbeddingOptions): Promise<readonly Float32Array[]>
  close(): Promise<void>
}

/** Inputs of one request, where it takes several. */
export const inputsPerRequest = 10
/** Requests that one call has open at once. */
export const requestsAtOnce = 40
const attemptsMax = 10
const pauseMsMax = 60_000
/** All pauses of one request together. */
const pausesMsMax = 60_000
const requestMsMax = 30_000
/** A text of so many bytes has at most so many tokens, which is the most that OpenAI's models take. */
const openAiBytesMax = 8191
const answerBytesMax = 64 * 2 ** 20
/** Of an error's answer, which is told to the client. */
const replyCharactersMax = 10_000

export const takesSeveral = ({ request: template }: HttpSource): boolean => template.kind === 'array'

export function createEmbeddingClient({ egress, clock, random }: EmbeddingClientDeps): EmbeddingClient {
  // Loaded with the first request: it takes as long as all else that a search thread needs to start.
  let agent: Agent | undefined
  const connect = async () => {
    const { Agent, request } = await import('undici')
    agent ??= new Agent({ connect: { lookup: egress.lookup }, keepAliveTimeout: 10_000 })
    return { request, dispatcher: agent }
  }

  async function embedOnce(source: HttpSource, inputs: readonly Json[], options: EmbeddingOptions): Promise<Outcome> {
    const left = options.deadlineMs === null ? requestMsMax : options.deadlineMs - clock.monotonic()
    const signal = AbortSignal.any([
      options.signal,
      AbortSignal.timeout(Math.max(1, Math.ceil(Math.min(left, requestMsMax)))),
    ])
    try {
      const { request, dispatcher } = await connect()
      const answer = await request(source.url, {
        method: 'POST',
        headers: {
          ...(source.apiKey === null ? {} : { authorization: `Bearer ${source.apiKey}` }),
          'content-type': 'application/json',
          ...source.headers,
        },
        body: JSON.stringify(inject(source.request, inputs)),
        dispatcher,
        signal,
      })
      const body = await readText(answer.body)
      if (answer.statusCode < 200 || answer.statusCode > 299)
        return { kind: 'failed', ...refusedBy(answer.statusCode, body.slice(0, replyCharactersMax), source.origin) }
      return vectorsIn(source, body, inputs.length, options.dimensions)
    } catch (error) {
      options.signal.throwIfAborted()
      if (error instanceof EmbedError) return { kind: 'failed', next: 'give-up', error }
      return { kind: 'failed', next: isRefused(error) ? 'give-up' : 'retry', error: unreachable(error) }
    }
  }

  async function embedBatch(
    source: HttpSource,
    inputs: readonly Json[],
    options: EmbeddingOptions,
  ): Promise<readonly Float32Array[]> {
    const fault = URL.canParse(source.url) ? egress.fault(new URL(source.url)) : 'bad URL'
    if (fault !== undefined) throw unreachable(new Error(fault))
    let paused = 0
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await embedOnce(source, inputs, options)
      if (outcome.kind === 'done') return outcome.vectors
      const { error, next } = outcome
      if (next === 'give-up' || attempt >= attemptsMax) throw error
      const wanted = 10 ** attempt + (next === 'wait' ? 100 : 0)
      const pause = Math.min(wanted, pauseMsMax) * (0.5 + random.float() / 2)
      paused += pause
      if (paused > pausesMsMax) throw error
      if (options.deadlineMs !== null && clock.monotonic() + pause >= options.deadlineMs) throw error
      await clock.sleep(pause, options.signal)
    }
  }

  /** A refusal by OpenAI may mean that a text is too long: each is tried alone, and long ones cut. */
  async function embedPiece(
    source: HttpSource,
    inputs: readonly Json[],
    options: EmbeddingOptions,
  ): Promise<readonly Float32Array[]> {
    try {
      return await embedBatch(source, inputs, options)
    } catch (error) {
      if (source.origin !== 'openAi' || !(error instanceof EmbedError) || error.status !== 400) throw error
    }
    const vectors: Float32Array[] = []
    for (const input of inputs) {
      const short = typeof input === 'string' ? cutText(input, openAiBytesMax) : input
      vectors.push(...(await embedBatch(source, [short], options)))
    }
    return vectors
  }

  return {
    async embed(source, inputs, options) {
      const size = takesSeveral(source) ? inputsPerRequest : 1
      const vectors: Float32Array[] = new Array(inputs.length)
      // The first failure ends the others.
      const failure = new AbortController()
      const inside = { ...options, signal: AbortSignal.any([options.signal, failure.signal]) }
      let next = 0
      const work = async () => {
        while (next < inputs.length) {
          const from = next
          next += size
          const made = await embedPiece(source, inputs.slice(from, from + size), inside)
          for (const [index, vector] of made.entries()) vectors[from + index] = vector
        }
      }
      const workers = Math.min(requestsAtOnce, Math.ceil(inputs.length / size))
      try {
        await Promise.all(Array.from({ length: workers }, work))
      } catch (error) {
        failure.abort(error)
        throw error
      }
      return vectors
    },
    close: async () => agent?.destroy(),
  }
}

function cutText(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= bytesMax) return text
  let end = bytesMax
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1
  return bytes.toString('utf8', 0, end)
}

type Outcome =
  | { readonly kind: 'done'; readonly vectors: readonly Float32Array[] }
  | { readonly kind: 'failed'; readonly next: 'give-up' | 'retry' | 'wait'; readonly error: EmbedError }

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let byteCount = 0
  for await (const chunk of body) {
    byteCount += chunk.length
    if (byteCount > answerBytesMax)
      throw new EmbedError('runtime error', `the embedding server sent more than ${answerBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, byteCount).toString('utf8')
}

function vectorsIn(source: HttpSource, body: string, expectedCount: number, dimensions: number | null): Outcome {
  const failed = (what: string, next: 'give-up' | 'retry' = 'give-up'): Outcome => ({
    kind: 'failed',
    next,
    error: new EmbedError('runtime error', what),
  })
  let answer: Json
  try {
    answer = JSON.parse(body) as Json
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return failed(`error deserializing the response body as JSON:\n  - json: ${why}`, 'retry')
  }
  let vectors: readonly Float32Array[]
  try {
    vectors = extract(source.response, answer, 'response', placeholders.embedding).map((extracted) => {
      const { value } = extracted
      if (!Array.isArray(value)) throw notNumbers('response', extracted, `${wordOf(value)}, expected a sequence`)
      const strange = value.find((item) => typeof item !== 'number')
      if (strange !== undefined) throw notNumbers('response', extracted, `${wordOf(strange)}, expected f32`)
      return Float32Array.from(value as readonly number[])
    })
  } catch (error) {
    if (!(error instanceof InjectionFault)) throw error
    return failed(`error extracting embeddings from the response:\n  - ${error.message}`)
  }
  if (vectors.length !== expectedCount)
    return failed(`expected a response containing ${expectedCount} embeddings, got only ${vectors.length}`)
  const wrong = dimensions === null ? undefined : vectors.find((vector) => vector.length !== dimensions)
  if (wrong !== undefined)
    return failed(
      `was expecting embeddings of dimension \`${dimensions}\`, got embeddings of dimensions \`${wrong.length}\``,
    )
  return { kind: 'done', vectors }
}

/** As the reference's parser names a value. */
function wordOf(value: Json): string {
  if (value === null) return 'invalid type: null'
  if (Array.isArray(value)) return 'invalid type: sequence'
  if (typeof value === 'string') return `invalid type: string ${JSON.stringify(value)}`
  if (typeof value === 'number')
    return `invalid type: ${Number.isInteger(value) ? 'integer' : 'floating point'} \`${value}\``
  return typeof value === 'boolean' ? `invalid type: boolean \`${value}\`` : 'invalid type: map'
}

const isRefused = (error: unknown): boolean => causesOf(error).some(({ message }) => message === 'Rejected IP')

function unreachable(error: unknown): EmbedError {
  const why = isRefused(error) ? 'Rejected IP' : (causesOf(error).at(-1)?.message ?? String(error))
  return new EmbedError('runtime error', `could not reach embedding server:\n  - ${why}`, null, { cause: error })
}

function causesOf(error: unknown): readonly Error[] {
  const causes: Error[] = []
  for (let cause = error; cause instanceof Error && causes.length < 5; cause = cause.cause) causes.push(cause)
  return causes
}
