/** `GET /metrics`: Prometheus text under the reference's names (M-A8). */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { ApiError } from '../../api/errors.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { type TaskKind, type TaskStatus, taskKindOf } from '../../api/tasks.ts'
import type { Clock } from '../../lib/clock.ts'
import type { EngineCore } from '../core.ts'
import type { Answer, Call } from './call.ts'
import { isForAllIndexes } from './key-ring.ts'

const seconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const statuses: readonly TaskStatus[] = ['canceled', 'enqueued', 'failed', 'processing', 'succeeded']
const kinds: readonly TaskKind[] = [...new Set(Object.values(taskKindOf))].sort()

/** Names of path parameters as the reference writes them. */
const parameterNames: Readonly<Record<string, string>> = {
  '/documents/{id}': '/documents/{document_id}',
  '/tasks/{task}': '/tasks/{task_id}',
  '/batches/{batch}': '/batches/{batch_id}',
  '/indexes/{uid}': '/indexes/{index_uid}',
}

export class EngineMetrics {
  readonly #registry = new Registry()
  readonly #requests: Counter<'method' | 'path' | 'status'>
  readonly #times: Histogram<'method' | 'path'>
  readonly #paths = new Map<string, string>()
  readonly #gauges = new Map<string, Gauge<string>>()

  constructor() {
    const registers = [this.#registry]
    this.#requests = new Counter({
      name: 'meilisearch_http_requests_total',
      help: 'Meilisearch HTTP requests total',
      labelNames: ['method', 'path', 'status'],
      registers,
    })
    this.#times = new Histogram({
      name: 'meilisearch_http_response_time_seconds',
      help: 'Meilisearch HTTP response times',
      labelNames: ['method', 'path'],
      buckets: seconds,
      registers,
    })
  }

  /** `path`: of the route. */
  observe(method: string, path: string, status: number, tookMs: number): void {
    const named = this.#pathOf(path)
    this.#requests.inc({ method, path: named, status: String(status) })
    this.#times.observe({ method, path: named }, tookMs / 1000)
  }

  #pathOf(path: string): string {
    let named = this.#paths.get(path)
    if (named === undefined) {
      named = Object.entries(parameterNames).reduce((text, [from, to]) => text.replace(from, to), path)
      this.#paths.set(path, named)
    }
    return named
  }

  #gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge<string> {
    return this.#named(`meilisearch_${name}`, help, labelNames)
  }

  /** What the reference does not have. */
  #own(name: string, help: string): Gauge<string> {
    return this.#named(`flapjack_engine_${name}`, help, [])
  }

  #named(name: string, help: string, labelNames: readonly string[]): Gauge<string> {
    let gauge = this.#gauges.get(name)
    if (gauge === undefined) {
      gauge = new Gauge({ name, help, labelNames, registers: [this.#registry] })
      this.#gauges.set(name, gauge)
    }
    gauge.reset()
    return gauge
  }

  async text(core: EngineCore, clock: Clock): Promise<string> {
    const stats = await core.stats()
    const uids = Object.keys(stats.indexes)
    this.#gauge('db_size_bytes', 'Meilisearch DB Size In Bytes').set(stats.databaseSize)
    this.#gauge('used_db_size_bytes', 'Meilisearch Used DB Size In Bytes').set(stats.usedDatabaseSize)
    this.#gauge('index_count', 'Meilisearch Index Count').set(uids.length)
    const documents = this.#gauge('index_docs_count', 'Meilisearch Index Docs Count', ['index'])
    for (const uid of uids) documents.set({ index: uid }, stats.indexes[uid]!.numberOfDocuments)
    const count = (filter: Parameters<EngineCore['tasks']>[0]['filter']) =>
      core.tasks({ filter, limit: 1, reverse: true }).total
    const tasks = this.#gauge('nb_tasks', 'Meilisearch Number of tasks', ['kind', 'value'])
    for (const uid of uids) tasks.set({ kind: 'indexes', value: uid }, count({ indexUids: [uid] }))
    for (const status of statuses) tasks.set({ kind: 'statuses', value: status }, count({ statuses: [status] }))
    for (const kind of kinds) tasks.set({ kind: 'types', value: kind }, count({ types: [kind] }))
    const running = core.tasks({ filter: { statuses: ['processing'] }, limit: 1, reverse: true })
    this.#gauge('is_indexing', 'Meilisearch Is Indexing').set(running.total > 0 ? 1 : 0)
    const lastUpdate = stats.lastUpdate === null ? 0 : Math.floor(Date.parse(stats.lastUpdate) / 1000)
    this.#gauge('last_update', 'Meilisearch Last Update').set(lastUpdate)
    const [oldest] = core.tasks({ filter: { statuses: ['enqueued', 'processing'] }, limit: 1, reverse: true }).results
    const waitedMs = oldest === undefined ? 0 : Math.max(0, clock.now() - Date.parse(oldest.enqueuedAt))
    this.#gauge('task_queue_latency_seconds', 'Meilisearch Task Queue Latency in Seconds').set(waitedMs / 1000)
    const { checkedBytes, damaged } = core.integrity()
    this.#own('damaged_indexes', 'Indexes whose file does not hold what was written').set(damaged.length)
    this.#own('checked_bytes', 'Bytes of files that were compared with their checksums').set(checkedBytes)
    return this.#registry.metrics()
  }
}

/** Needs a key for all indexes, since it names every one. */
export async function readMetrics({ parts, access }: Call): Promise<Answer> {
  if (!parts.features().metrics) throw featureNotEnabled('metrics', 'Getting metrics')
  if (!isForAllIndexes(access))
    throw new ApiError(
      'invalid_api_key',
      'The provided API key is invalid. The API key for the `/metrics` route must allow access to all indexes.',
    )
  const body = await parts.metrics.text(parts.core, parts.clock)
  return { status: 200, body, contentType: 'text/plain; version=0.0.4' }
}
