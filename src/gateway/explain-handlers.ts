/**
 * The plan of a search as data (C-46): `POST /indexes/{uid}/explain`, and searches with `?explain=true`. Without
 * `?execute=true` no node is called; with it, the plan is the one that the answer was made by.
 */
import { queryPairs } from '../api/decode-query.ts'
import { indexNotFound } from '../api/index-uid.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { headerNames } from '../api/names.ts'
import { decodeSearchParameters, decodeSearchQuery, type SearchQuery } from '../api/search-query.ts'
import { renderRule, rulesOn } from '../api/search-rule.ts'
import { joinFilters } from '../api/tenant-token.ts'
import { authorise, forcedFilter } from '../control/principal.ts'
import { assert } from '../lib/assert.ts'
import type { JsonObject } from '../lib/json.ts'
import { explainSearch } from '../search/explain.ts'
import { narrow } from '../search/narrowing.ts'
import { searchIndex } from '../search/search-index.ts'
import type { AgreedCover, CoveringSet, Leg } from '../upstream/covering-set.ts'
import type { ReplicaStanding } from '../upstream/read-preview.ts'
import { type ReadableReplica, settingsFloor } from '../upstream/readable-replicas.ts'
import { type Answer, json } from './answer.ts'
import { type Call, type Handler, pathUid } from './exchange.ts'
import { checkFilterFlags } from './filter-flags.ts'
import { type KnownIndex, searchedIndex, shardsOf, targetOf } from './planned-indexes.ts'
import { checkJsonType, readBody } from './request-body.ts'
import { asksMetadata } from './request-headers.ts'
import { explainActions } from './route-policy.ts'
import { namedRulesOf } from './search-rules.ts'
import { knownIndexes, readSpread } from './spread-read.ts'

/** Body: a search. `?execute=true` adds its answer as `result`. */
export const explain: Handler = async (call) => {
  checkJsonType(call.headers)
  const body = await readBody(call.exchange.request, call.parts.limits.searchBytesMax)
  return explained(call, decodeSearchQuery(parseJsonBody(body)))
}

/** Whether a search asks for its plan instead of its answer. */
export const asksForPlan = (search: string): boolean =>
  search.includes('explain=') && queryPairs(search).get('explain') === 'true'

/** @param sent  a search's body; `undefined` = its parameters stand in the path. */
export async function explainInstead(call: Call, sent: Buffer | undefined): Promise<Answer> {
  for (const action of explainActions) authorise(call.principal, action, null)
  if (sent !== undefined) {
    checkJsonType(call.headers)
    return explained(call, decodeSearchQuery(parseJsonBody(sent)))
  }
  const pairs = queryPairs(call.search)
  pairs.delete('explain')
  pairs.delete('execute')
  return explained(call, decodeSearchParameters(new URLSearchParams([...pairs]).toString()))
}

async function explained(call: Call, sent: SearchQuery): Promise<Answer> {
  const { exchange, principal, signal, parts, headers } = call
  const uid = pathUid(call)
  checkFilterFlags(sent.filter, principal.project.features)
  const forced = forcedFilter(principal, uid)
  const query = forced === null ? sent : { ...sent, filter: joinFilters(forced, sent.filter) }
  const known = (await knownIndexes(exchange, principal, [uid], 'search')).get(uid)
  if (known === undefined) throw indexNotFound(uid)
  if (queryPairs(call.search).get('execute') !== 'true') {
    const cover = parts.spread.replicas.preview(known.replicas, shardsOf(known))
    return json(200, explanation(call, known, cover, query))
  }
  const answer = await readSpread({
    ...{ exchange, principal, signal, uids: [uid], operation: 'search' },
    withMetadata: asksMetadata(headers),
    async answer(find, options, coverOf) {
      const index = find(uid)
      const cover = coverOf(uid)
      assert(index !== undefined && cover !== undefined, 'the index that is read is known')
      const plan = JSON.stringify(explanation(call, known, cover, query))
      return `${plan.slice(0, -1)},"result":${await searchIndex(index, query, options)}}`
    },
  })
  const isPending = known.route.placements.some(({ turn }) => turn !== undefined)
  return isPending ? { ...answer, headers: { ...answer.headers, [headerNames.settingsPending]: 'true' } } : answer
}

function explanation(
  { exchange, parts, principal, headers }: Call,
  known: KnownIndex,
  cover: AgreedCover<ReadableReplica>,
  query: SearchQuery,
): JsonObject {
  const { index, placements } = known.route
  const isPending = placements.some(({ turn }) => turn !== undefined)
  const { replicas, coalescing } = parts.spread
  const { plan, warnings, resolved_uid } = explainSearch(searchedIndex(known, cover), query, narrow)
  const standings = replicas.standings(known.replicas)
  const legOf = new Map(cover.legs.map((leg) => [targetOf(index.uid, leg.replica), leg]))
  const legs = plan.legs.map(({ target, ...asked }): JsonObject => {
    const leg = legOf.get(target)
    assert(leg !== undefined, 'a leg goes to a target of its plan')
    const { node, group, health, score, p95Ms, ...standing } = standingOf(standings, leg)
    const hedgeAfterMs = hasOthers(known, leg) ? standing.hedgeAfterMs : null
    return {
      ...{ node, group, health, score: rounded(score), reason: legReason(known, cover, leg, standings) },
      ...{ estimated_p95_ms: rounded(p95Ms), hedge_trigger_ms: rounded(hedgeAfterMs) },
      // null = it takes a settings change: of before or behind it.
      settings_version: leg.replica.isTurning === true ? null : index.settingsPosition,
      ...asked,
    }
  })
  const p95s = legs.flatMap(({ estimated_p95_ms: ms }) => (typeof ms === 'number' ? [ms] : []))
  const isSession = parts.spread.sessionOf(principal.project.id, headers.session) !== undefined
  return {
    resolved_uid,
    plan: {
      route_version: exchange.table.version,
      settings_version: index.settingsPosition,
      broadcast_pending: isPending,
      spread: index.spread && { shards: index.spread.shards, replication_factor: index.spread.replicationFactor },
      ...{ kind: plan.kind, narrowed: plan.narrowed, narrowing_reason: plan.narrowing_reason },
      target_shards: plan.target_shards,
      missing_shards: cover.missing,
      chosen_group:
        cover.group === undefined ? null : { id: cover.group, reason: groupReason(known, standings, cover) },
      target_nodes: Object.fromEntries(
        legs.flatMap(({ shards, node = null }) =>
          (Array.isArray(shards) ? shards : []).map((shard) => [`${shard}`, node]),
        ),
      ),
      legs,
      replicas: standings.map(({ node, group, health, standing, score, p95Ms }) => ({
        ...{ node, group, health, standing, score: rounded(score), p95_ms: rounded(p95Ms) },
      })),
      merge_keys: plan.merge_keys,
      follow_ups: plan.follow_ups,
      // Those that hold now, by precedence; their words are judged by the engine.
      search_rules: namedRulesOf(principal.project, [index.uid], parts.clock.now()).flatMap(({ uid, rule }) =>
        rulesOn([rule], index.uid).map((own) => renderRule(uid, own)),
      ),
      coalescing_eligible: index.spread !== null && coalescing && !isSession,
      hedging_armed: legs.some(({ hedge_trigger_ms: ms }) => ms !== null),
      // Legs run side by side.
      estimated_p95_ms: p95s.length < legs.length || legs.length === 0 ? null : Math.max(...p95s),
    },
    warnings: [...warnings.map((warning) => ({ ...warning })), ...standingWarnings(exchange.headers, known, cover)],
  }
}

function standingWarnings(
  headers: Call['exchange']['headers'],
  { route, replicas }: KnownIndex,
  { missing, isMixed }: AgreedCover<ReadableReplica>,
): readonly JsonObject[] {
  const found: JsonObject[] = []
  if (missing.length > 0) {
    found.push({ type: 'ShardUnavailable', message: `No replica answers for shard ${missing.join(', ')}.` })
  }
  if (route.placements.some(({ turn }) => turn !== undefined)) {
    const message = isMixed
      ? 'A settings change is on its way, and the legs may follow different settings.'
      : 'A settings change is on its way; the legs follow the settings of before.'
    found.push({ type: 'settings_broadcast_in_flight', message })
  }
  const floor = settingsFloor(headers?.minSettingsVersion)
  if (floor !== undefined && floor > route.index.settingsPosition) {
    const message = `The settings floor ${floor} is above what all replicas have; ${replicas.length} may answer.`
    found.push({ type: 'SettingsVersionBelowFloor', message })
  }
  return found
}

function groupReason(
  known: KnownIndex,
  standings: readonly ReplicaStanding[],
  { group: chosen }: CoveringSet<ReadableReplica>,
): string {
  const covered = new Map<number, Set<number>>()
  for (const { node, group, shards } of known.replicas) {
    const good = standings.find((standing) => standing.node === node)?.standing === 'good'
    const all = covered.get(group) ?? new Set()
    if (good) for (const shard of shards) all.add(shard)
    covered.set(group, all)
  }
  if (covered.size < 2) return 'the only group with replicas'
  const own = chosen === undefined ? 0 : (covered.get(chosen)?.size ?? 0)
  const others = [...covered].filter(([group]) => group !== chosen).map(([, shards]) => shards.size)
  return Math.max(...others) < own
    ? 'its healthy nodes hold more shards than those of any other group'
    : 'its turn: groups that cost less come more often'
}

function legReason(
  { replicas }: KnownIndex,
  { group }: CoveringSet<ReadableReplica>,
  leg: Leg<ReadableReplica>,
  standings: readonly ReplicaStanding[],
): string {
  const { standing } = standingOf(standings, leg)
  if (standing === 'trial') return 'the last resort: the node was down and is tried again'
  if (leg.replica.group !== group) return 'the chosen group cannot answer for these shards'
  if (standing === 'poor') return 'no node that does better holds these shards'
  const inGroup = replicas.filter((replica) => replica.group === group)
  const isOnly = leg.shards.some((shard) => inGroup.filter(({ shards }) => shards.includes(shard)).length === 1)
  return isOnly
    ? 'the only replica of the group for some of these shards'
    : 'the most shards for its points; equals take turns'
}

/** Others hold all of its shards, so that a slow answer need not be waited for. */
const hasOthers = ({ replicas }: KnownIndex, { replica, shards }: Leg<ReadableReplica>): boolean =>
  shards.every((shard) => replicas.some((other) => other.node !== replica.node && other.shards.includes(shard)))

function standingOf(standings: readonly ReplicaStanding[], { replica }: Leg<ReadableReplica>): ReplicaStanding {
  const found = standings.find(({ node }) => node === replica.node)
  assert(found !== undefined, 'a leg goes to a replica of the index')
  return found
}

const rounded = (value: number | null): number | null => (value === null ? null : Math.round(value * 100) / 100)
