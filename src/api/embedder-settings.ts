/** The `embedders` setting (M-D4): shape, and which field goes with which source. */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import {
  boolean,
  type Decoder,
  integer,
  invalidValue,
  json,
  nullable,
  number,
  object,
  oneOf,
  record,
  required,
  string,
} from './decode.ts'
import { defaultDocumentTemplate } from './document-template.ts'
import { checkDocumentTemplate, checkTemplates, fragmentsIn } from './embedder-templates.ts'
import { ApiError } from './errors.ts'
import { type Features, featureNotEnabled } from './features.ts'

const sources = ['openAi', 'huggingFace', 'ollama', 'userProvided', 'rest', 'composite'] as const
type Source = (typeof sources)[number]

export const embeddersMax = 256

const sourcesOf: Readonly<Record<string, readonly Source[]>> = {
  source: sources,
  model: ['openAi', 'huggingFace', 'ollama'],
  revision: ['huggingFace'],
  pooling: ['huggingFace'],
  apiKey: ['openAi', 'ollama', 'rest'],
  dimensions: ['openAi', 'ollama', 'userProvided', 'rest'],
  documentTemplate: ['openAi', 'huggingFace', 'ollama', 'rest'],
  documentTemplateMaxBytes: ['openAi', 'huggingFace', 'ollama', 'rest'],
  url: ['openAi', 'ollama', 'rest'],
  indexingFragments: ['rest'],
  searchFragments: ['rest'],
  request: ['rest'],
  response: ['rest'],
  headers: ['rest'],
  searchEmbedder: ['composite'],
  indexingEmbedder: ['composite'],
  distribution: sources,
  binaryQuantized: sources,
}

const mandatory: Readonly<Record<Source, readonly string[]>> = {
  openAi: [],
  huggingFace: [],
  ollama: ['model'],
  userProvided: ['dimensions'],
  rest: ['url', 'request', 'response'],
  composite: ['searchEmbedder', 'indexingEmbedder'],
}

const dimensions: Decoder<number> = (value, at) => {
  const decoded = integer(value, at)
  // The path is named without its frame here.
  if (decoded === 0) throw new ApiError(at.code, `\`${at.path}\`: \`dimensions\` cannot be zero`)
  return decoded
}

/** OpenAI's models with the size of their vectors. */
export const openAiDimensions: Readonly<Record<string, number>> = {
  'text-embedding-ada-002': 1536,
  'text-embedding-3-small': 1536,
  'text-embedding-3-large': 3072,
}
/** The only one that does not shorten its vectors. */
export const fixedOpenAiModel = 'text-embedding-ada-002'

const url: Decoder<string> = (value, at) => {
  const text = string(value, at)
  if (!URL.canParse(text))
    throw new ApiError(at.code, `\`${at.path}\`: could not parse \`${text}\`: relative URL without a base`)
  return text
}

const distribution: Decoder<Json> = (value, at) => {
  const { mean, sigma } = meanAndSigma(value, at)
  if (!(sigma > 0 && sigma <= 1))
    throw invalidValue(`the distribution sigma must be in the range ]0, 1], got ${sigma}`, at)
  if (!(mean >= 0 && mean <= 1))
    throw invalidValue(`the distribution mean must be in the range [0, 1], got ${mean}`, at)
  return { mean, sigma }
}

const meanAndSigma = object<{ mean: number; sigma: number }>({ mean: required(number), sigma: required(number) })

const fieldDecoders: Readonly<Record<string, Decoder<Json>>> = {
  source: oneOf(...sources),
  model: string,
  revision: string,
  pooling: oneOf('useModel', 'forceCls', 'forceMean'),
  apiKey: string,
  dimensions,
  binaryQuantized: boolean,
  documentTemplate: string,
  documentTemplateMaxBytes: integer,
  url,
  indexingFragments: record(nullable(json)) as Decoder<Json>,
  searchFragments: record(nullable(json)) as Decoder<Json>,
  request: json,
  response: json,
  headers: record(string) as Decoder<Json>,
  searchEmbedder: (value, at) => embedderDecoder(value, at),
  indexingEmbedder: (value, at) => embedderDecoder(value, at),
  distribution,
}

type Sparse = Record<string, Json | undefined>

const shape = object<Sparse>(
  Object.fromEntries(
    Object.entries(fieldDecoders).map(([name, decode]) => [
      name,
      { decode: nullable(decode), fallback: () => undefined },
    ]),
  ),
)

/** One embedder of a change: any subset of the fields, null = reset. */
export const embedderDecoder: Decoder<Json> = (value, at) =>
  Object.fromEntries(
    Object.entries(shape(value, at)).filter((entry): entry is [string, Json] => entry[1] !== undefined),
  )

/** What fits together within a change (message 61). What only shows after merging is the task's affair. */
export function checkEmbedders(embedders: JsonObject, features: Features): void {
  if (Object.keys(embedders).length > embeddersMax)
    throw refused(
      `Too many embedders in the configuration. Found ${Object.keys(embedders).length}, but limited to 256.`,
    )
  for (const [name, embedder] of Object.entries(embedders)) {
    if (!isObject(embedder)) continue
    checkFeatures(embedder, features)
    checkEmbedder(name, embedder, false)
  }
}

function checkFeatures(embedder: JsonObject, features: Features): void {
  if (embedder.source === 'composite' && !features.compositeEmbedders)
    throw featureNotEnabled('compositeEmbedders', 'using `"composite"` as source')
  for (const field of ['searchEmbedder', 'indexingEmbedder'])
    if (isSet(embedder[field]) && !features.compositeEmbedders)
      throw featureNotEnabled('compositeEmbedders', `setting \`${field}\``)
  for (const field of ['indexingFragments', 'searchFragments'])
    if (isSet(embedder[field]) && !features.multimodal) throw featureNotEnabled('multimodal', `setting \`${field}\``)
}

/**
 * An embedder after a change was folded into it, and whether it makes sense as a whole.
 *
 * @throws ApiError `invalid_settings_embedders`, `vector_embedding_error`
 */
export function checkWholeEmbedder(name: string, embedder: JsonObject): void {
  checkEmbedder(name, { source: 'openAi', ...(isOpenAi(embedder) ? defaultModels.openAi : {}), ...embedder }, true)
}

function checkEmbedder(name: string, embedder: JsonObject, isWhole: boolean): void {
  checkTemplates(name, embedder, isWhole)
  const source = sources.find((candidate) => candidate === embedder.source)
  if (source === undefined) return
  checkFields(name, source, embedder, 'top')
  if (source === 'openAi') checkOpenAi(name, embedder)
  if (source === 'composite') checkHalves(name, embedder)
}

/** Where an embedder stands: by itself, or as one half of a composite one. */
type Place = 'top' | 'search' | 'indexing'
const contexts: Record<Place, string> = {
  top: '',
  search: ' for the search embedder',
  indexing: ' for the indexing embedder',
}
/** Fields that mean nothing in a half. */
const outside: Record<Place, readonly string[]> = {
  top: [],
  search: ['distribution', 'binaryQuantized', 'documentTemplate', 'documentTemplateMaxBytes', 'indexingFragments'],
  indexing: ['distribution', 'binaryQuantized', 'searchFragments'],
}
/** The order in which fields are judged. */
const judgedFields = [
  ...['model', 'revision', 'pooling', 'dimensions', 'apiKey', 'url', 'indexingFragments', 'searchFragments'],
  ...['request', 'response', 'documentTemplate', 'documentTemplateMaxBytes', 'headers', 'searchEmbedder'],
  ...['indexingEmbedder', 'binaryQuantized', 'distribution'],
]

const isAllowed = (field: string, source: Source, place: Place): boolean =>
  !outside[place].includes(field) && (sourcesOf[field]?.includes(source) ?? false)

function checkFields(name: string, source: Source, embedder: JsonObject, place: Place): void {
  const path = place === 'top' ? name : `${name}.${place}Embedder`
  for (const field of judgedFields) {
    const value = embedder[field]
    if (mandatory[source].includes(field) && !isSet(value))
      throw refused(
        `\`.embedders.${name}\`: Missing field \`${field}\` (note: this field is mandatory for source \`${source}\`)`,
      )
    if (value === undefined || isAllowed(field, source, place)) continue
    const allowed = sources.filter((candidate) => isAllowed(field, candidate, place))
    const fields = Object.keys(sourcesOf).filter((other) => isAllowed(other, source, place))
    const where = contexts[place]
    const notes = [
      ...(allowed.length === 0 ? [] : [`\`${field}\` is available${where} for sources: ${quoted(allowed)}`]),
      `available fields for source \`${source}\`${where}: ${quoted(fields)}`,
      ...(place !== 'top' && isAllowed(field, source, 'top')
        ? [`\`${field}\` is available when source \`${source}\` is not${where}`]
        : []),
    ]
    throw refused(
      `\`.embedders.${path}\`: Field \`${field}\` unavailable for source \`${source}\`${where}.${notes.map((note) => `\n  - note: ${note}`).join('')}`,
    )
  }
}

function checkOpenAi(name: string, { model, dimensions }: JsonObject): void {
  if (typeof model !== 'string') return
  const own = openAiDimensions[model]
  if (own === undefined)
    throw refused(
      `\`.embedders.${name}.model\`: Invalid model \`${model}\` for OpenAI. Supported models: [${Object.keys(
        openAiDimensions,
      )
        .map((known) => JSON.stringify(known))
        .join(', ')}]`,
    )
  if (typeof dimensions !== 'number') return
  if (model === fixedOpenAiModel && dimensions !== own)
    throw refused(
      `\`.embedders.${name}.dimensions\`: Model \`${model}\` does not support overriding its native dimensions of ${own}. Found ${dimensions}`,
    )
  if (dimensions > own)
    throw refused(
      `\`.embedders.${name}.dimensions\`: Model \`${model}\` does not support overriding its dimensions to a value higher than ${own}. Found ${dimensions}`,
    )
}

function checkHalves(name: string, embedder: JsonObject): void {
  for (const [field, place] of [
    ['searchEmbedder', 'search'],
    ['indexingEmbedder', 'indexing'],
  ] as const) {
    const half = embedder[field]
    if (half === undefined || !isObject(half)) continue
    const path = `${name}.${field}`
    if (place === 'indexing') checkDocumentTemplate(name, half)
    const source = sources.find((candidate) => candidate === half.source)
    if (source === undefined)
      throw refused(
        `\`.embedders.${path}\`: Missing field \`source\`.\n  - note: this field is mandatory for nested embedders`,
      )
    if (source === 'composite' || source === 'userProvided')
      throw refused(`\`.embedders.${path}.source\`: Source \`${source}\` is not available in a nested embedder`)
    checkFields(name, source, half, place)
  }
}

/** In the order of answers. */
const shownFields = [
  'source',
  'model',
  'revision',
  'pooling',
  'apiKey',
  'dimensions',
  'binaryQuantized',
  'documentTemplate',
  'documentTemplateMaxBytes',
  'url',
  'indexingFragments',
  'searchFragments',
  'request',
  'response',
  'headers',
  'searchEmbedder',
  'indexingEmbedder',
  'distribution',
]

const defaultModels: Readonly<Record<string, JsonObject>> = {
  openAi: { model: 'text-embedding-3-small' },
  huggingFace: {
    model: 'BAAI/bge-base-en-v1.5',
    revision: '617ca489d9e86b49b8167676d8220688b99db36e',
    pooling: 'useModel',
  },
  rest: { headers: {} },
}

const isOpenAi = ({ source }: JsonObject): boolean => source === undefined || source === 'openAi'

/** An embedder as answers show it: defaults of its source filled in, secrets in clear. */
export function completeEmbedder(embedder: JsonObject, place: Place = 'top'): JsonObject {
  const source = typeof embedder.source === 'string' ? embedder.source : 'openAi'
  const hasFragments = Object.keys(fragmentsIn(embedder.indexingFragments)).length > 0
  const hasTemplate =
    place !== 'search' && !hasFragments && sourcesOf.documentTemplate?.some((candidate) => candidate === source)
  // The default model's revision does not go with another model.
  const { revision, ...defaults } = defaultModels[source] ?? {}
  const complete: JsonObject = {
    source,
    ...defaults,
    ...(revision === undefined || embedder.model !== undefined ? {} : { revision }),
    ...(hasTemplate ? { documentTemplate: defaultDocumentTemplate, documentTemplateMaxBytes: 400 } : {}),
    ...embedder,
  }
  return Object.fromEntries(
    shownFields.flatMap((field): [string, Json][] => {
      const value = complete[field]
      return value === undefined ? [] : [[field, shownValue(field, value)]]
    }),
  )
}

function shownValue(field: string, value: Json): Json {
  if (!isObject(value)) return value
  switch (field) {
    case 'indexingFragments':
    case 'searchFragments':
      return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)))
    case 'searchEmbedder':
      return completeEmbedder(value, 'search')
    case 'indexingEmbedder':
      return completeEmbedder(value, 'indexing')
    default:
      return value
  }
}

function isSet(value: Json | undefined): boolean {
  return value !== undefined && value !== null
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `\`${word}\``).join(', ')
}

function refused(message: string): ApiError {
  return new ApiError('invalid_settings_embedders', message)
}
