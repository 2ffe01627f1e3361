/** Where the similarities of a model lie, so that they can be compared with scores of keyword search (M-F17). */
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'

export interface Distribution {
  readonly mean: number
  readonly sigma: number
}

const ofModels: Readonly<Record<string, Distribution>> = {
  'text-embedding-ada-002': { mean: 0.9, sigma: 0.08 },
  'text-embedding-3-small': { mean: 0.75, sigma: 0.1 },
  'text-embedding-3-large': { mean: 0.7, sigma: 0.1 },
}

const hubModel = 'BAAI/bge-base-en-v1.5'

/** What the settings say, else what is known of the model; null = nothing. */
export function distributionOf(embedder: JsonObject): Distribution | null {
  const { distribution } = embedder
  if (distribution !== undefined && isObject(distribution)) {
    const { mean, sigma } = distribution
    if (typeof mean === 'number' && typeof sigma === 'number') return { mean, sigma }
  }
  switch (embedder.source ?? 'openAi') {
    case 'openAi':
      return ofModels[String(embedder.model ?? 'text-embedding-3-small')] ?? null
    case 'huggingFace':
      return (embedder.model ?? hubModel) === hubModel ? { mean: 0.85, sigma: 0.1 } : null
    case 'composite':
      return distributionOf(objectOf(embedder.searchEmbedder)) ?? distributionOf(objectOf(embedder.indexingEmbedder))
    default:
      return null
  }
}

const objectOf = (value: Json | undefined): JsonObject =>
  value !== undefined && isObject(value) ? value : { source: '' }
