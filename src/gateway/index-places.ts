/**
 * Every place in which an index name can stand (M-I3, P-10, P-11): in paths, query strings, bodies and answers. What is
 * not listed here is not translated, and what cannot be listed is refused by `route-policy.ts`.
 *
 * Places are paths through JSON: `a.b`, `a[]` (each element), `a{}` (each key of an object).
 */

/** `{uid}` in a route's path: the only path segment that names an index. */
export const pathPlace = '{uid}'

/** In query strings no forwarded route names an index; `indexUids` of task routes is answered by the journal. */
export const queryPlaces = {
  'GET /tasks': ['indexUids'],
  'DELETE /tasks': ['indexUids'],
  'POST /tasks/cancel': ['indexUids'],
  'GET /batches': ['indexUids'],
} as const

/** In request bodies. Emulated routes keep logical names: the journal knows no other. */
export const bodyPlaces = {
  'POST /multi-search': ['queries[].indexUid', 'federation.facetsByIndex{}'],
  'POST /render-template': ['template.indexUid', 'input.indexUid'],
  'POST /indexes': ['uid'],
  'PATCH /indexes/{uid}': ['uid'],
  'POST /swap-indexes': ['[].indexes[]'],
  'POST /keys': ['indexes[]'],
  'POST /export': ['indexes{}'],
  'PATCH /indexes/{uid}/settings': ['foreignKeys[].foreignIndexUid'],
  'PUT /indexes/{uid}/settings/foreign-keys': ['[].foreignIndexUid'],
} as const

/** In answers of engines with a status below 400. Foreign keys are not among them: engines hold none (`foreign-documents.ts`). */
export const answerPlaces = {
  search: ['metadata.indexUid'],
  multiSearch: ['results[].indexUid', 'results[].metadata.indexUid'],
  federatedSearch: ['hits[]._federation.indexUid', 'facetsByIndex{}', 'metadata[].indexUid'],
} as const

/** In error answers: the message, through the names that the request itself translated. */
export const errorPlaces = ['message'] as const
