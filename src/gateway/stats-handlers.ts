/** Sizes and counts of a project (M-A2): asked of the nodes that hold its indexes, summed here, never theirs (M-I2). */
import { ApiError } from '../api/errors.ts'
import { decodeStatsQuery } from '../api/page-query.ts'
import { renderTime } from '../api/task-view.ts'
import { seesIndex } from '../control/principal.ts'
import { assert } from '../lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { readStats as readStatsOf } from '../search/index-stats.ts'
import type { Placement } from '../store/catalogue.ts'
import type { IndexRoute } from '../topology/route-table.ts'
import { askRead } from '../upstream/ask.ts'
import { json } from './answer.ts'
import type { Call, Handler } from './exchange.ts'
import { connectTo, readPlacement } from './placement-choice.ts'
import { readSpread } from './spread-read.ts'

const statsBytesMax = 64 * 1024 * 1024
/** Above so many indexes on a node, its whole statistics are cheaper to ask for than each one's. */
const singleAsksMax = 32
const budgetMs = 2_000

interface ProjectStats {
  /** By logical name, sorted. An index whose node did not answer is left out. */
  readonly indexes: ReadonlyMap<string, JsonObject>
  readonly isPartial: boolean
}

/** Also for `/metrics`. */
export async function projectStats(call: Call, parameters: string): Promise<ProjectStats> {
  const { principal, exchange, parts } = call
  const routes = exchange.table
    .indexes(principal.project.id)
    .filter(({ index }) => principal.seesAllIndexes || seesIndex(principal, index.uid))
  const byNode = new Map<string, { route: IndexRoute; placement: Placement }[]>()
  const spread = routes.filter(({ index }) => index.spread !== null)
  for (const route of routes) {
    if (route.index.spread !== null) continue
    const placement = readPlacement(route)
    const ofNode = byNode.get(placement.node)
    if (ofNode === undefined) byNode.set(placement.node, [{ route, placement }])
    else ofNode.push({ route, placement })
  }
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(budgetMs)])
  const ask = async (placement: Placement, path: string): Promise<Json> => {
    const outcome = await askRead(
      () => connectTo(parts.follower.table, parts.pools, placement, principal.project.id),
      { method: 'GET', path: `${path}${parameters}`, headers: [], body: null },
      { signal, answerBytesMax: statsBytesMax, clock: parts.clock },
    )
    if (outcome.kind !== 'answered' || outcome.reply.status !== 200) return null
    const value: Json = JSON.parse(outcome.reply.body.toString('utf8'))
    return value
  }
  const found = new Map<string, JsonObject>()
  const keep = (route: IndexRoute, stats: Json | undefined) => {
    if (stats !== undefined && isObject(stats)) found.set(route.index.uid, stats)
  }
  await Promise.all([
    ...spread.map(async (route) => keep(route, await spreadStats(call, route.index.uid, signal))),
    ...[...byNode.values()].map(async (indexes) => {
      if (indexes.length <= singleAsksMax) {
        await Promise.all(
          indexes.map(async ({ route, placement }) =>
            keep(route, await ask(placement, `/indexes/${placement.physicalUid}/stats`)),
          ),
        )
        return
      }
      const all = await ask(indexes[0]!.placement, '/stats')
      const ofAll = isObject(all) ? (all.indexes ?? null) : null
      if (!isObject(ofAll)) return
      for (const { route, placement } of indexes) keep(route, ofAll[placement.physicalUid])
    }),
  ])
  const sorted = routes.flatMap(({ index }): [string, JsonObject][] => {
    const stats = found.get(index.uid)
    return stats === undefined ? [] : [[index.uid, stats]]
  })
  return { indexes: new Map(sorted), isPartial: found.size < routes.length }
}

/** `undefined` = its nodes do not answer in time. */
async function spreadStats(call: Call, uid: string, signal: AbortSignal): Promise<Json | undefined> {
  const { exchange, principal } = call
  try {
    const answer = await readSpread({
      ...{ exchange, principal, signal, uids: [uid], operation: 'stats', withMetadata: false },
      answer: async (find, options) => {
        const index = find(uid)
        assert(index !== undefined, 'the index that is read is known')
        return JSON.stringify(await readStatsOf(index, options))
      },
    })
    return answer.kind === 'bytes' ? (JSON.parse(Buffer.from(answer.body).toString('utf8')) as Json) : undefined
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) return undefined
    throw error
  }
}

/** `GET /stats`. */
export const readStats: Handler = async (call) => {
  const { showInternalDatabaseSizes, sizeFormat } = decodeStatsQuery(call.search)
  const raw = await projectStats(call, showInternalDatabaseSizes ? '?showInternalDatabaseSizes=true' : '')
  const byteCount = [...raw.indexes.values()].reduce((sum, stats) => sum + numberOf(stats.rawDocumentDbSize), 0)
  const size = sizeFormat === 'human' ? humanSize(byteCount) : byteCount
  const lastUpdate = lastUpdateOf(call)
  const indexes = [...raw.indexes].map(([uid, stats]) => [uid, sizeFormat === 'human' ? humanStats(stats) : stats])
  return json(
    200,
    {
      databaseSize: size,
      usedDatabaseSize: size,
      lastUpdate: lastUpdate === 0 ? null : renderTime(lastUpdate),
      indexes: Object.fromEntries(indexes),
    },
    raw.isPartial ? { 'Flapjack-Partial': 'true' } : {},
  )
}

/** Milliseconds since 1970; 0 = never. */
function lastUpdateOf({ exchange, principal }: Call): number {
  const routes = exchange.table.indexes(principal.project.id)
  return routes.reduce((latest, { index }) => Math.max(latest, index.updatedAt), 0)
}

function humanStats(stats: JsonObject): JsonObject {
  return {
    ...stats,
    rawDocumentDbSize: humanSize(numberOf(stats.rawDocumentDbSize)),
    avgDocumentSize: humanSize(numberOf(stats.avgDocumentSize)),
  }
}

function numberOf(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0
}

/** `1.5 MiB`. */
export function humanSize(byteCount: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let size = byteCount
  let unit = 0
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit += 1
  }
  return unit === 0 ? `${size} B` : `${Number(size.toFixed(2))} ${units[unit]}`
}

/** `GET /metrics`: series of this project, under the reference's names (M-H5). */
export const readMetrics: Handler = async (call) => {
  const { indexes } = await projectStats(call, '')
  const documents = [...indexes].map(
    ([uid, stats]) => `meilisearch_index_docs_count{index="${uid}"} ${numberOf(stats.numberOfDocuments)}`,
  )
  const byteCount = [...indexes.values()].reduce((sum, stats) => sum + numberOf(stats.rawDocumentDbSize), 0)
  const busy = await call.parts.journal.busyIndexes(call.principal.project.id)
  const lines = [
    ...series('index_count', 'Index Count', [`meilisearch_index_count ${indexes.size}`]),
    ...series('index_docs_count', 'Index Docs Count', documents),
    ...series('db_size_bytes', 'DB Size In Bytes', [`meilisearch_db_size_bytes ${byteCount}`]),
    ...series('used_db_size_bytes', 'Used DB Size In Bytes', [`meilisearch_used_db_size_bytes ${byteCount}`]),
    ...series('last_update', 'Last Update', [`meilisearch_last_update ${Math.floor(lastUpdateOf(call) / 1000)}`]),
    ...series('is_indexing', 'Meilisearch Is Indexing', [`meilisearch_is_indexing ${busy.length > 0 ? 1 : 0}`]),
  ]
  return {
    kind: 'bytes',
    status: 200,
    contentType: 'text/plain; version=0.0.4',
    body: Buffer.from(`${lines.join('\n')}\n`),
  }
}

function series(name: string, help: string, lines: readonly string[]): readonly string[] {
  return [`# HELP meilisearch_${name} ${help}`, `# TYPE meilisearch_${name} gauge`, ...lines]
}
