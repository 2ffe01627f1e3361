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
  dimensions: ['openAi', 'ollama', 'rest', 'userProvided'],
  binaryQuantized: sources,
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
  if (decoded === 0) throw invalidValue('`dimensions` cannot be zero', at)
  return decoded
}

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
  url: string,
  indexingFragments: record(nullable(json)) as Decoder<Json>,
  searchFragments: record(nullable(json)) as Decoder<Json>,
  request: json,
  response: json,
  headers: record(string) as Decoder<Json>,
  searchEmbedder: (value, at) => embedderDecoder(value, at),
  indexingEmbedder: (value, at) => embedderDecoder(value, at),
  distribution: object<{ mean: number; sigma: number }>({
    mean: required(number),
    sigma: required(number),
  }) as Decoder<Json>,
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
  for (const [name, embedder] of Object.entries(embedders))
    if (isObject(embedder)) checkEmbedder(name, embedder, features)
}

function checkEmbedder(name: string, embedder: JsonObject, features: Features): void {
  if (embedder.source === 'composite' && !features.compositeEmbedders)
    throw featureNotEnabled('compositeEmbedders', 'using `"composite"` as source')
  for (const field of ['searchEmbedder', 'indexingEmbedder'])
    if (isSet(embedder[field]) && !features.compositeEmbedders)
      throw featureNotEnabled('compositeEmbedders', `setting \`${field}\``)
  for (const field of ['indexingFragments', 'searchFragments'])
    if (isSet(embedder[field]) && !features.multimodal) throw featureNotEnabled('multimodal', `setting \`${field}\``)
  const source = sources.find((candidate) => candidate === embedder.source)
  if (source === undefined) return
  for (const [field, value] of Object.entries(embedder)) {
    const allowed = sourcesOf[field]
    if (allowed === undefined || !isSet(value) || allowed.includes(source)) continue
    const fields = Object.keys(sourcesOf).filter((other) => sourcesOf[other]?.includes(source))
    throw refused(
      `\`.embedders.${name}\`: Field \`${field}\` unavailable for source \`${source}\`.\n  - note: \`${field}\` is available for sources: ${quoted(allowed)}\n  - note: available fields for source \`${source}\`: ${quoted(fields)}`,
    )
  }
  for (const field of mandatory[source])
    if (!isSet(embedder[field]))
      throw refused(
        `\`.embedders.${name}\`: Missing field \`${field}\` (note: this field is mandatory for source \`${source}\`)`,
      )
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
