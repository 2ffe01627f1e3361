/** What foreign keys change in a read of one index: its filter before, its answer afterwards. */
import { queryPairs } from '../api/decode-query.ts'
import { ApiError, type ErrorCode } from '../api/errors.ts'
import { filterParameter } from '../api/filter-value.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { isObject } from '../lib/json.ts'
import { joinMembers, splitMembers } from '../lib/json-cut.ts'
import { callOf, type Exchange } from './exchange.ts'
import { ForeignDocuments, mentionsForeign } from './foreign-documents.ts'
import type { RoutePolicy } from './route-policy.ts'

/** A read as it goes to the node. */
export interface ForeignRead {
  readonly search: string
  readonly body: Uint8Array | null
  readonly finish?: (answer: Buffer) => Promise<Buffer>
}

export interface PlacedRead {
  readonly policy: RoutePolicy
  readonly uid: string
  /** What follows the index in the path. */
  readonly suffix: string
  readonly search: string
  readonly body: Uint8Array | null
  /** The project's flag. */
  readonly isOn: boolean
}

/** A longer query string is refused by engines. */
const queryBytesMax = 30_000

/** Routes whose filter may hold conditions on other indexes. */
const filteredRoutes: ReadonlySet<string> = new Set(['/search', '/facet-search', '/documents', '/documents/fetch'])

/** `undefined` = nothing: the project has no foreign keys, or the route knows of none. */
export function foreignRead(exchange: Exchange, read: PlacedRead): Promise<ForeignRead> | undefined {
  const { policy, uid, suffix, search, body, isOn } = read
  if (policy.handler === 'readSettings') {
    if (policy.setting !== 'foreignKeys' && (policy.setting !== undefined || !isOn)) return undefined
    const finish = (answer: Buffer) => withOwnKeys(documentsOf(exchange), uid, policy.setting === undefined, answer)
    return Promise.resolve({ search, body, finish })
  }
  const isSearch = suffix === '/search'
  if (!isOn || !filteredRoutes.has(suffix)) return undefined
  return prepare(documentsOf(exchange), isSearch, read)
}

function documentsOf(exchange: Exchange): ForeignDocuments {
  const { principal, signal } = callOf(exchange)
  return new ForeignDocuments(exchange, principal.project, signal)
}

async function prepare(
  documents: ForeignDocuments,
  isSearch: boolean,
  { uid, suffix, search, body }: PlacedRead,
): Promise<ForeignRead> {
  const code = suffix.startsWith('/documents') ? 'invalid_document_filter' : 'invalid_search_filter'
  const resolved =
    body === null
      ? { search: await resolvedSearch(documents, uid, search, code), body }
      : { search, body: await resolvedBody(documents, uid, Buffer.from(body), code) }
  const isKeyed = isSearch && (await documents.keys(uid)).length > 0
  return isKeyed ? { ...resolved, finish: (answer) => documents.fill(answer, uid) } : resolved
}

async function resolvedBody(
  documents: ForeignDocuments,
  uid: string,
  body: Buffer,
  code: ErrorCode,
): Promise<Uint8Array> {
  if (!mentionsForeign(body)) return body
  const sent = parseJsonBody(body)
  if (!isObject(sent) || sent.filter === undefined || sent.filter === null) return body
  const filter = await documents.resolve(uid, sent.filter, code)
  return filter === sent.filter ? body : Buffer.from(JSON.stringify({ ...sent, filter }))
}

async function resolvedSearch(
  documents: ForeignDocuments,
  uid: string,
  search: string,
  code: ErrorCode,
): Promise<string> {
  const pairs = queryPairs(search)
  const sent = pairs.get('filter')
  if (sent === undefined || !mentionsForeign(sent)) return search
  const asked = filterParameter(sent, { name: 'filter', code: 'invalid_search_filter' })
  const filter = await documents.resolve(uid, asked, code)
  if (filter === asked) return search
  pairs.set('filter', JSON.stringify(Array.isArray(filter) ? filter : [filter]))
  const resolved = new URLSearchParams([...pairs]).toString()
  if (resolved.length <= queryBytesMax) return resolved
  throw new ApiError('bad_request', '`_foreign`: too many documents match the condition for a `GET`. Use `POST`.')
}

/** The engine's answer tells that the index exists; its foreign keys are ours to say. */
async function withOwnKeys(
  documents: ForeignDocuments,
  uid: string,
  isWhole: boolean,
  answer: Buffer,
): Promise<Buffer> {
  const keys = JSON.stringify(await documents.keys(uid))
  if (!isWhole) return Buffer.from(keys)
  const members = splitMembers(answer.toString('utf8'))
  members.delete('foreignKeys')
  const placed = [...members].flatMap(([name, value]): readonly (readonly [string, string])[] =>
    name === 'sortableAttributes'
      ? [
          [name, value],
          ['foreignKeys', keys],
        ]
      : [[name, value]],
  )
  return Buffer.from(joinMembers(placed))
}
