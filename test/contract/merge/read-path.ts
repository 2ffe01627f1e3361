/** Questions of the differential test, answered by the read path of spread indexes. */
import { ApiError } from '../../../src/api/errors.ts'
import { decodeSearchParameters, decodeSearchQuery } from '../../../src/api/search-query.ts'
import type { Json } from '../../../src/lib/json.ts'
import { type Ask, type ReadOptions, RefusedByNode, type SearchedIndex } from '../../../src/search/leg.ts'
import { searchIndex } from '../../../src/search/search-index.ts'
import type { Answer } from '../differential/comparison.ts'
import type { Question } from '../differential/questions.ts'

/** undefined = no question of the read path. */
export async function answerQuestion(question: Question, index: SearchedIndex, ask: Ask): Promise<Answer | undefined> {
  const options = { ask, signal: AbortSignal.timeout(60_000), newUid: () => 'uid', withMetadata: false }
  try {
    const text = await answerText(question, index, options)
    return text === undefined ? undefined : { status: 200, body: JSON.parse(text) as Json }
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof RefusedByNode)) throw error
    return { status: error.status, body: { ...error.body } }
  }
}

function answerText(
  { method, path, body }: Question,
  index: SearchedIndex,
  options: ReadOptions,
): Promise<string> | undefined {
  const [place = '', search = ''] = path.split('?')
  const route = `${method ?? 'POST'} ${place.replace(`/indexes/${index.uid}`, '')}`
  switch (route) {
    case 'POST /search':
      return searchIndex(index, decodeSearchQuery(body ?? {}), options)
    case 'GET /search':
      return searchIndex(index, decodeSearchParameters(`?${search}`), options)
    default:
      return undefined
  }
}
