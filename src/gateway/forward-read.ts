/**
 * Reads of one index: search, facet search, similar documents, documents, stats, fields, settings. The request goes to the
 * index's node under its physical name; body and answer are touched only where a rule needs it.
 */

import { queryPairs } from '../api/decode-query.ts'
import { ApiError } from '../api/errors.ts'
import { decodeFacetSearch } from '../api/facet-search-query.ts'
import { filterParameter } from '../api/filter-value.ts'
import { indexNotFound } from '../api/index-uid.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { encodeRuledSearch } from '../api/ruled-search.ts'
import { decodeSearchParameters, decodeSearchQuery } from '../api/search-query.ts'
import { rulesOn, type SearchRule } from '../api/search-rule.ts'
import { decodeSimilar, decodeSimilarParameters } from '../api/similar-query.ts'
import { joinFilters } from '../api/tenant-token.ts'
import { forcedFilter } from '../control/principal.ts'
import { assert } from '../lib/assert.ts'
import { isObject, type Json } from '../lib/json.ts'
import { callOf, type Exchange } from './exchange.ts'
import { asksForPlan, explainInstead } from './explain-handlers.ts'
import { checkBodyFlags, checkQueryFlags } from './filter-flags.ts'
import { type ForeignRead, foreignRead } from './foreign-read.ts'
import { answerPlaces } from './index-places.ts'
import { compilePlaces } from './json-splice.ts'
import { NameMap } from './name-map.ts'
import { connectTo, readPlacement } from './placement-choice.ts'
import { badAnswer, relay } from './relay.ts'
import { renderAnswer } from './render.ts'
import { checkJsonType, collectBody } from './request-body.ts'
import { asksMetadata } from './request-headers.ts'
import { legSpan } from './request-spans.ts'
import type { Method } from './route-policy.ts'
import { ruledHeader, searchRulesOf, takesRules } from './search-rules.ts'
import { answerSpread } from './spread-handlers.ts'

const searchPlaces = compilePlaces(answerPlaces.search)

export interface ForwardEnd {
  onEnd(): void
  onError(error: unknown): void
}

/** Reads the body, if any, and relays. Errors go to `end`, never out of this function's callbacks. */
export function forwardRead(exchange: Exchange, end: ForwardEnd): void {
  const { policy } = bound(exchange)
  if (policy.body === 'none') {
    guarded(end, () => send(exchange, end, undefined, false))
    return
  }
  const { limits } = exchange.parts
  const bytesMax = policy.body === 'search' ? limits.searchBytesMax : limits.bodyBytesMax
  collectBody(exchange.request, bound(exchange).headers, bytesMax, (error, body) => {
    if (error !== undefined) return end.onError(error)
    guarded(end, () => send(exchange, end, body, false))
  })
}

function guarded(end: ForwardEnd, run: () => void): void {
  try {
    run()
  } catch (error) {
    end.onError(error)
  }
}

function bound(exchange: Exchange) {
  const { headers, path, route, principal, uid } = exchange
  assert(headers && path && route && principal && uid !== null, 'a read of an index runs behind the whole pipeline')
  return { headers, path, policy: route.policy, principal, uid }
}

/** @param isRepeated  the engine did not know the index once, and the table was read again since. */
function send(exchange: Exchange, end: ForwardEnd, sentBody: Buffer | undefined, isRepeated: boolean): void {
  const { headers, path, policy, principal, uid } = bound(exchange)
  const { parts, table } = exchange
  const forced = policy.handler === 'search' ? forcedFilter(principal, uid) : null
  const includeMetadata = policy.handler === 'search' && asksMetadata(headers)
  const route = table.index(principal.project.id, uid)
  if (route === undefined) {
    // What is wrong with the request itself is told first, as the engine would (M-A1).
    if (policy.handler === 'search') checkSearch(policy.method, suffixOf(path.path), path.search, exchange, sentBody)
    throw indexNotFound(uid)
  }
  if (sentBody === undefined) checkQueryFlags(path.search, principal.project.features)
  else checkBodyFlags(sentBody, principal.project.features)
  const isSearch = policy.handler === 'search' && suffixOf(path.path) === '/search'
  const wantsPlan = isSearch && asksForPlan(path.search)
  if (wantsPlan || route.index.spread !== null) {
    const call = callOf(exchange)
    const answer = wantsPlan ? explainInstead(call, sentBody) : answerSpread(call, route.index, sentBody)
    answer.then((answer) => renderAnswer(exchange, answer)).then(end.onEnd, end.onError)
    return
  }
  const placement = readPlacement(route)
  const isRuled = isSearch && takesRules[table.node(placement.node)?.engine ?? 'embedded']
  const rules = isRuled ? rulesOn(searchRulesOf(principal.project, [uid], parts.clock.now()), uid) : []
  const names = new NameMap(principal.project, table)
  names.add(uid, placement.physicalUid)
  let { search } = path
  let body: Uint8Array | null = sentBody ?? null
  if (forced !== null) {
    if (sentBody === undefined) search = withForcedParameter(search, forced)
    else body = withForcedFilter(exchange, sentBody, forced)
  }
  const forward = (foreign: ForeignRead) => {
    const leg = exchange.span && legSpan(exchange.span, uid, placement.node, placement.shards)
    const ruled = rules.length === 0 ? undefined : ruledRead(exchange, rules, foreign)
    relay(exchange, {
      method: ruled === undefined ? policy.method : 'POST',
      path: `/indexes/${placement.physicalUid}${suffixOf(path.path)}${foreign.search === '' ? '' : `?${foreign.search}`}`,
      body: ruled ?? foreign.body,
      ...(ruled === undefined ? {} : { moreHeaders: ruledHeader }),
      ...(foreign.finish === undefined ? {} : { finish: foreign.finish }),
      contentType: ruled === undefined ? sentBody && headers.contentType : 'application/json',
      acceptEncoding: headers.acceptEncoding === undefined ? undefined : knownEncodings(headers.acceptEncoding),
      includeMetadata,
      connect: () => connectTo(parts.follower.table, parts.pools, placement, principal.project.id),
      names,
      places: includeMetadata ? searchPlaces : undefined,
      onMissingIndex: () => {
        // The table is behind, or the node lost the index. Neither is a missing index as long as the table shows it (P-21).
        leg?.end()
        if (isRepeated) return end.onError(movingIndex())
        parts.follower.refresh().then(
          () => {
            exchange.table = parts.follower.table
            guarded(end, () => send(exchange, end, sentBody, true))
          },
          () => end.onError(movingIndex()),
        )
      },
      onEnd() {
        leg?.end()
        end.onEnd()
      },
      onError(error) {
        leg?.fail('failed')
        leg?.end()
        end.onError(error)
      },
    })
  }
  const foreign = foreignRead(exchange, {
    policy,
    uid,
    suffix: suffixOf(path.path),
    search,
    body,
    isOn: principal.project.features.foreignKeys === true,
  })
  if (foreign === undefined) forward({ search, body })
  else foreign.then((read) => guarded(end, () => forward(read))).catch(end.onError)
}

/** The body of the search with its rules; the request's own must be in order, since it stands inside another. */
function ruledRead(exchange: Exchange, rules: readonly SearchRule[], { body }: ForeignRead): Buffer {
  const { headers } = bound(exchange)
  if (body === null) return encodeRuledSearch(rules, null)
  checkJsonType(headers)
  const text = Buffer.from(body)
  parseJsonBody(text)
  return encodeRuledSearch(rules, text.toString('utf8'))
}

function movingIndex(): ApiError {
  return new ApiError('index_moving', 'The index is being moved. Try again.')
}

/** What follows `/indexes/{uid}` in a canonical path, escapes as sent. */
function suffixOf(path: string): string {
  const slash = path.indexOf('/', '/indexes/'.length)
  return slash < 0 ? '' : path.slice(slash)
}

/** ANDs the token's filter into the query string; the last of equal names counts, as with the engine. */
function withForcedParameter(search: string, forced: Json): string {
  const pairs = queryPairs(search)
  const asked = pairs.get('filter')
  const at = { name: 'filter', code: 'invalid_search_filter' } as const
  const joined = joinFilters(forced, asked === undefined ? null : filterParameter(asked, at))
  pairs.set('filter', JSON.stringify(Array.isArray(joined) ? joined : [joined]))
  return new URLSearchParams([...pairs]).toString()
}

function withForcedFilter(exchange: Exchange, sentBody: Buffer, forced: Json): Buffer {
  const { headers, path } = bound(exchange)
  checkJsonType(headers)
  const body = parseJsonBody(sentBody)
  if (!isObject(body)) {
    checkSearch('POST', suffixOf(path.path), '', exchange, sentBody)
    throw badAnswer('a search body that is no object was taken for one')
  }
  return Buffer.from(JSON.stringify({ ...body, filter: joinFilters(forced, body.filter ?? null) }))
}

/** Decodes the request only to find what is wrong with it. */
function checkSearch(
  method: Method,
  suffix: string,
  search: string,
  exchange: Exchange,
  sentBody: Buffer | undefined,
): void {
  if (method === 'GET') {
    if (suffix === '/similar') decodeSimilarParameters(search)
    else decodeSearchParameters(search)
    return
  }
  checkJsonType(bound(exchange).headers)
  const body = parseJsonBody(sentBody ?? Buffer.alloc(0))
  if (suffix === '/similar') decodeSimilar(body)
  else if (suffix === '/facet-search') decodeFacetSearch(body)
  else decodeSearchQuery(body)
}

const encodings = new Map<string, string | undefined>()
const rememberedEncodingsMax = 256

/** The encodings that we could decode ourselves; an engine may use no other. */
function knownEncodings(accepted: string): string | undefined {
  if (encodings.has(accepted)) return encodings.get(accepted)
  const known = accepted
    .split(',')
    .map((part) => part.trim())
    .filter((part) => /^(gzip|deflate|br)\b/i.test(part))
    .join(', ')
  const result = known === '' ? undefined : known
  if (encodings.size < rememberedEncodingsMax) encodings.set(accepted, result)
  return result
}
