/** What a change of an embedder's settings means for the vectors that are there (M-D4). Pure. */
import { completeEmbedder } from '../../api/embedder-settings.ts'
import { fragmentsIn } from '../../api/embedder-templates.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'

/**
 * `all`: every vector that is not the client's is made anew. `prompts`: those of documents that are now shown to the model
 * in another way.
 */
export type Reembedding = 'none' | 'prompts' | 'all'

const order: readonly Reembedding[] = ['none', 'prompts', 'all']
const stronger = (left: Reembedding, right: Reembedding): Reembedding =>
  order.indexOf(left) >= order.indexOf(right) ? left : right

/** @param before, after  settings of one embedder, as folded. */
export function reembeddingOf(before: JsonObject, after: JsonObject): Reembedding {
  const [old, next] = [completeEmbedder(before), completeEmbedder(after)]
  if (old.source !== next.source) return 'all'
  if (next.source === 'composite') return reembeddingOf(objectOf(old.indexingEmbedder), objectOf(next.indexingEmbedder))
  const remaking = [
    'model',
    'revision',
    'pooling',
    'request',
    'response',
    next.source === 'openAi' ? 'dimensions' : 'url',
  ]
  if (remaking.some((field) => !same(old[field], next[field]))) return 'all'
  const [oldFragments, fragments] = [fragmentsIn(old.indexingFragments), fragmentsIn(next.indexingFragments)]
  const [hadSome, hasSome] = [Object.keys(oldFragments).length > 0, Object.keys(fragments).length > 0]
  if (hadSome !== hasSome) return 'all'
  const byPrompt: Reembedding =
    !same(oldFragments, fragments) || !same(old.documentTemplate, next.documentTemplate) ? 'prompts' : 'none'
  const grew = Number(next.documentTemplateMaxBytes ?? 0) > Number(old.documentTemplateMaxBytes ?? 0)
  return stronger(byPrompt, grew ? 'prompts' : 'none')
}

const same = (left: unknown, right: unknown): boolean => JSON.stringify(left ?? null) === JSON.stringify(right ?? null)
const objectOf = (value: Json | undefined): JsonObject => (value !== undefined && isObject(value) ? value : {})
