/** What an embedder of an index's settings means: which requests it makes, and which texts of a document it embeds (M-D4). */
import { defaultDocumentTemplate } from '../../api/document-template.ts'
import { fixedOpenAiModel, openAiDimensions } from '../../api/embedder-settings.ts'
import { fragmentsIn } from '../../api/embedder-templates.ts'
import { type InjectedValue, parseInjectedValue, placeholders } from '../../api/injected-value.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'

/** Where texts become vectors. */
export type VectorSource =
  /** Vectors come with documents and queries. */
  | { readonly kind: 'given'; readonly dimensions: number }
  | HttpSource
  /** The model would run in this process. */
  | { readonly kind: 'local'; readonly model: string }

export interface HttpSource {
  readonly kind: 'http'
  /** Decides how some refusals are worded. */
  readonly origin: 'rest' | 'openAi' | 'ollama'
  readonly url: string
  readonly apiKey: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly request: InjectedValue
  readonly response: InjectedValue
  /** null = found out by a trial request. */
  readonly dimensions: number | null
  /** Templates by name; not empty = queries are sent as the one that fits. */
  readonly searchFragments: Readonly<Record<string, Json>>
}

export interface EmbedderConfig {
  readonly search: VectorSource
  readonly indexing: VectorSource
  /** null = documents are not rendered: their vectors are given, or made from `fragments`. */
  readonly template: string | null
  /** Templates of what is embedded of a document, by name, sorted; each gives one vector. Empty = `template` does. */
  readonly fragments: readonly (readonly [string, Json])[]
}

const openAiUrl = 'https://api.openai.com/v1/embeddings'
const ollamaUrl = 'http://localhost:11434/api/embeddings'
const defaultModel = 'text-embedding-3-small'

/** An Ollama address that no known way of asking fits. The message is for clients. */
export class UnknownAddress extends Error {
  override readonly name = 'UnknownAddress'
}

/**
 * @param embedder  settings of one embedder, defaults not filled in.
 * @throws InjectionFault, UnknownAddress
 */
export function readEmbedder(embedder: JsonObject): EmbedderConfig {
  if (embedder.source !== 'composite') {
    const source = readSource(embedder)
    return { search: source, indexing: source, ...documentPart(embedder) }
  }
  const indexing = objectOf(embedder.indexingEmbedder)
  return {
    search: readSource(objectOf(embedder.searchEmbedder)),
    indexing: readSource(indexing),
    ...documentPart(indexing),
  }
}

function documentPart(embedder: JsonObject): Pick<EmbedderConfig, 'template' | 'fragments'> {
  if (embedder.source === 'userProvided') return { template: null, fragments: [] }
  const fragments = Object.entries(fragmentsIn(embedder.indexingFragments)).sort(([left], [right]) =>
    left < right ? -1 : 1,
  )
  if (fragments.length > 0) return { template: null, fragments }
  return { template: stringOr(embedder.documentTemplate, defaultDocumentTemplate), fragments: [] }
}

function readSource(embedder: JsonObject): VectorSource {
  const { dimensions } = embedder
  switch (embedder.source) {
    case 'userProvided':
      return { kind: 'given', dimensions: typeof dimensions === 'number' ? dimensions : 0 }
    case 'huggingFace':
      return { kind: 'local', model: stringOr(embedder.model, 'BAAI/bge-base-en-v1.5') }
    case 'rest':
      return readRest(embedder)
    case 'ollama':
      return readOllama(embedder)
    default:
      return readOpenAi(embedder)
  }
}

function readRest(embedder: JsonObject): HttpSource {
  const searchFragments = fragmentsIn(embedder.searchFragments)
  const hasFragments =
    Object.keys(searchFragments).length > 0 || Object.keys(fragmentsIn(embedder.indexingFragments)).length > 0
  return {
    ...httpPart(embedder, 'rest'),
    url: stringOr(embedder.url, ''),
    headers: Object.fromEntries(
      Object.entries(objectOf(embedder.headers)).map(([name, value]) => [name, String(value)]),
    ),
    request: parseInjectedValue(
      embedder.request ?? null,
      'request',
      hasFragments ? placeholders.fragment : placeholders.text,
    ),
    response: parseInjectedValue(embedder.response ?? null, 'response', placeholders.embedding),
    searchFragments,
  }
}

function readOllama(embedder: JsonObject): HttpSource {
  const url = stringOr(embedder.url, ollamaUrl)
  const model = stringOr(embedder.model, '')
  const list = (item: string) => [item, '{{..}}']
  const [request, response]: [Json, Json] = url.endsWith('/api/embeddings')
    ? [{ model, prompt: placeholders.text }, { embedding: placeholders.embedding }]
    : [{ model, input: list(placeholders.text) }, { embeddings: list(placeholders.embedding) }]
  if (!url.endsWith('/api/embeddings') && !url.endsWith('/api/embed'))
    throw new UnknownAddress(
      `unsupported Ollama URL.\n  - For \`ollama\` sources, the URL must end with \`/api/embed\` or \`/api/embeddings\`\n  - Got \`${url}\``,
    )
  return { ...httpPart(embedder, 'ollama'), ...templates(request, response), url }
}

function readOpenAi(embedder: JsonObject): HttpSource {
  const model = stringOr(embedder.model, defaultModel)
  const asked = model === fixedOpenAiModel ? undefined : embedder.dimensions
  const request = {
    model,
    input: [placeholders.text, '{{..}}'],
    ...(typeof asked === 'number' ? { dimensions: asked } : {}),
  }
  const response = { data: [{ embedding: placeholders.embedding }, '{{..}}'] }
  return {
    ...httpPart(embedder, 'openAi'),
    ...templates(request, response),
    url: stringOr(embedder.url, openAiUrl),
    dimensions: typeof asked === 'number' ? asked : (openAiDimensions[model] ?? null),
  }
}

function httpPart(embedder: JsonObject, origin: HttpSource['origin']) {
  const { apiKey, dimensions } = embedder
  return {
    kind: 'http' as const,
    origin,
    apiKey: typeof apiKey === 'string' && apiKey !== '' ? apiKey : null,
    headers: {},
    dimensions: typeof dimensions === 'number' ? dimensions : null,
    searchFragments: {},
  }
}

function templates(request: Json, response: Json): Pick<HttpSource, 'request' | 'response'> {
  return {
    request: parseInjectedValue(request, 'request', placeholders.text),
    response: parseInjectedValue(response, 'response', placeholders.embedding),
  }
}

const objectOf = (value: Json | undefined): JsonObject => (value !== undefined && isObject(value) ? value : {})
const stringOr = (value: Json | undefined, fallback: string): string => (typeof value === 'string' ? value : fallback)
