/** What is tried of embedders when they come into an index's settings: the size of their vectors, and that both halves agree. */
import { ApiError } from '../../api/errors.ts'
import type { JsonObject } from '../../lib/json.ts'
import { configOf } from './document-embedder.ts'
import { EmbedError, givenVectorsOnly, localModel } from './embed-error.ts'
import type { EmbedderConfig, VectorSource } from './embedder-config.ts'
import type { BlockingEmbedding } from './embedding-thread.ts'

export interface TrialDeps {
  readonly embedding: BlockingEmbedding
  readonly checkAborted: () => void
}

const trialText = 'test'
const trialTexts = [trialText, 'a brave dog', 'This is a sample text. It is meant to compare similarity.']
/** Distance that the two halves of a composite embedder may have: (1 − cosine) / 2. */
const distanceMax = 0.01

/**
 * Numbers per vector; null = not known, since the model cannot be asked.
 *
 * @throws ApiError `vector_embedding_error`
 */
export function tryEmbedder(settings: JsonObject, deps: TrialDeps): number | null {
  const config = configOf(settings)
  if (config instanceof EmbedError) throw failed(config.message)
  const indexing = dimensionsOf(config.indexing, config, deps)
  if (config.search === config.indexing) return indexing
  const search = dimensionsOf(config.search, config, deps)
  if (indexing === null || search === null) return indexing ?? search
  if (indexing !== search)
    throw failed(
      `user error: error while generating test embeddings.\n  - the dimensions of embeddings produced at search time and at indexing time don't match.\n  - Search time dimensions: ${search}\n  - Indexing time dimensions: ${indexing}\n  - Note: Dimensions of embeddings produced by both embedders are required to match.`,
    )
  if (!hasFragments(config)) checkSimilarity(config, deps)
  return indexing
}

function dimensionsOf(source: VectorSource, config: EmbedderConfig, deps: TrialDeps): number | null {
  if (source.kind === 'local') return null
  if (source.kind === 'given' || source.dimensions !== null) return source.dimensions
  if (hasFragments(config))
    throw failed(
      "user error: cannot infer `dimensions` for an embedder using `indexingFragments`.\n  - Note: Specify `dimensions` explicitly or don't use `indexingFragments`.",
    )
  try {
    const [vector] = deps.embedding.embed(source, [trialText], { dimensions: null, checkAborted: deps.checkAborted })
    return vector?.length ?? 0
  } catch (error) {
    if (!(error instanceof EmbedError)) throw error
    throw failed(
      `runtime error: could not determine model dimensions:\n  - test embedding failed with ${error.message}`,
      error,
    )
  }
}

const hasFragments = ({ fragments, search }: EmbedderConfig): boolean =>
  fragments.length > 0 || (search.kind === 'http' && Object.keys(search.searchFragments).length > 0)

function checkSimilarity(config: EmbedderConfig, deps: TrialDeps): void {
  const search = embedTrial(config.search, 'search', deps)
  const indexing = embedTrial(config.indexing, 'indexing', deps)
  for (const [index, vector] of search.entries()) {
    const distance = (1 - cosine(vector, indexing[index]!)) / 2
    if (distance > distanceMax)
      throw failed(
        `user error: error while generating test embeddings.\n  - the embeddings produced at search time and indexing time are not similar enough.\n  - angular distance ${distance.toFixed(2)}\n  - Meilisearch requires a maximum distance of ${distanceMax}.\n  - Note: check that both embedders produce similar embeddings.`,
      )
  }
}

function embedTrial(source: VectorSource, when: string, { embedding, checkAborted }: TrialDeps) {
  try {
    if (source.kind === 'given') throw givenVectorsOnly(trialText)
    if (source.kind === 'local') throw localModel(source.model)
    return embedding.embed(source, trialTexts, { dimensions: source.dimensions, checkAborted })
  } catch (error) {
    if (!(error instanceof EmbedError)) throw error
    throw failed(
      `runtime error: error while generating test embeddings.\n  - could not generate test embedding with embedder at ${when} time.\n  - Embedding failed with ${error.message}`,
      error,
    )
  }
}

function cosine(left: Float32Array, right: Float32Array): number {
  let [dot, leftSquares, rightSquares] = [0, 0, 0]
  for (let index = 0; index < left.length; index += 1) {
    dot += left[index]! * right[index]!
    leftSquares += left[index]! ** 2
    rightSquares += right[index]! ** 2
  }
  return leftSquares === 0 || rightSquares === 0 ? 0 : dot / Math.sqrt(leftSquares * rightSquares)
}

const failed = (what: string, cause?: unknown): ApiError =>
  new ApiError('vector_embedding_error', `Error while generating embeddings: ${what}`, { cause })
