/**
 * Vectors of queries. A search runs in one turn and cannot wait: it throws `EmbeddingNeeded`, its caller has the vector made
 * and runs it again. What was made, or why it could not be, is kept for the time of one request.
 */
import { parseJsonTemplate } from '../../api/json-template.ts'
import { liquidValue, TemplateFault } from '../../api/liquid-template.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { configOf } from './document-embedder.ts'
import { EmbedError, givenVectorsOnly, localModel, toEmbedError } from './embed-error.ts'
import type { EmbedderConfig, HttpSource } from './embedder-config.ts'
import type { EmbeddingClient } from './embedding-client.ts'

export interface QueryText {
  readonly q: string | null
  /** null = none. */
  readonly media: Json
}

/** The search needs a vector before it can go on. */
export class EmbeddingNeeded extends Error {
  override readonly name = 'EmbeddingNeeded'
  readonly key: string
  readonly source: HttpSource
  readonly input: Json
  readonly dimensions: number | null
  /** Time that the index gives to a search. */
  readonly cutoffMs: number

  constructor(key: string, need: Pick<EmbeddingNeeded, 'source' | 'input' | 'dimensions' | 'cutoffMs'>) {
    super('a vector of the query is needed')
    this.key = key
    this.source = need.source
    this.input = need.input
    this.dimensions = need.dimensions
    this.cutoffMs = need.cutoffMs
  }
}

export interface EmbedderForQuery {
  readonly name: string
  /** `dimensions` is that of its vectors, where it is known. */
  readonly settings: JsonObject
  readonly cutoffMs: number
}

export class QueryEmbeddings {
  readonly #made = new Map<string, readonly number[] | EmbedError>()

  /** @throws EmbeddingNeeded, EmbedError */
  vectorOf({ name, settings, cutoffMs }: EmbedderForQuery, text: QueryText): readonly number[] {
    const key = JSON.stringify([name, settings, text.q, text.media])
    const made = this.#made.get(key)
    if (made instanceof EmbedError) throw made
    if (made !== undefined) return made
    const config = configOf(settings)
    if (config instanceof EmbedError) throw config
    const { search: source } = config
    if (text.media !== null && (source.kind !== 'http' || source.origin !== 'rest' || settings.source === 'composite'))
      throw userError("`media` requested but the configuration doesn't have source `rest`")
    if (source.kind === 'given') throw givenVectorsOnly(text.q ?? '')
    if (source.kind === 'local') throw localModel(source.model)
    const dimensions = typeof settings.dimensions === 'number' ? settings.dimensions : source.dimensions
    throw new EmbeddingNeeded(key, { source, input: inputOf(config, source, text), dimensions, cutoffMs })
  }

  /** Makes what is needed, or notes why it cannot be made. `startedAt`: monotonic, of the request. */
  async make(needed: EmbeddingNeeded, client: EmbeddingClient, startedAt: number): Promise<void> {
    const { key, source, input, dimensions, cutoffMs } = needed
    try {
      const [vector] = await client.embed(source, [input], {
        signal: new AbortController().signal,
        deadlineMs: startedAt + cutoffMs,
        dimensions,
      })
      this.#made.set(key, Array.from(vector ?? [], shortestFloat))
    } catch (error) {
      this.#made.set(key, toEmbedError(error))
    }
  }
}

function inputOf(config: EmbedderConfig, source: HttpSource, { q, media }: QueryText): Json {
  const fragments = Object.entries(source.searchFragments).sort(([left], [right]) => (left < right ? -1 : 1))
  if (fragments.length === 0 || config.search !== config.indexing) {
    if (media !== null)
      throw userError(
        "`media` requested, and the configuration has source `rest`, but the configuration doesn't have `searchFragments`.",
      )
    return q ?? ''
  }
  const scope = { ...(q === null ? {} : { q }), ...(media === null ? {} : { media: liquidValue(media) }) }
  const fitting = fragments.flatMap(([name, template]) => {
    const rendered = renderedOrNull(template, scope)
    return rendered === null ? [] : [{ name, rendered }]
  })
  const [first, second] = fitting
  const shown = JSON.stringify({ q, media })
  if (first === undefined) throw userError(`Query matches no search fragment.\n  - Note: ${shown}`)
  if (second !== undefined)
    throw userError(
      `Query matches multiple search fragments.\n  - Note: First matched fragment \`${first.name}\`.\n  - Note: Second matched fragment \`${second.name}\`.\n  - Note: ${shown}`,
    )
  return first.rendered
}

function renderedOrNull(template: Json, scope: Readonly<Record<string, unknown>>): Json {
  try {
    return parseJsonTemplate(template, '').render(scope, '')
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error
    return null
  }
}

const userError = (what: string): EmbedError => new EmbedError('user error', what)

/** The shortest decimal that is the same 32-bit float: as answers show vectors. */
export function shortestFloat(value: number): number {
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === Math.fround(value)) return short
  }
  return Number(value.toPrecision(9))
}
