/** Templates of embedders: that they can be read, and that a request and its answer fit each other (M-D4). */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { parseDocumentTemplate, parsingMistake } from './document-template.ts'
import { ApiError } from './errors.ts'
import { type InjectedValue, InjectionFault, parseInjectedValue, placeholders } from './injected-value.ts'
import { parseJsonTemplate } from './json-template.ts'
import { TemplateFault } from './liquid-template.ts'

/**
 * @param isWhole  all settings of the embedder, rather than a change of some.
 * @throws ApiError `invalid_settings_embedders`, `vector_embedding_error`
 */
export function checkTemplates(name: string, embedder: JsonObject, isWhole: boolean): void {
  checkDocumentTemplate(name, embedder)
  const indexing = fragmentsIn(embedder.indexingFragments)
  const search = fragmentsIn(embedder.searchFragments)
  const [indexingCount, searchCount] = [Object.keys(indexing).length, Object.keys(search).length]
  if (isWhole && (indexingCount === 0) !== (searchCount === 0)) throw inconsistent(indexing, search)
  const hasFragments = indexingCount + searchCount > 0
  if (hasFragments && !isWhole && typeof embedder.documentTemplate === 'string')
    throw refused(
      `cannot pass both fragments and a document template.\n  - Note: ${indexingCount} fragments declared in \`indexingFragments\` and ${searchCount} fragments declared in \`search_fragments_len\`.\n  - Hint: remove the declared fragments or remove the \`documentTemplate\``,
    )
  const { request, response } = embedder
  if (request === undefined || request === null) return
  refusing(() => {
    const parsed = parseRequest(request, embedder, hasFragments, isWhole)
    if (hasFragments) {
      for (const [fragment, value] of Object.entries(indexing))
        parseJsonTemplate(value, `.indexingFragments.${fragment}`)
      for (const [fragment, value] of Object.entries(search)) parseJsonTemplate(value, `.searchFragments.${fragment}`)
    }
    if (response !== undefined && response !== null) checkResponse(response, parsed)
  })
}

export function checkDocumentTemplate(name: string, { documentTemplate }: JsonObject): void {
  if (typeof documentTemplate !== 'string') return
  try {
    parseDocumentTemplate(documentTemplate)
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error
    throw new ApiError(
      'invalid_settings_embedders',
      `\`.embedders.${name}.documentTemplate\`: Invalid template: ${parsingMistake(error)}.`,
      { cause: error },
    )
  }
}

/** A change may leave out the fragments that are there: then either kind of request will do. */
function parseRequest(request: Json, embedder: JsonObject, hasFragments: boolean, isWhole: boolean): InjectedValue {
  const isReset = embedder.indexingFragments === null || embedder.searchFragments === null
  if (!hasFragments && !isReset && !isWhole) {
    try {
      return parseInjectedValue(request, 'request', placeholders.fragment)
    } catch (error) {
      if (!(error instanceof InjectionFault)) throw error
    }
  }
  try {
    return parseInjectedValue(request, 'request', hasFragments ? placeholders.fragment : placeholders.text)
  } catch (error) {
    if (!(error instanceof InjectionFault)) throw error
    const note = hasFragments
      ? 'this template is using fragments, and so expects to contain the placeholder "{{fragment}}" rathern than "{{text}}"'
      : 'this template is using a document template, and so expects to contain the placeholder "{{text}}" rather than "{{fragment}}"'
    throw new InjectionFault(`${error.message}\n  - Note: ${note}`, { cause: error })
  }
}

function checkResponse(response: Json, request: InjectedValue): void {
  const { kind } = parseInjectedValue(response, 'response', placeholders.embedding)
  if (kind === request.kind) return
  throw new InjectionFault(
    kind === 'array'
      ? 'in `response`: `response` has multiple embeddings, but `request` has only one text to embed'
      : 'in `response`: `response` has a single embedding, but `request` has multiple texts to embed',
  )
}

function refusing(check: () => void): void {
  try {
    check()
  } catch (error) {
    if (!(error instanceof InjectionFault || error instanceof TemplateFault)) throw error
    throw refused(error.message)
  }
}

function inconsistent(indexing: JsonObject, search: JsonObject): ApiError {
  const [has, lacks, fragments, dash] =
    Object.keys(indexing).length === 0
      ? ['searchFragments', 'indexingFragments', search, '  -']
      : ['indexingFragments', 'searchFragments', indexing, ' -']
  const names = Object.keys(fragments).sort()
  const shown = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`
  return refused(
    `inconsistent fragments: \`${lacks}\` is empty, but \`${has}\` declares ${names.length} fragments: ${shown}\n${dash} Hint: declare at least one fragment in \`${lacks}\` or remove fragments from \`${has}\` by setting them to \`null\``,
  )
}

/** Fragments that are not removed, without the object around their template. */
export function fragmentsIn(value: Json | undefined): JsonObject {
  if (value === undefined || !isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, fragment]): [string, Json][] =>
      isObject(fragment) && fragment.value !== undefined ? [[name, fragment.value]] : [],
    ),
  )
}

const refused = (what: string): ApiError =>
  new ApiError('vector_embedding_error', `Error while generating embeddings: user error: ${what}`)
