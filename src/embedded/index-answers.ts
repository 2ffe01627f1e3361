/** Reads of indexes, answered by the search threads: which folders a question needs, and who may close them meanwhile. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ApiError } from '../api/errors.ts'
import type { RenderQuery } from '../api/render-query.ts'
import { renderTime } from '../api/task-view.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import type { EngineCore, IndexStats, InstanceStats } from './core.ts'
import type { IndexRegistry } from './index-registry.ts'
import type { StoredStats } from './index-stats.ts'
import type { OpenIndexes } from './open-indexes.ts'
import type { ReadPool } from './read-pool.ts'
import { foreignKeysOf } from './search/foreign-documents.ts'
import type { IndexPlace, ReadRequest } from './worker-messages.ts'

export interface IndexAnswersParts {
  readonly dbPath: string
  readonly registry: IndexRegistry
  readonly open: OpenIndexes
  readonly reads: ReadPool
  readonly isIndexing: (uid: string) => boolean
}

export class IndexAnswers {
  readonly #parts: IndexAnswersParts

  constructor(parts: IndexAnswersParts) {
    this.#parts = parts
  }

  async indexStats(uid: string): Promise<IndexStats> {
    const stats = await this.#storedStats([this.#place(uid)])
    return this.#withActivity(uid, stats[uid]!)
  }

  async stats(): Promise<InstanceStats> {
    const entries = this.#parts.registry.list()
    const stored = await this.#storedStats(entries.map(({ uid }) => this.#place(uid)))
    const lastUpdate = entries.reduce((latest, { updatedAt }) => Math.max(latest, updatedAt), 0)
    const databaseSize = folderBytes(this.#parts.dbPath)
    return {
      databaseSize,
      usedDatabaseSize: databaseSize,
      lastUpdate: lastUpdate === 0 ? null : renderTime(lastUpdate),
      indexes: Object.fromEntries(Object.entries(stored).map(([uid, stats]) => [uid, this.#withActivity(uid, stats)])),
    }
  }

  async fields(uid: string): Promise<readonly JsonObject[]> {
    return parseBytes(await this.#read({ kind: 'fields', uid }, [uid]))
  }

  async settings(uid: string): Promise<JsonObject> {
    return parseBytes(await this.#read({ kind: 'settings', uid }, [uid]))
  }

  document(
    uid: string,
    id: string,
    { fields, retrieveVectors }: { readonly fields?: readonly string[]; readonly retrieveVectors: boolean },
  ): Promise<Uint8Array> {
    return this.#read({ kind: 'document', uid, id, fields: fields ?? null, retrieveVectors }, [uid])
  }

  documents(uid: string, query: Parameters<EngineCore['documents']>[1]): Promise<Uint8Array> {
    if (!query.features?.foreignKeys) return this.#read({ kind: 'documents', uid, query }, [uid])
    return this.#foreignPlaces([uid]).then((foreign) =>
      this.#readPlaces({ kind: 'documents', uid, query }, [this.#place(uid), ...foreign]),
    )
  }

  async search(...[uid, query, options]: Parameters<EngineCore['search']>): Promise<Uint8Array> {
    const foreign = options.features.foreignKeys ? await this.#foreignPlaces([uid]) : []
    return this.#readPlaces({ kind: 'search', uid, query, options }, [this.#place(uid), ...foreign])
  }

  async multiSearch(...[query, options]: Parameters<EngineCore['multiSearch']>): Promise<Uint8Array> {
    const faceted = Object.keys(query.federation?.facetsByIndex ?? {})
    const uids = new Set([...query.queries.map(({ indexUid }) => indexUid), ...faceted])
    const places = [...uids].flatMap((uid) => this.#parts.registry.placeOf(uid) ?? [])
    const foreign = options.features.foreignKeys ? await this.#foreignPlaces(places.map(({ uid }) => uid)) : []
    return this.#readPlaces({ kind: 'multi-search', query, options }, [...places, ...foreign])
  }

  /** Indexes whose documents may stand in hits of the named ones. */
  async #foreignPlaces(uids: readonly string[]): Promise<readonly IndexPlace[]> {
    const settings = await Promise.all(uids.map((uid) => this.settings(uid)))
    const foreign = new Set(settings.flatMap(foreignKeysOf).map(({ foreignIndexUid }) => foreignIndexUid))
    return [...foreign].filter((uid) => !uids.includes(uid)).flatMap((uid) => this.#parts.registry.placeOf(uid) ?? [])
  }

  async facetSearch(...[uid, query, options]: Parameters<EngineCore['facetSearch']>): Promise<Uint8Array> {
    const foreign = options.features.foreignKeys ? await this.#foreignPlaces([uid]) : []
    return this.#readPlaces({ kind: 'facet-search', uid, query, options }, [this.#place(uid), ...foreign])
  }

  similar(...[uid, query, options]: Parameters<EngineCore['similar']>): Promise<Uint8Array> {
    return this.#read({ kind: 'similar', uid, query, options }, [uid])
  }

  renderTemplate(query: RenderQuery): Promise<Uint8Array> {
    const uids = new Set([query.template.indexUid, query.input?.indexUid ?? null])
    const places = [...uids].flatMap((uid) => (uid === null ? [] : (this.#parts.registry.placeOf(uid) ?? [])))
    return this.#readPlaces({ kind: 'render', query }, places)
  }

  async documentCount(folder: string): Promise<number> {
    return (await this.#storedStats([{ uid: '', folder }]))['']?.numberOfDocuments ?? 0
  }

  /** Documents for a dump or an export, from a place on. */
  dumpPage(uid: string, from: number, bytesMax: number, filter: Json = null): Promise<Uint8Array> {
    return this.#read({ kind: 'dump-page', uid, from, bytesMax, filter }, [uid])
  }

  #read(request: ReadRequest, uids: readonly string[]): Promise<Uint8Array> {
    return this.#readPlaces(
      request,
      uids.map((uid) => this.#place(uid)),
    )
  }

  #readPlaces(request: ReadRequest, places: readonly IndexPlace[]): Promise<Uint8Array> {
    return this.#parts.open.use(
      places.map(({ folder }) => folder),
      () => this.#parts.reads.read(request, places),
    )
  }

  #place(uid: string): IndexPlace {
    const place = this.#parts.registry.placeOf(uid)
    if (place === undefined) throw new ApiError('index_not_found', `Index \`${uid}\` not found.`)
    return place
  }

  async #storedStats(places: readonly IndexPlace[]): Promise<Readonly<Record<string, StoredStats>>> {
    return parseBytes(await this.#readPlaces({ kind: 'stats' }, places))
  }

  #withActivity(uid: string, stats: StoredStats): IndexStats {
    const { numberOfDocuments, rawDocumentDbSize, avgDocumentSize, ...others } = stats
    const isIndexing = this.#parts.isIndexing(uid)
    return { numberOfDocuments, rawDocumentDbSize, avgDocumentSize, isIndexing, ...others }
  }
}

function parseBytes<T = Json>(bytes: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(bytes)) as T
}

/** Bytes of all files below a folder. */
function folderBytes(folder: string): number {
  let byteCount = 0
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    byteCount += entry.isDirectory() ? folderBytes(path) : entry.isFile() ? statSync(path).size : 0
  }
  return byteCount
}
