/** `POST` and `GET /indexes/{uid}/similar` (M-F19). */
import type { Json } from '../lib/json.ts'
import {
  array,
  bodyRoot,
  boolean,
  type Decoder,
  integer,
  object,
  optional,
  orNull,
  required,
  string,
} from './decode.ts'
import {
  booleanParameter,
  decodeParameters,
  integerParameter,
  listParameter,
  parameter,
  parameterOrNull,
  requiredParameter,
  textParameter,
} from './decode-query.ts'
import { filterJson, filterParameter } from './filter-value.ts'
import { unitNumber, unitParameter } from './search-query.ts'

export interface SimilarQuery {
  readonly id: string
  readonly offset: number
  readonly limit: number
  readonly filter: Json
  readonly embedder: string
  readonly attributesToRetrieve: readonly string[] | null
  readonly retrieveVectors: boolean
  readonly showRankingScore: boolean
  readonly showRankingScoreDetails: boolean
  readonly showPerformanceDetails: boolean
  readonly rankingScoreThreshold: number | null
}

/** Its shape is judged by the engine, behind the embedder. */
const similarId: Decoder<string> = (value) => (typeof value === 'string' ? value : JSON.stringify(value))

const body = object<SimilarQuery>({
  id: required(similarId, 'invalid_similar_id'),
  offset: optional(integer, 0, 'invalid_similar_offset'),
  limit: optional(integer, 20, 'invalid_similar_limit'),
  filter: orNull(filterJson, 'invalid_similar_filter'),
  embedder: required(string, 'invalid_similar_embedder'),
  attributesToRetrieve: orNull(array(string), 'invalid_similar_attributes_to_retrieve'),
  retrieveVectors: optional(boolean, false, 'invalid_similar_retrieve_vectors'),
  showRankingScore: optional(boolean, false, 'invalid_similar_show_ranking_score'),
  showRankingScoreDetails: optional(boolean, false, 'invalid_similar_show_ranking_score_details'),
  showPerformanceDetails: optional(boolean, false, 'invalid_similar_show_performance_details'),
  rankingScoreThreshold: orNull(unitNumber('rankingScoreThreshold'), 'invalid_similar_ranking_score_threshold'),
})

export function decodeSimilar(sent: Json): SimilarQuery {
  return body(sent, bodyRoot)
}

export function decodeSimilarParameters(search: string): SimilarQuery {
  return decodeParameters<SimilarQuery>(search, {
    id: requiredParameter(textParameter, 'invalid_similar_id', 'bad_request'),
    embedder: requiredParameter(textParameter, 'invalid_similar_embedder', 'bad_request'),
    offset: parameter(integerParameter, 0, 'invalid_similar_offset'),
    limit: parameter(integerParameter, 20, 'invalid_similar_limit'),
    attributesToRetrieve: parameterOrNull(listParameter(textParameter), 'invalid_similar_attributes_to_retrieve'),
    retrieveVectors: parameter(booleanParameter, false, 'invalid_similar_retrieve_vectors'),
    filter: parameterOrNull(filterParameter, 'invalid_similar_filter'),
    showRankingScore: parameter(booleanParameter, false, 'invalid_similar_show_ranking_score'),
    showRankingScoreDetails: parameter(booleanParameter, false, 'invalid_similar_show_ranking_score_details'),
    showPerformanceDetails: parameter(booleanParameter, false, 'invalid_similar_show_performance_details'),
    rankingScoreThreshold: parameterOrNull(
      unitParameter('rankingScoreThreshold'),
      'invalid_similar_ranking_score_threshold',
    ),
  })
}
