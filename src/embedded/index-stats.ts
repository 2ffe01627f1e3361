/** What an index tells about its size: asked from a search worker. */
import type { LmdbIndexReader } from './lmdb-index-reader.ts'

export interface StoredStats {
  readonly numberOfDocuments: number
  readonly rawDocumentDbSize: number
  readonly avgDocumentSize: number
  readonly numberOfEmbeddings: number
  readonly numberOfEmbeddedDocuments: number
  readonly fieldDistribution: Readonly<Record<string, number>>
}

export function readStats(reader: LmdbIndexReader): StoredStats {
  const { facts, documentIds, settings } = reader.snapshot
  const count = documentIds.size
  let embeddings = 0
  let embedded = 0
  for (const name of Object.keys(settings.embedders)) {
    embedded += reader.vectorDocids(name).size
    embeddings += reader.vectorCount(name)
  }
  return {
    numberOfDocuments: count,
    rawDocumentDbSize: facts.documentBytes,
    avgDocumentSize: count === 0 ? 0 : Math.floor(facts.documentBytes / count),
    numberOfEmbeddings: embeddings,
    numberOfEmbeddedDocuments: embedded,
    fieldDistribution: Object.fromEntries(
      Object.entries(facts.fieldDistribution).sort(([left], [right]) => (left < right ? -1 : 1)),
    ),
  }
}
