/** A world of the differential test, spread over nodes as lanes would spread it: each node is an index of one server. */

import { completeFeatures } from '../../../src/api/features.ts'
import { headerNames } from '../../../src/api/names.ts'
import { sequenceField, sequenceText, shardField, shardText } from '../../../src/api/reserved-fields.ts'
import { encodeRuledSearch } from '../../../src/api/ruled-search.ts'
import { decodeRuleChange, type NamedRule, numberedRules, type SearchRule } from '../../../src/api/search-rule.ts'
import { completeSettings, decodeSettings } from '../../../src/api/settings.ts'
import { isObject, type JsonObject } from '../../../src/lib/json.ts'
import { nodeSettings } from '../../../src/replication/node-settings.ts'
import type { Ask, SearchedIndex, Target } from '../../../src/search/leg.ts'
import { shardOfKey } from '../../../src/topology/rendezvous.ts'
import { loadWorld, type ServerAddress } from '../differential/server.ts'
import type { World } from '../differential/worlds.ts'

export interface Layout {
  readonly shards: number
  readonly nodes: number
  /** Nodes that hold each shard; one of them is asked. */
  readonly copies: number
  /** Some nodes meet documents in another order than that of the index. */
  readonly isShuffled: boolean
}

export const layouts: readonly Layout[] = [
  { shards: 2, nodes: 2, copies: 1, isShuffled: false },
  { shards: 3, nodes: 3, copies: 1, isShuffled: false },
  { shards: 5, nodes: 2, copies: 2, isShuffled: true },
  { shards: 16, nodes: 3, copies: 2, isShuffled: false },
]

/** Loads one index for each node. @returns what reads are given. */
export async function spreadWorld(server: ServerAddress, world: World, layout: Layout): Promise<SearchedIndex> {
  const { shards, nodes, copies, isShuffled } = layout
  const shardOf = (document: JsonObject) => shardOfKey(String(document.id), shards)
  const documents = world.documents.map((document, line) => ({
    ...document,
    [shardField]: shardText(shardOf(document)),
    [sequenceField]: sequenceText(1, line),
  }))
  const coverage: Target[] = []
  for (let node = 0; node < nodes; node += 1) {
    const uid = nodeUid(world, layout, node)
    const all = Array.from({ length: shards }, (_, shard) => shard)
    const asked = all.filter((shard) => shard % nodes === node)
    const held = all.filter((shard) => (node - (shard % nodes) + nodes) % nodes < copies)
    const own = documents.filter((document) => held.includes(shardOf(document)))
    const met = isShuffled && node % 2 === 1 ? [...own].reverse() : own
    await loadWorld(server, { ...world, uid, settings: toldNode(world.settings), documents: met, more: [] })
    if (asked.length > 0) coverage.push({ id: uid, shards: asked, isWhole: held.length === asked.length })
  }
  return {
    uid: world.uid,
    settings: completeSettings(decodeSettings(world.settings, completeFeatures({}))),
    primaryKey: 'id',
    coverage,
    spread: { shards },
    ...rulesOf(world),
  }
}

/** What the one index follows from its server, legs are told. */
function rulesOf({ uid, more }: World): Pick<SearchedIndex, 'rules' | 'pinPositions'> {
  const named = more.flatMap(({ path, body }): readonly NamedRule[] =>
    path.startsWith('/dynamic-search-rules/') ? [{ uid: path, rule: decodeRuleChange(body) as SearchRule }] : [],
  )
  const { rules, positions } = numberedRules(named, uid, Date.now())
  return { rules, pinPositions: positions }
}

const nodeUid = ({ uid }: World, { shards, nodes }: Layout, node: number): string =>
  `${uid}-s${shards}-n${nodes}-${node}`

/** As lanes tell nodes: with what their additions depend on. */
export function toldNode(settings: JsonObject): JsonObject {
  const wholes = ['filterableAttributes', 'sortableAttributes', 'rankingRules', 'distinctAttribute', 'faceting']
  return nodeSettings({ ...Object.fromEntries(wholes.map((name) => [name, null])), ...settings })
}

/** The port over plain HTTP: names of indexes are those of the targets on their way out, and the client's on the way back. */
export function askServer(server: ServerAddress, index: SearchedIndex): Ask {
  return async ({ target, method, path, body, rules = [] }, signal) => {
    const sent = body === null ? null : JSON.stringify(path === '/multi-search' ? renamed(body, target) : body)
    const isRuled = rules.length > 0
    const answer = await fetch(`${server.url}${path.replace(`/indexes/${index.uid}`, `/indexes/${target}`)}`, {
      method,
      signal,
      headers: {
        ...{ 'content-type': 'application/json', authorization: `Bearer ${server.key}` },
        ...(isRuled ? { [headerNames.searchRules]: '1' } : {}),
      },
      ...(sent === null ? {} : { body: isRuled ? encodeRuledSearch(rules, sent) : sent }),
    })
    const text = await answer.text()
    const isNamed = answer.status >= 400 || path === '/multi-search'
    return { status: answer.status, body: isNamed ? text.replaceAll(target, index.uid) : text }
  }
}

function renamed(body: JsonObject, target: string): JsonObject {
  const federation = isObject(body.federation ?? null) ? (body.federation as JsonObject) : {}
  const { facetsByIndex } = federation
  const facets = isObject(facetsByIndex ?? null) ? Object.values(facetsByIndex as JsonObject) : []
  const queries = (body.queries as readonly JsonObject[]).map((query) => ({ ...query, indexUid: target }))
  const byIndex = facets[0] === undefined ? {} : { facetsByIndex: { [target]: facets[0] } }
  return { queries, federation: { ...federation, ...byIndex } }
}
