/** `_vectors[.embedder[.part]] EXISTS`: documents by what an embedder knows of them (M-F14). */
import { ApiError, type ErrorCode } from '../../api/errors.ts'
import { type Filter, spanTail, type Word } from '../../api/filter.ts'
import { Bitmap } from '../../lib/bitmap.ts'
import { isObject } from '../../lib/json.ts'
import type { IndexReader } from '../index-reader.ts'
import type { DecodedVectors } from '../vector-table.ts'

type VectorCondition = Filter & { readonly kind: 'vectors' }

/**
 * Documents of `universe`. What is asked of single rows reads them all: some microseconds for each document.
 *
 * @throws ApiError with `code` for an embedder or fragment that is not there.
 */
export function withVectors(
  reader: IndexReader,
  { embedder, part, fragment }: VectorCondition,
  universe: Bitmap,
  code: ErrorCode,
): Bitmap {
  const names = Object.keys(reader.settings.embedders).sort()
  if (embedder !== null && !names.includes(embedder.text)) throw noSuchEmbedder(embedder, names, code)
  if (embedder === null || part === null)
    return Bitmap.union((embedder === null ? names : [embedder.text]).map((name) => reader.vectorDocids(name))).and(
      universe,
    )
  const { indexingFragments } = reader.settings.embedders[embedder.text] ?? {}
  const fragments = isObject(indexingFragments) ? Object.keys(indexingFragments).sort() : []
  if (part === 'fragment' && fragment !== null && !fragments.includes(fragment.text))
    throw noSuchFragment(embedder, fragment, fragments, code)
  if (part === 'documentTemplate' && fragments.length > 0) return Bitmap.of()
  const matches = tests[part]
  const found: number[] = []
  for (const docid of universe) {
    const given = reader.givenVectors(embedder.text, docid)
    if (given !== undefined && matches(given)) found.push(docid)
  }
  return Bitmap.fromSorted(found)
}

/** A row without vectors is one that was given: `null`. */
const tests: Readonly<Record<NonNullable<VectorCondition['part']>, (given: DecodedVectors) => boolean>> = {
  fragment: ({ vectors, isGenerated }) => isGenerated && vectors.length > 0,
  documentTemplate: ({ vectors, isGenerated }) => isGenerated && vectors.length > 0,
  userProvided: ({ isGenerated }) => !isGenerated,
  regenerate: ({ vectors, regenerate }) => regenerate && vectors.length > 0,
}

const listed = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ')

function noSuchEmbedder(embedder: Word, names: readonly string[], code: ErrorCode): ApiError {
  const tail =
    names.length === 0
      ? 'This index does not have any configured embedders.'
      : `Available embedders are: ${listed(names)}.`
  return new ApiError(code, `The embedder \`${embedder.text}\` does not exist. ${tail}${spanTail(embedder)}`)
}

function noSuchFragment(embedder: Word, fragment: Word, names: readonly string[], code: ErrorCode): ApiError {
  const tail =
    names.length === 0
      ? 'This embedder does not have any configured fragments.'
      : `Available fragments on this embedder are: ${listed(names)}.`
  const message = `The fragment \`${fragment.text}\` does not exist on embedder \`${embedder.text}\`. ${tail}`
  return new ApiError(code, `${message}${spanTail(fragment)}`)
}
