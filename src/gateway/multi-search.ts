/**
 * `POST /multi-search` (M-F20, P-13): every query authorised and filtered by itself, grouped by node, sent in parallel and
 * put together in the order of the request. Queries that all live on one node are forwarded as one request.
 */

import { ApiError, type ErrorBody } from '../api/errors.ts'
import { featureNotEnabled } from '../api/features.ts'
import { parseFilter } from '../api/filter.ts'
import { indexNotFound } from '../api/index-uid.ts'
import { parseJsonBody } from '../api/json-text.ts'
import {
  checkFederatedIndexes,
  decodeMultiSearch,
  insideQuery,
  type MultiSearch,
  missingIndexStatus,
} from '../api/multi-search-query.ts'
import { headerNames } from '../api/names.ts'
import { encodeRuledSearch } from '../api/ruled-search.ts'
import type { SearchRule } from '../api/search-rule.ts'
import { joinFilters } from '../api/tenant-token.ts'
import { forcedFilter, invalidKey, seesIndex } from '../control/principal.ts'
import { assert } from '../lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { multiSearch as searchTogether } from '../search/multi-search.ts'
import type { NodeId, Placement } from '../store/catalogue.ts'
import { askRead, jsonRequest } from '../upstream/ask.ts'
import type { NodeRequest } from '../upstream/connection-pool.ts'
import { type Answer, json } from './answer.ts'
import type { Call, Handler } from './exchange.ts'
import { mergeFederated } from './federated-merge.ts'
import { checkFilterFlags } from './filter-flags.ts'
import { ForeignDocuments } from './foreign-documents.ts'
import { answerPlaces } from './index-places.ts'
import { compilePlaces, elementsOf } from './json-splice.ts'
import { NameMap } from './name-map.ts'
import { connectTo, readPlacement } from './placement-choice.ts'
import { badAnswer, EngineError, engineError, failureError, heldBytesMax, readErrorBody, translate } from './relay.ts'
import { checkJsonType, readBody } from './request-body.ts'
import { asksMetadata } from './request-headers.ts'
import { renamedRules, ruledHeader, searchRulesOf, takesRules } from './search-rules.ts'
import { readSpread } from './spread-read.ts'

const plainPlaces = compilePlaces(answerPlaces.multiSearch)
const federatedPlaces = compilePlaces(answerPlaces.federatedSearch)

/** Queries of one request; more are refused rather than fanned out without a bound. */
const queriesMax = 1_000

interface PlacedQuery {
  readonly position: number
  readonly placement: Placement
  /** As sent, with the physical name and the forced filter. */
  readonly body: JsonObject
}

/** One request to one node. */
interface Leg {
  readonly placement: Placement
  /** Those that may change its searches, by logical names. */
  readonly rules: readonly SearchRule[]
  readonly queries: PlacedQuery[]
}

export const multiSearch: Handler = async (call) => {
  checkJsonType(call.headers)
  return answerMultiSearch(call, parseJsonBody(await readBody(call.exchange.request, call.parts.limits.searchBytesMax)))
}

/** @param sent  a request's body, by the names that the project knows. */
export async function answerMultiSearch(call: Call, sent: Json): Promise<Answer> {
  const { principal, exchange, signal } = call
  if (principal.project.features.foreignKeys !== true) return searchAll(call, sent, undefined)
  const foreign = new ForeignDocuments(exchange, principal.project, signal)
  const answer = await searchAll(call, sent, foreign)
  const body =
    answer.kind === 'json' ? Buffer.from(JSON.stringify(answer.body)) : answer.kind === 'bytes' && answer.body
  assert(body, 'a multi-search is answered with a body')
  return { kind: 'bytes', status: 200, contentType: 'application/json', body: await foreign.fill(body, null) }
}

async function searchAll(call: Call, sent: Json, foreign: ForeignDocuments | undefined): Promise<Answer> {
  const { project } = call.principal
  const decoded = decodeMultiSearch(sent, (read) =>
    checkFederatedIndexes(read, project.features, (uid, position) => {
      if (!seesIndex(call.principal, uid)) throw inside(position, invalidKey().body, 403)
      return call.exchange.table.index(project.id, uid) !== undefined
    }),
  )
  assert(isObject(sent) && Array.isArray(sent.queries), 'a decoded multi-search has queries')
  if (decoded.queries.length > queriesMax) {
    throw new ApiError('bad_request', `A multi-search holds at most ${queriesMax} queries.`)
  }
  refuseRemotes(call, decoded)
  const { table, parts } = call.exchange
  const uids = [...new Set(decoded.queries.map(({ indexUid }) => indexUid))]
  const spread = spreadAmong(call, decoded)
  if (spread !== undefined) return searchSpread(call, sent, decoded, spread, foreign)
  const names = new NameMap(call.principal.project, call.exchange.table)
  const bodies: readonly Json[] = sent.queries
  const placed = decoded.queries.map((query, position) =>
    placeQuery(call, names, query.indexUid, position, bodies[position] ?? null),
  )
  const queries =
    foreign === undefined ? placed : await withoutForeign(placed, foreign, names, decoded.federation !== null)
  const rules = searchRulesOf(project, uids, parts.clock.now())
  const legs = groupByNode(queries, (id) => (takesRules[table.node(id)?.engine ?? 'embedded'] ? rules : []))
  const federation = sent.federation
  if (federation !== undefined && federation !== null && isObject(federation)) {
    const physical = physicalFederation(federation, names)
    if (legs.length <= 1) return whole(call, names, legs[0], physical)
    return mergeFederated({
      query: decoded,
      federation: physical,
      legs,
      names,
      send: (leg, body) => ask(call, leg, body, names),
      requestUid: call.parts.random.uuid(),
    })
  }
  if (legs.length === 0) return json(200, { results: [] })
  if (legs.length === 1) return whole(call, names, legs[0], undefined)
  return reassemble(call, names, legs, queries.length)
}

/** Names of all indexes, when one of them is spread. */
function spreadAmong({ exchange, principal }: Call, { queries }: MultiSearch): readonly string[] | undefined {
  const uids = [...new Set(queries.map(({ indexUid }) => indexUid))]
  const isSpread = (uid: string) => (exchange.table.index(principal.project.id, uid)?.index.spread ?? null) !== null
  return uids.some(isSpread) ? uids : undefined
}

/** Several shards answer some query: every query is a read of its own, put together by `search`. */
async function searchSpread(
  call: Call,
  sent: Json,
  decoded: MultiSearch,
  uids: readonly string[],
  foreign: ForeignDocuments | undefined,
): Promise<Answer> {
  const { exchange, principal, signal, headers } = call
  const { metrics } = call.parts.spread
  metrics.onMultiSearch(decoded.queries.length)
  const checked = decoded.queries.map((query, position) => {
    const uid = query.indexUid
    if (!seesIndex(principal, uid)) throw inside(position, invalidKey().body, 403)
    if (exchange.table.index(principal.project.id, uid) === undefined)
      throw inside(position, indexNotFound(uid).body, missingIndexStatus(principal.project.features))
    rethrowFlags(position, () => checkFilterFlags(query.filter, principal.project.features))
    const forced = forcedFilter(principal, uid)
    return forced === null ? query : { ...query, filter: joinFilters(forced, query.filter) }
  })
  const queries = foreign === undefined ? checked : await resolvedQueries(checked, foreign, decoded.federation !== null)
  const withMetadata = asksMetadata(headers)
  const answer = await readSpread({
    ...{ exchange, principal, signal, uids, operation: 'search', withMetadata },
    // Conditions on other indexes stand in the filters as what they came to.
    question: () => ({ multiSearch: sent, filters: queries.map(({ filter }) => filter) }),
    answer: (find, options) => searchTogether(find, { ...decoded, queries }, options),
  })
  if (answer.headers?.[headerNames.degraded] !== undefined) metrics.onPartialMultiSearch()
  return answer
}

/** Topology belongs to the operator: a query cannot choose a server. */
function refuseRemotes(call: Call, { queries }: MultiSearch): void {
  const isOn = call.principal.project.features.network === true
  queries.forEach(({ federationOptions, useNetwork }, position) => {
    const isRemote = (federationOptions?.remote ?? null) !== null
    if (!isRemote && useNetwork !== true) return
    const action = isRemote ? 'Performing a remote federated search' : 'passing `useNetwork` in a search query'
    if (!isOn) throw inside(position, featureNotEnabled('network', action).body, 400)
    throw new ApiError(
      'feature_not_available',
      `${insideQuery(position)}\`remote\` and \`useNetwork\` are not available here.`,
    )
  })
}

function placeQuery(call: Call, names: NameMap, uid: string, position: number, sent: Json): PlacedQuery {
  const { principal, exchange } = call
  if (!seesIndex(principal, uid)) throw inside(position, invalidKey().body, 403)
  const route = exchange.table.index(principal.project.id, uid)
  if (route === undefined)
    throw inside(position, indexNotFound(uid).body, missingIndexStatus(principal.project.features))
  const placement = readPlacement(route)
  assert(isObject(sent), 'a decoded query is an object')
  rethrowFlags(position, () => checkFilterFlags(sent.filter ?? null, principal.project.features))
  const forced = forcedFilter(principal, uid)
  const filter = forced === null ? {} : { filter: joinFilters(forced, sent.filter ?? null) }
  return { position, placement, body: { ...sent, ...filter, indexUid: names.add(uid, placement.physicalUid) } }
}

/** Conditions on other indexes resolved, one query after the other. */
async function withoutForeign(
  queries: readonly PlacedQuery[],
  foreign: ForeignDocuments,
  names: NameMap,
  isFederated: boolean,
): Promise<readonly PlacedQuery[]> {
  if (isFederated) for (const { position, body } of queries) checkFilter(position, body.filter ?? null)
  const resolved: PlacedQuery[] = []
  for (const query of queries) {
    const { position, body, placement } = query
    const uid = names.toLogical(placement.physicalUid)
    const filter = await resolveFilter(foreign, isFederated ? null : position, uid, body.filter ?? null)
    resolved.push({ ...query, body: { ...body, filter } })
  }
  return resolved
}

/** The same of queries that are not for one node each. */
async function resolvedQueries(
  queries: MultiSearch['queries'],
  foreign: ForeignDocuments,
  isFederated: boolean,
): Promise<MultiSearch['queries']> {
  if (isFederated) for (const [position, { filter }] of queries.entries()) checkFilter(position, filter)
  const resolved: MultiSearch['queries'][number][] = []
  for (const [position, query] of queries.entries()) {
    resolved.push({
      ...query,
      filter: await resolveFilter(foreign, isFederated ? null : position, query.indexUid, query.filter),
    })
  }
  return resolved
}

/** @param position  null: what is wrong with another index is told without the place of a federated query. */
async function resolveFilter(
  foreign: ForeignDocuments,
  position: number | null,
  uid: string,
  filter: Json,
): Promise<Json> {
  try {
    return await foreign.resolve(uid, filter, 'invalid_search_filter')
  } catch (error) {
    if (position === null) throw error
    if (error instanceof EngineError) throw inside(position, error.body, error.status)
    throw error instanceof ApiError ? inside(position, error.body, error.status) : error
  }
}

const checkFilter = (position: number, filter: Json): void =>
  rethrowFlags(position, () => void parseFilter(filter, 'invalid_search_filter'))

function rethrowFlags(position: number, check: () => void): void {
  try {
    check()
  } catch (error) {
    throw error instanceof ApiError ? inside(position, error.body, error.status) : error
  }
}

/** A query's error has a status of its own. */
function inside(position: number, error: ErrorBody, status: number): EngineError {
  return new EngineError(status, { ...error, message: `${insideQuery(position)}${error.message}` }, undefined)
}

function groupByNode(
  queries: readonly PlacedQuery[],
  rulesOf: (node: NodeId) => readonly SearchRule[],
): readonly Leg[] {
  const legs = new Map<string, Leg>()
  for (const query of queries) {
    const { placement } = query
    const { node } = placement
    const leg = legs.get(node)
    if (leg === undefined) legs.set(node, { placement, rules: rulesOf(node), queries: [query] })
    else leg.queries.push(query)
  }
  return [...legs.values()]
}

function physicalFederation(federation: JsonObject, names: NameMap): JsonObject {
  const { facetsByIndex } = federation
  if (facetsByIndex === undefined || !isObject(facetsByIndex)) return federation
  const renamed = Object.entries(facetsByIndex).map(([uid, facets]) => [names.toPhysical(uid), facets])
  return { ...federation, facetsByIndex: Object.fromEntries(renamed) }
}

/** Everything on one node (or nothing anywhere): one request, one answer. */
async function whole(
  call: Call,
  names: NameMap,
  leg: Leg | undefined,
  federation: JsonObject | undefined,
): Promise<Answer> {
  if (leg === undefined) return emptyFederation(call, federation)
  const queries = leg.queries.map(({ body }) => body)
  const answer = await ask(call, leg, { queries, ...(federation === undefined ? {} : { federation }) }, names)
  const places = federation === undefined ? plainPlaces : federatedPlaces
  return { kind: 'bytes', status: 200, contentType: 'application/json', body: translate(answer, places, names) }
}

function emptyFederation(call: Call, federation: JsonObject | undefined): Answer {
  const { offset = 0, limit = 20 } = federation ?? {}
  const requestUid = call.parts.random.uuid()
  return json(200, { hits: [], processingTimeMs: 0, limit, offset, estimatedTotalHits: 0, requestUid })
}

async function reassemble(call: Call, names: NameMap, legs: readonly Leg[], count: number): Promise<Answer> {
  const outcomes = await Promise.all(
    legs.map(async (leg) => {
      try {
        return await ask(call, leg, { queries: leg.queries.map(({ body }) => body) }, names)
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error))
      }
    }),
  )
  const failures = outcomes.flatMap((outcome) => (outcome instanceof Error ? [outcome] : []))
  if (failures.length > 0) throw firstFailure(failures)
  const results: Buffer[] = new Array<Buffer>(count)
  outcomes.forEach((outcome, at) => {
    if (outcome instanceof Error) return
    const elements = elementsOf(translate(outcome, plainPlaces, names), 'results')
    const { queries } = legs[at]!
    if (elements?.length !== queries.length)
      throw badAnswer(`${elements?.length} results for ${queries.length} queries`)
    queries.forEach(({ position }, index) => {
      results[position] = elements[index]!
    })
  })
  const pieces = results.flatMap((result, at) => (at === 0 ? [result] : [Buffer.from(','), result]))
  const body = Buffer.concat([Buffer.from('{"results":['), ...pieces, Buffer.from(']}')])
  return { kind: 'bytes', status: 200, contentType: 'application/json', body }
}

/** The failure that one node with all queries would have met first. */
function firstFailure(failures: readonly Error[]): Error {
  const positionOf = (error: Error) =>
    error instanceof EngineError ? Number(/^Inside `\.queries\[(\d+)\]`/.exec(error.body.message)?.[1] ?? 0) : -1
  return [...failures].sort((a, b) => positionOf(a) - positionOf(b))[0]!
}

function legRequest(
  { rules, queries }: Leg,
  body: JsonObject,
  names: NameMap,
  headers: readonly string[],
): NodeRequest {
  if (rules.length === 0) return jsonRequest('POST', '/multi-search', body, headers)
  const physical = new Map(queries.map(({ placement: { physicalUid } }) => [names.toLogical(physicalUid), physicalUid]))
  const request = jsonRequest('POST', '/multi-search', null, [...headers, ...ruledHeader])
  return { ...request, body: encodeRuledSearch(renamedRules(rules, physical), JSON.stringify(body)) }
}

/** Sends the leg and gives its answer's bytes; errors name the queries by their places in the whole request. */
async function ask(call: Call, leg: Leg, body: JsonObject, names: NameMap): Promise<Buffer> {
  const { parts } = call
  const outcome = await askRead(
    () => connectTo(parts.follower.table, parts.pools, leg.placement, call.principal.project.id),
    legRequest(leg, body, names, asksMetadata(call.headers) ? ['meili-include-metadata', 'true'] : []),
    { signal: call.signal, answerBytesMax: heldBytesMax, clock: parts.clock },
  )
  if (outcome.kind !== 'answered') throw failureError(outcome)
  const { reply } = outcome
  if (reply.status === 200) return reply.body
  const sent = readErrorBody(reply.body)
  if (sent?.code === 'index_not_found') throw new ApiError('index_moving', 'An index is being moved. Try again.')
  const error = engineError(reply.status, sent, names, call.exchange)
  if (!(error instanceof EngineError)) throw error
  const message = error.body.message.replace(/`\.queries\[(\d+)\]/g, (text, index: string) => {
    const position = leg.queries[Number(index)]?.position
    return position === undefined ? text : `\`.queries[${position}]`
  })
  throw new EngineError(error.status, { ...error.body, message }, error.retryAfter)
}
