/** Documents of an index for the gateway's own use, whether the index is plain or spread. */
import type { DocumentsQuery } from '../api/documents-query.ts'
import { ApiError } from '../api/errors.ts'
import { assert } from '../lib/assert.ts'
import { splitItems, splitMembers } from '../lib/json-cut.ts'
import { listDocuments } from '../search/documents.ts'
import type { IndexRoute } from '../topology/route-table.ts'
import { askRead, jsonRequest } from '../upstream/ask.ts'
import type { Exchange } from './exchange.ts'
import { NameMap } from './name-map.ts'
import { connectTo, readPlacement } from './placement-choice.ts'
import { badAnswer, engineError, failureError, heldBytesMax, readErrorBody } from './relay.ts'
import { readSpread } from './spread-read.ts'

/** What is asked of documents: `limit`, and which of the others. */
export type Wanted = Pick<DocumentsQuery, 'limit'> & Partial<Pick<DocumentsQuery, 'ids' | 'filter' | 'fields'>>

/**
 * @returns JSON texts.
 * @throws EngineError what the engine has to say, by logical names; ApiError when the index cannot be read now.
 */
export async function documentsOf(
  exchange: Exchange,
  route: IndexRoute,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const answer =
    route.index.spread === null
      ? await askNode(exchange, route, wanted, signal)
      : await askShards(exchange, route, wanted, signal)
  const results = splitMembers(answer).get('results')
  if (results === undefined) throw badAnswer('documents without `results`')
  return splitItems(results)
}

async function askShards(
  exchange: Exchange,
  { index: { uid } }: IndexRoute,
  { limit, ids = null, filter = null, fields = null }: Wanted,
  signal: AbortSignal,
): Promise<string> {
  const { principal } = exchange
  assert(principal !== undefined, 'documents are read for somebody')
  const query = { offset: 0, limit, ids, filter, fields, retrieveVectors: false, sort: null, useNetwork: null }
  const answer = await readSpread({
    ...{ exchange, principal, signal, uids: [uid], operation: 'documents', withMetadata: false },
    answer: (find, options) => {
      const index = find(uid)
      assert(index !== undefined, 'the index that is read is known')
      return listDocuments(index, query, options)
    },
  })
  assert(answer.kind === 'bytes', 'a list of documents is answered with bytes')
  return Buffer.from(answer.body).toString('utf8')
}

async function askNode(exchange: Exchange, route: IndexRoute, wanted: Wanted, signal: AbortSignal): Promise<string> {
  const { parts, table, principal } = exchange
  assert(principal !== undefined, 'documents are read for somebody')
  const placement = readPlacement(route)
  const outcome = await askRead(
    () => connectTo(parts.follower.table, parts.pools, placement, principal.project.id),
    jsonRequest('POST', `/indexes/${placement.physicalUid}/documents/fetch`, wanted),
    { signal, answerBytesMax: heldBytesMax, clock: parts.clock },
  )
  if (outcome.kind !== 'answered') throw failureError(outcome)
  const { status, body } = outcome.reply
  if (status === 200) return body.toString('utf8')
  const sent = readErrorBody(body)
  if (sent?.code === 'index_not_found') throw new ApiError('index_moving', 'An index is being moved. Try again.')
  const names = new NameMap(principal.project, table)
  names.add(route.index.uid, placement.physicalUid)
  throw engineError(status, sent, names, exchange)
}
