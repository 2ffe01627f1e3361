/** `GET /indexes/{uid}/stats` and `POST /indexes/{uid}/fields` of a spread index (C-11). */
import type { IndexStats } from '../embedded/core.ts'
import { type FieldSource, fieldEntries } from '../embedded/field-entries.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import {
  indexPath,
  type Leg,
  type LegReply,
  type ReadOptions,
  readJson,
  type SearchedIndex,
  type Target,
} from './leg.ts'
import { isRefusal, refusal } from './refusals.ts'
import { isReservedName } from './reserved-names.ts'
import { compareBytes } from './score-keys.ts'
import { shardClause } from './shard-clause.ts'

/** Fields that a node tells of at once. */
const fieldsMax = 100_000

interface TargetStats {
  readonly stats: JsonObject
  /** Documents of the shards that the target answers for. */
  readonly count: number
}

/**
 * Documents are counted exactly. Where a node holds more shards than it is asked for, its sizes and its counts of fields
 * and vectors are taken for the asked share of its documents.
 *
 * @throws as `searchIndex`.
 */
export async function readStats(index: SearchedIndex, options: ReadOptions): Promise<IndexStats> {
  const all = await Promise.all(index.coverage.map((target) => readTarget(index, target, options)))
  const sum = (read: (target: TargetStats) => number) => all.reduce((total, target) => total + read(target), 0)
  const numberOfDocuments = sum(({ count }) => count)
  const rawDocumentDbSize = Math.round(sum((target) => shareOf(target, numberOf(target.stats.rawDocumentDbSize))))
  const fields = new Map<string, number>()
  for (const target of all) {
    const { fieldDistribution } = target.stats
    if (fieldDistribution === undefined || !isObject(fieldDistribution)) continue
    for (const [name, count] of Object.entries(fieldDistribution))
      if (!isReservedName(name)) fields.set(name, (fields.get(name) ?? 0) + shareOf(target, numberOf(count)))
  }
  return {
    numberOfDocuments,
    rawDocumentDbSize,
    avgDocumentSize: numberOfDocuments === 0 ? 0 : Math.floor(rawDocumentDbSize / numberOfDocuments),
    isIndexing: all.some(({ stats }) => stats.isIndexing === true),
    numberOfEmbeddings: Math.round(sum((target) => shareOf(target, numberOf(target.stats.numberOfEmbeddings)))),
    numberOfEmbeddedDocuments: Math.round(
      sum((target) => shareOf(target, numberOf(target.stats.numberOfEmbeddedDocuments))),
    ),
    fieldDistribution: Object.fromEntries(
      [...fields]
        .map(([name, count]) => [name, Math.round(count)] as const)
        .filter(([, count]) => count > 0)
        .sort(([a], [b]) => compareBytes(a, b)),
    ),
  }
}

const numberOf = (value: Json | undefined): number => (typeof value === 'number' ? value : 0)

function shareOf({ stats, count }: TargetStats, value: number): number {
  const held = numberOf(stats.numberOfDocuments)
  return held === 0 || held === count ? value : (value * count) / held
}

async function readTarget(index: SearchedIndex, target: Target, options: ReadOptions): Promise<TargetStats> {
  const stats = await readLeg(index, options, {
    target: target.id,
    method: 'GET',
    path: indexPath(index, '/stats'),
    body: null,
  })
  const clause = index.spread === null ? null : shardClause(target, index.spread.shards)
  if (clause === null) return { stats, count: numberOf(stats.numberOfDocuments) }
  const counted = await readLeg(index, options, {
    target: target.id,
    method: 'POST',
    path: indexPath(index, '/documents/fetch'),
    body: { limit: 0, filter: clause },
  })
  return { stats, count: numberOf(counted.total) }
}

/** Every field of every shard, sorted by name, as the client's settings have it. */
export async function readFields(index: SearchedIndex, options: ReadOptions): Promise<readonly JsonObject[]> {
  const names = new Set<string>()
  const answers = await Promise.all(
    index.coverage.map(({ id }) =>
      readLeg(index, options, {
        target: id,
        method: 'POST',
        path: indexPath(index, '/fields'),
        body: { limit: fieldsMax },
      }),
    ),
  )
  for (const { results } of answers)
    for (const field of Array.isArray(results) ? (results as readonly Json[]) : [])
      if (isObject(field) && typeof field.name === 'string' && !isReservedName(field.name)) names.add(field.name)
  const source: FieldSource = { settings: index.settings, fieldNames: [...names] }
  return fieldEntries(source)
}

async function readLeg(index: SearchedIndex, options: ReadOptions, leg: Leg): Promise<JsonObject> {
  const reply: LegReply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  return readJson(reply.body)
}
