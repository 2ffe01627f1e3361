/** `POST /render-template` over indexes (M-H8): in a search worker of an engine, or in a gateway over several nodes. */
import { defaultDocumentTemplate } from '../api/document-template.ts'
import { fragmentsIn } from '../api/embedder-templates.ts'
import { ApiError } from '../api/errors.ts'
import type { IndexSettings } from '../api/index-settings.ts'
import {
  type FoundInput,
  type FoundTemplate,
  inlineInput,
  inlineTemplate,
  type RenderedTemplate,
  type RenderInput,
  type RenderQuery,
  renderTemplate,
} from '../api/render-query.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { searchWeight } from './field-rules.ts'
import type { LmdbIndexReader } from './lmdb-index-reader.ts'

/** What rendering needs of an index. */
export interface RenderedIndex {
  readonly settings: IndexSettings
  /** The setting, as far as the client gave it. */
  readonly chat: JsonObject
  /** `undefined` = there is none of this id. */
  document(id: string): JsonObject | undefined
}

type Find = (uid: string) => RenderedIndex | undefined

export function renderedIndex(reader: LmdbIndexReader | undefined): RenderedIndex | undefined {
  if (reader === undefined) return undefined
  return {
    settings: reader.settings,
    chat: objectOf(reader.snapshot.facts.settings.chat),
    document(id) {
      const docid = reader.docidOf(id)
      return docid === undefined ? undefined : ((reader.document(docid) ?? {}) as JsonObject)
    },
  }
}

/**
 * @param msMax  that the rendering may take; absent = no bound.
 * @throws ApiError
 */
export function runRenderTemplate(find: Find, { template, input }: RenderQuery, msMax?: number): JsonObject {
  const found = findTemplate(find, template)
  return renderTemplate(found, input === null ? null : findInput(find, input), msMax)
}

function findTemplate(find: Find, template: RenderedTemplate): FoundTemplate {
  const { kind, indexUid, embedder: name } = template
  if (indexUid === null) return inlineTemplate(template)
  const index = find(indexUid)
  if (index === undefined)
    throw new ApiError(
      'index_not_found',
      `error while fetching template: cannot open index \`${indexUid}\`: Index \`${indexUid}\` not found.`,
    )
  if (kind === 'chatDocumentTemplate') {
    return { kind: 'text', text: textOr(index.chat.documentTemplate, defaultDocumentTemplate) }
  }
  const embedder = index.settings.embedders[name ?? '']
  const where = `\`${name}\` in index \`${indexUid}\``
  if (embedder === undefined) {
    if (kind === 'searchFragment') throw refused(missingFragment('indexing', template))
    throw refused(`cannot find embedder ${where}`)
  }
  const half = (field: string) => (embedder.source === 'composite' ? objectOf(embedder[field]) : embedder)
  const indexing = half('indexingEmbedder')
  const fragments = fragmentsIn(indexing.indexingFragments)
  const hasFragments = Object.keys(fragments).length > 0
  if (kind === 'documentTemplate') {
    if (indexing.source === 'userProvided' || hasFragments)
      throw refused(`embedder ${where} does not use a document template.`)
    return { kind: 'text', text: textOr(indexing.documentTemplate, defaultDocumentTemplate) }
  }
  if (!hasFragments) throw refused(`embedder ${where} does not use fragments.`)
  const isIndexing = kind === 'indexingFragment'
  const value = (isIndexing ? fragments : fragmentsIn(half('searchEmbedder').searchFragments))[template.fragment ?? '']
  if (value === undefined) throw refused(missingFragment(isIndexing ? 'indexing' : 'search', template))
  return { kind: 'fragment', value }
}

const missingFragment = (kind: string, { fragment, embedder, indexUid }: RenderedTemplate): string =>
  `cannot find ${kind} fragment \`${fragment}\` for embedder \`${embedder}\` in index \`${indexUid}\``

function findInput(find: Find, input: RenderInput): FoundInput {
  const { indexUid, id } = input
  if (input.kind !== 'indexDocument' || indexUid === null) return inlineInput(input)
  const index = find(indexUid)
  if (index === undefined)
    throw new ApiError('index_not_found', `Cannot open index \`${indexUid}\`: Index \`${indexUid}\` not found.`)
  const document = index.document(id ?? '')
  if (document === undefined)
    throw new ApiError(
      'render_document_not_found',
      `error while fetching input: document \`${id}\` not found in \`${indexUid}\``,
    )
  return { kind: 'document', document, isSearchable: (field) => searchWeight(index.settings, field) !== undefined }
}

const refused = (why: string): ApiError =>
  new ApiError('invalid_render_template', `error while fetching template: ${why}`)

const objectOf = (value: Json | undefined): JsonObject => (value !== undefined && isObject(value) ? value : {})
const textOr = (value: Json | undefined, fallback: string): string => (typeof value === 'string' ? value : fallback)
