/** `POST /render-template` (M-H8): which template, and what is put into it. */
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import {
  bodyRoot,
  type Decoder,
  integer,
  invalidValue,
  json,
  object,
  oneOf,
  optional,
  orNull,
  string,
} from './decode.ts'
import { documentScope, parseDocumentTemplate, parsingMistake } from './document-template.ts'
import { ApiError } from './errors.ts'
import { type Features, featureNotEnabled } from './features.ts'
import { indexUid } from './index-uid.ts'
import { type JsonTemplate, parseJsonTemplate } from './json-template.ts'
import { liquidValue, TemplateFault } from './liquid-template.ts'

export interface RenderedTemplate {
  readonly kind:
    | 'documentTemplate'
    | 'chatDocumentTemplate'
    | 'indexingFragment'
    | 'searchFragment'
    | 'inlineDocumentTemplate'
    | 'inlineFragment'
  readonly indexUid: string | null
  readonly embedder: string | null
  readonly fragment: string | null
  readonly inline: Json
  readonly documentTemplateMaxBytes: number | null
}

export interface RenderInput {
  readonly kind: 'indexDocument' | 'inlineDocument' | 'inlineSearch'
  readonly indexUid: string | null
  readonly id: string | null
  readonly inline: Json
}

export interface RenderQuery {
  readonly template: RenderedTemplate
  readonly input: RenderInput | null
}

const nonZero: Decoder<number> = (value, at) => {
  const decoded = integer(value, at)
  if (decoded > 0) return decoded
  throw invalidValue('a non-zero integer value lower than `18446744073709551615` was expected, but found a zero', at)
}

const body = object<RenderQuery>({
  template: {
    decode: object<RenderedTemplate>({
      kind: {
        decode: oneOf(
          'documentTemplate',
          'chatDocumentTemplate',
          'indexingFragment',
          'searchFragment',
          'inlineDocumentTemplate',
          'inlineFragment',
        ),
      },
      indexUid: orNull(indexUid),
      embedder: orNull(string),
      fragment: orNull(string),
      inline: optional(json, null),
      documentTemplateMaxBytes: orNull(nonZero),
    }),
    code: 'invalid_render_template',
    missing: 'bad_request',
  },
  input: orNull(
    object<RenderInput>({
      kind: { decode: oneOf('indexDocument', 'inlineDocument', 'inlineSearch') },
      indexUid: orNull(indexUid),
      id: orNull(string),
      inline: optional(json, null),
    }),
    'invalid_render_input',
  ),
})

/** @throws ApiError `invalid_render_template`, `invalid_render_input`, and what the flags do not allow. */
export function decodeRenderQuery(sent: Json, features: Features): RenderQuery {
  const query = body(sent, bodyRoot)
  checkTemplate(query.template, features)
  if (query.input !== null) checkInput(query.input, features)
  return query
}

/** A parameter as messages name it, and whether it is there. */
type Parameter = readonly [string, unknown]

function checkParameters(what: 'template' | 'input', kind: string, needed: Parameter[], unwanted: Parameter[]): void {
  const fail = (parameter: string, why: string) =>
    new ApiError(
      what === 'template' ? 'invalid_render_template' : 'invalid_render_input',
      `error while fetching ${what}: parameter \`${parameter}\` ${why} for kind \`${kind}\``,
    )
  // Of documents, what is missing is told first.
  const disallowed = unwanted.find(([, value]) => value !== null)
  if (disallowed !== undefined && kind !== 'indexDocument') throw fail(disallowed[0], 'disallowed')
  const missing = needed.find(([, value]) => value === null)
  if (missing !== undefined) throw fail(missing[0], 'missing')
  if (disallowed !== undefined) throw fail(disallowed[0], 'disallowed')
}

function checkTemplate(template: RenderedTemplate, features: Features): void {
  const { kind } = template
  const need = (feature: 'chatCompletions' | 'multimodal', action: string) => {
    if (features[feature]) return
    const { message } = featureNotEnabled(feature, action)
    throw new ApiError('feature_not_enabled', `error while fetching template: ${message}`)
  }
  const index: Parameter = ['index_uid', template.indexUid]
  const embedder: Parameter = ['embedder', template.embedder]
  const fragment: Parameter = ['fragment', template.fragment]
  const inline: Parameter = ['inline', template.inline]
  const bytes: Parameter = ['document_template_max_bytes', template.documentTemplateMaxBytes]
  switch (kind) {
    case 'documentTemplate':
      checkParameters('template', kind, [index, embedder], [fragment, inline])
      break
    case 'chatDocumentTemplate':
      need('chatCompletions', 'accessing chat settings')
      checkParameters('template', kind, [index], [embedder, fragment, inline])
      break
    case 'indexingFragment':
    case 'searchFragment':
      need('multimodal', 'accessing fragments')
      checkParameters('template', kind, [index, embedder, fragment], [inline, bytes])
      break
    case 'inlineDocumentTemplate':
      checkParameters('template', kind, [inline], [index, embedder, fragment])
      break
    case 'inlineFragment':
      need('multimodal', 'rendering an inline fragment')
      checkParameters('template', kind, [inline], [index, embedder, fragment, bytes])
      break
  }
}

function checkInput(input: RenderInput, features: Features): void {
  const index: Parameter = ['index_uid', input.indexUid]
  const id: Parameter = ['id', input.id]
  const inline: Parameter = ['inline', input.inline]
  switch (input.kind) {
    case 'indexDocument':
      checkParameters('input', input.kind, [['indexUid', input.indexUid], id], [inline])
      break
    case 'inlineDocument':
      checkParameters('input', input.kind, [inline], [index, id])
      break
    case 'inlineSearch':
      if (!features.multimodal)
        throw new ApiError(
          'feature_not_enabled',
          `error while fetching input: ${featureNotEnabled('multimodal', 'rendering search').message}`,
        )
      checkParameters('input', input.kind, [inline], [index, id])
      break
  }
}

/** What a template is, wherever it came from. */
export type FoundTemplate =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'fragment'; readonly value: Json }

/** What is put into it; `isSearchable` is of the document's index. */
export type FoundInput =
  | { readonly kind: 'document'; readonly document: JsonObject; readonly isSearchable: (field: string) => boolean }
  | { readonly kind: 'search'; readonly query: JsonObject }

/** The template of a request that names no index. @throws ApiError */
export function inlineTemplate({ kind, inline }: RenderedTemplate): FoundTemplate {
  if (kind === 'inlineFragment') return { kind: 'fragment', value: inline }
  if (typeof inline === 'string') return { kind: 'text', text: inline }
  throw new ApiError(
    'invalid_render_template',
    'error while fetching template: inline document templates must be strings',
  )
}

/** The input of a request that names no index. @throws ApiError */
export function inlineInput({ kind, inline }: RenderInput): FoundInput {
  const isSearch = kind === 'inlineSearch'
  if (!isObject(inline)) {
    const note = isSearch
      ? 'the inline search query must be a JSON map containing `q` and/or `media`'
      : 'the inline document must be a JSON map'
    throw new ApiError(
      'invalid_render_input',
      `error while fetching input: parsing inline ${isSearch ? 'search' : 'document'}: ${notAMap(inline)}\n  - Note: ${note}`,
    )
  }
  // No index says which fields are searched.
  if (!isSearch) return { kind: 'document', document: inline, isSearchable: () => true }
  if (inline.q !== undefined && typeof inline.q !== 'string')
    throw new ApiError('invalid_render_input', 'error while fetching input: `q` is not a string')
  return { kind: 'search', query: inline }
}

/** As the reference's parser says it. */
function notAMap(value: Json): string {
  const text = JSON.stringify(value)
  const word = Array.isArray(value)
    ? 'sequence'
    : typeof value === 'string'
      ? `string ${text}`
      : typeof value === 'boolean'
        ? `boolean \`${text}\``
        : value === null
          ? 'null'
          : `${Number.isInteger(value) ? 'integer' : 'floating point'} \`${text}\``
  return `invalid type: ${word}, expected a map at line 1 column ${Array.isArray(value) ? 0 : text.length}`
}

/**
 * The answer of the route.
 *
 * @param msMax  that the rendering may take.
 * @throws ApiError `template_parsing_error`, `template_rendering_error`
 */
export function renderTemplate(template: FoundTemplate, input: FoundInput | null, msMax?: number): JsonObject {
  const shown = template.kind === 'text' ? template.text : template.value
  const render = parsed(template, msMax)
  if (input === null) return { template: shown, rendered: null }
  try {
    return { template: shown, rendered: render(input) }
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error
    throw new ApiError('template_rendering_error', `error while rendering template: ${error.message}`, { cause: error })
  }
}

function parsed(template: FoundTemplate, msMax: number | undefined): (input: FoundInput) => Json {
  try {
    if (template.kind === 'fragment') {
      const fragment = parseJsonTemplate(template.value, '')
      return (input) => renderFragment(fragment, input, msMax)
    }
    const text = parseDocumentTemplate(template.text)
    return (input) => {
      if (input.kind === 'search') throw new TemplateFault('cannot render a document template with a search query')
      try {
        return text.render(input.document, input.isSearchable, msMax)
      } catch (error) {
        if (!(error instanceof TemplateFault)) throw error
        throw new TemplateFault(`user error: missing field in document: ${error.message}`, { cause: error })
      }
    }
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error
    const why = template.kind === 'text' ? parsingMistake(error) : error.message
    throw new ApiError('template_parsing_error', `error while fetching template: ${why}`, { cause: error })
  }
}

function renderFragment(fragment: JsonTemplate, input: FoundInput, msMax: number | undefined): Json {
  if (input.kind === 'document') return fragment.render(documentScope(input.document), '', msMax)
  const { q, media } = input.query
  const scope = { ...(q === undefined ? {} : { q }), ...(media === undefined ? {} : { media: liquidValue(media) }) }
  return fragment.render(scope, '', msMax)
}
