/** Worker thread: answers reads over snapshots of the indexes. One request at a time, start to end in one turn where it can be. */
import { parentPort, workerData } from 'node:worker_threads'
import { v7 } from 'uuid'
import { ApiError, type ErrorCode } from '../api/errors.ts'
import { parseFilter } from '../api/filter.ts'
import type { Filter } from '../api/filter-tree.ts'
import { missingIndexStatus, rethrowInside } from '../api/multi-search-query.ts'
import { assert } from '../lib/assert.ts'
import { systemClock } from '../lib/clock.ts'
import { createEgressPolicy } from '../lib/egress-policy.ts'
import { exactText } from '../lib/exact-numbers.ts'
import { collectGarbage } from '../lib/heap.ts'
import type { Json } from '../lib/json.ts'
import { systemRandom } from '../lib/random.ts'
import { BitmapCache } from './bitmap-cache.ts'
import type { ReadOptions } from './core.ts'
import { fieldsOf, readDocument, readDocuments, readDumpPage } from './document-reads.ts'
import type { EmbeddingClient } from './embedders/embedding-client.ts'
import { EmbeddingNeeded, QueryEmbeddings } from './embedders/query-embeddings.ts'
import { fieldEntries } from './field-entries.ts'
import { type IndexEnv, openIndexEnv } from './index-env.ts'
import { type IndexSnapshot, readSnapshot } from './index-snapshot.ts'
import { readStats } from './index-stats.ts'
import { LmdbIndexReader } from './lmdb-index-reader.ts'
import { renderedIndex, runRenderTemplate } from './render-template.ts'
import { foreignKeysOf, type KeyedIndex, withForeignDocuments } from './search/foreign-documents.ts'
import { matchingIds, resolveForeign } from './search/foreign-filter.ts'
import { type OrderedObject, orderedText } from './search/ordered-json.ts'
import { runFacetSearch } from './search/run-facet-search.ts'
import { runMultiSearch } from './search/run-multi-search.ts'
import { runSearch } from './search/run-search.ts'
import { runSimilar } from './search/run-similar.ts'
import type { SearchContext } from './search/search-context.ts'
import { VectorCache } from './vector-blocks.ts'
import {
  errorReply,
  type ReadMessage,
  type Reply,
  type SearchWorkerMessage,
  type WorkerSettings,
} from './worker-messages.ts'

const port = parentPort
assert(port !== null, 'the search worker runs as a worker thread')
const settings = workerData as WorkerSettings
const cache = new BitmapCache(settings.cacheBytesMax)
const vectorCache = new VectorCache(settings.vectorBytesMax)

interface OpenIndex {
  readonly env: IndexEnv
  snapshot: IndexSnapshot | undefined
}

const open = new Map<string, OpenIndex>()
const encoder = new TextEncoder()

function readerOf(folder: string): LmdbIndexReader {
  let index = open.get(folder)
  if (index === undefined) {
    index = { env: openIndexEnv(folder, 'read'), snapshot: undefined }
    open.set(folder, index)
  }
  // A batch may have been committed since this thread last read.
  index.env.root.resetReadTxn()
  index.snapshot = readSnapshot(index.env, index.snapshot)
  return new LmdbIndexReader(index.env, { snapshot: index.snapshot, cache, vectorCache })
}

let client: EmbeddingClient | undefined

/** Most searches need none, and what it loads takes half the start of this thread. */
async function embeddingClient(): Promise<EmbeddingClient> {
  if (client !== undefined) return client
  const { createEmbeddingClient } = await import('./embedders/embedding-client.ts')
  client ??= createEmbeddingClient({
    egress: createEgressPolicy({ allowed: settings.allowedNetworks }),
    clock: systemClock,
    random: systemRandom,
  })
  return client
}

/** Runs again when a query had to become a vector first, over what is committed then. */
async function answer(message: ReadMessage): Promise<string> {
  const startedAt = systemClock.monotonic()
  const embeddings = new QueryEmbeddings()
  for (;;) {
    try {
      return read(message, embeddings)
    } catch (error) {
      if (!(error instanceof EmbeddingNeeded)) throw error
      await embeddings.make(error, await embeddingClient(), startedAt)
    }
  }
}

function read({ request, places }: ReadMessage, embeddings: QueryEmbeddings): string {
  const readers = new Map<string, LmdbIndexReader>()
  const find = (uid: string): LmdbIndexReader | undefined => {
    const known = readers.get(uid)
    if (known !== undefined) return known
    const place = places.find((candidate) => candidate.uid === uid)
    if (place === undefined) return undefined
    const reader = readerOf(place.folder)
    readers.set(uid, reader)
    return reader
  }
  const need = (uid: string): LmdbIndexReader => {
    const reader = find(uid)
    if (reader === undefined) throw new ApiError('index_not_found', `Index \`${uid}\` not found.`)
    return reader
  }
  const withForeign = (answer: OrderedObject, uid: string | null, { features }: ReadOptions): OrderedObject =>
    features.foreignKeys ? withForeignDocuments(answer, uid, (name) => keyedIndex(need(name))) : answer
  /** The query with conditions on other indexes resolved. */
  const resolve = <Q extends { readonly filter?: Json }>(uid: string, query: Q, code: ErrorCode, isOn: unknown): Q => {
    const { filter = null } = query
    if (!isOn || filter === null) return query
    const keys = foreignKeysOf(need(uid).snapshot.facts.settings)
    const ids = (name: string, condition: Filter) => matchingIds(need(name), condition, name)
    return { ...query, filter: resolveForeign(filter, code, { uid, keys, ids }) }
  }
  switch (request.kind) {
    case 'search': {
      const { uid, options } = request
      const query = resolve(uid, request.query, 'invalid_search_filter', options.features.foreignKeys)
      const found = runSearch(need(uid), uid, query, contextOf(options, embeddings))
      return exactText(orderedText(withForeign(found, uid, options)))
    }
    case 'multi-search': {
      const isOn = request.options.features.foreignKeys
      const code = 'invalid_search_filter'
      const isFederated = request.query.federation !== null
      const inside = <T>(place: number, work: () => T): T =>
        rethrowInside(place, work, missingIndexStatus(request.options.features))
      // As in the reference, what is wrong with another index is told without the place of a federated query.
      if (isFederated && isOn)
        for (const [place, { filter }] of request.query.queries.entries())
          inside(place, () => parseFilter(filter, code))
      const queries = request.query.queries.map((query, place) => {
        if (find(query.indexUid) === undefined) return query
        const resolved = () => resolve(query.indexUid, query, code, isOn)
        return isFederated ? resolved() : inside(place, resolved)
      })
      const found = runMultiSearch(find, { ...request.query, queries }, contextOf(request.options, embeddings))
      return exactText(orderedText(withForeign(found, null, request.options)))
    }
    case 'facet-search': {
      const { uid, options } = request
      const query = resolve(uid, request.query, 'invalid_search_filter', options.features.foreignKeys)
      return orderedText(runFacetSearch(need(uid), query, contextOf(options, embeddings)))
    }
    case 'similar':
      return exactText(
        orderedText(runSimilar(need(request.uid), request.query, contextOf(request.options, embeddings))),
      )
    case 'render':
      return JSON.stringify(runRenderTemplate((uid) => renderedIndex(find(uid)), request.query))
    case 'document':
      return readDocument(need(request.uid), request.id, request)
    case 'documents':
      return readDocuments(need(request.uid), {
        ...resolve(request.uid, request.query, 'invalid_document_filter', request.query.features?.foreignKeys),
        ...withFields(request.query.fields),
      })
    case 'fields':
      return JSON.stringify(fieldEntries(need(request.uid)))
    case 'settings':
      return JSON.stringify(need(request.uid).snapshot.facts.settings)
    case 'dump-page':
      return readDumpPage(need(request.uid), request)
    case 'stats':
      return JSON.stringify(Object.fromEntries(places.map(({ uid }) => [uid, readStats(need(uid))])))
  }
}

const keyedIndex = (reader: LmdbIndexReader): KeyedIndex => ({
  settings: reader.snapshot.facts.settings,
  text(id) {
    const docid = reader.docidOf(id)
    return docid === undefined ? undefined : reader.storedDocument(docid)?.text
  },
})

const contextOf = (
  { features, withMetadata, rules = [] }: ReadOptions,
  embeddings: QueryEmbeddings,
): SearchContext => ({
  clock: systemClock,
  requestUid: v7(),
  features,
  newQueryUid: withMetadata ? () => v7() : null,
  embeddings,
  rules,
})

function withFields(fields: readonly string[] | undefined): { readonly fields?: readonly string[] } {
  const named = fieldsOf(fields)
  return named === null ? {} : { fields: named }
}

async function forget(folder: string): Promise<void> {
  const index = open.get(folder)
  open.delete(folder)
  vectorCache.forget(folder)
  await index?.env.root.close()
  if (open.size > 0) return
  cache.clear()
  setImmediate(collectGarbage)
}

port.on('message', (message: SearchWorkerMessage) => {
  if (message.kind === 'forget') {
    void forget(message.folder).then(() =>
      port.postMessage({ call: message.call, kind: 'done', value: new Uint8Array() }),
    )
    return
  }
  const { call } = message.message
  answer(message.message).then(
    (text) => {
      const value = encoder.encode(text)
      port.postMessage({ call, kind: 'done', value } satisfies Reply<Uint8Array>, [value.buffer])
    },
    (error: unknown) => port.postMessage(errorReply(call, error)),
  )
})
