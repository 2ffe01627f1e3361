/**
 * What nodes refuse, in the words of one node that holds everything: asked for without a shard's condition, which would move
 * the places that messages name, and without what only nodes know of an index.
 */
import type { ErrorBody } from '../api/errors.ts'
import type { IndexSettings } from '../api/index-settings.ts'
import { isFilterableField } from './hidden-distinct.ts'
import {
  type Leg,
  type LegReply,
  NodesDisagree,
  type ReadOptions,
  RefusedByNode,
  readJson,
  type SearchedIndex,
} from './leg.ts'
import { isReservedName, reveal } from './reserved-names.ts'

/**
 * @param replies  of the legs, in the order of the index's targets; at least one is no answer.
 * @param probe  the same request without clause, that gives no hits.
 */
export async function refusal(
  index: SearchedIndex,
  replies: readonly LegReply[],
  probe: Leg,
  { ask, signal }: ReadOptions,
): Promise<Error> {
  const at = replies.findIndex(isRefusal)
  const refused = replies[at]
  const own = refused === undefined ? undefined : errorOf(refused)
  // A node without the index is behind or ahead; clients are told of indexes by the catalogue alone.
  if (refused === undefined || own === undefined || own.code === 'index_not_found')
    return new NodesDisagree(`a leg of ${index.uid} was refused`)
  if (index.spread === null) return new RefusedByNode(refused.status, own)
  const target = replies.length === 1 ? probe.target : (index.coverage[at]?.id ?? probe.target)
  const reply = await ask({ ...probe, target }, signal)
  const error = errorOf(reply)
  const isShared = replies.every(isRefusal) || dependsOnDocuments(own, index.settings)
  if (reply.status < 400 || error === undefined || error.code !== own.code || !isShared)
    return new NodesDisagree(`some nodes of ${index.uid} refuse what others answer: ${own.code}`)
  return new RefusedByNode(reply.status, { ...error, message: clientMessage(error, index.settings) })
}

/**
 * A condition is looked at only while the conditions before it let some document through, so one node may refuse a filter
 * that others answer. One node with everything refuses it as well, unless it knows the attribute as filterable.
 */
function dependsOnDocuments({ code, message }: ErrorBody, settings: IndexSettings): boolean {
  if (!code.endsWith('_filter')) return false
  const [, name] = /Attribute `([^`]*)` is not filterable/.exec(reveal(message, settings)) ?? []
  return name === undefined || !isFilterableField(settings, name)
}

function errorOf(reply: LegReply): ErrorBody | undefined {
  if (reply.status < 400) return undefined
  const { message, code, type, link } = readJson(reply.body)
  if (typeof message !== 'string' || typeof code !== 'string' || typeof link !== 'string') return undefined
  const kind = type === 'auth' || type === 'internal' || type === 'system' ? type : 'invalid_request'
  return { message, code, type: kind, link }
}

interface NameList {
  /** Before the list. */
  readonly start: string
  /** Default: a comma. */
  readonly between?: string
  /** Fields that are not displayed are only hinted at. */
  readonly hides: boolean
  /** Instead of start and list, when there is nothing to show. */
  readonly empty: string | null
}

const lists: readonly NameList[] = [
  {
    start: 'Available filterable attributes patterns are: `',
    hides: false,
    empty: 'This index does not have configured filterable attributes.',
  },
  {
    start: 'Available filterable attribute patterns are: `',
    between: '`, `',
    hides: false,
    empty: 'This index does not have configured filterable attributes.',
  },
  {
    start: 'Available facet-searchable attributes patterns are: `',
    hides: true,
    empty: 'This index does not have configured facet-searchable attributes.',
  },
  {
    start: 'Available sortable attributes are: `',
    hides: true,
    empty: 'This index does not have configured sortable attributes.',
  },
  { start: 'Available searchable attributes are: `', hides: true, empty: null },
]

/** A message of a node as one node with the client's settings would write it. */
export function clientMessage({ message, code }: Pick<ErrorBody, 'message' | 'code'>, settings: IndexSettings): string {
  const hidesFilterable = message.includes('cannot be used as distinct attribute')
  const clean = lists.reduce((text, list) => {
    // Lists of documents show every field, and so do their messages.
    const hides = code !== 'invalid_document_sort' && (list.hides || (hidesFilterable && list === lists[0]))
    return cleanList(text, { ...list, hides }, settings)
  }, message)
  return reveal(clean, settings)
}

function cleanList(
  message: string,
  { start, between = ', ', hides, empty }: NameList,
  settings: IndexSettings,
): string {
  const at = message.indexOf(start)
  const end = message.indexOf('`.', at + start.length)
  if (at < 0 || end < 0) return message
  const listed = message.slice(at + start.length, end)
  const own = start.includes('filterable') || start.includes('facet-searchable') ? filterablePatterns(settings) : null
  const all = listed === '' ? [] : listed.split(between)
  const named = all.filter((name) => !isReservedName(name) && (own === null || own.has(name)))
  const { displayedAttributes } = settings
  const shown =
    !hides || displayedAttributes.includes('*') ? named : named.filter((name) => displayedAttributes.includes(name))
  const hint = shown.length < named.length ? ', <..hidden-attributes>' : ''
  if (shown.length === 0 && empty !== null) return message.slice(0, at) + empty + message.slice(end + 2)
  return message.slice(0, at) + start + shown.join(between) + hint + message.slice(end)
}

/** Nodes may filter by a distinct attribute that the client's settings do not name, or name by what stands above it. */
const filterablePatterns = ({ filterableAttributes }: IndexSettings): ReadonlySet<string> =>
  new Set(filterableAttributes.flatMap(({ attributePatterns }) => attributePatterns))

export const isRefusal = ({ status }: LegReply): boolean => status >= 400
