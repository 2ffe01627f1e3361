/** What a simulated node answers to gateways: lists, searches for everything, and probes. */
import { sequenceField } from '../../src/api/reserved-fields.ts'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'
import * as rules from './document-rules.ts'
import type { SimNode } from './sim-node.ts'

export interface SimAnswer {
  readonly status: number
  readonly body: JsonObject
}

/** @param path  of the request, without query string. @param sent  its body. */
export function answerRead({ disk }: SimNode, path: string, sent: Uint8Array | null): SimAnswer {
  const [, uid, tail] = /^\/indexes\/([^/]+)\/(.+)$/.exec(path) ?? []
  if (uid === undefined) return { status: 200, body: { status: 'available' } }
  const index = disk.indexes.get(uid)
  if (index === undefined) return { status: 404, body: errorOf('index_not_found', `Index \`${uid}\` not found.`) }
  const query: Json = sent === null ? {} : JSON.parse(Buffer.from(sent).toString())
  const { filter = null, offset = 0, limit = 20 } = isObject(query) ? query : {}
  const found = filter === null ? [...index.documents.keys()] : rules.matching(index, filter)
  if (!Array.isArray(found)) return { status: 400, body: { ...found } }
  const placeOf = (document: JsonObject) => String(document[sequenceField] ?? '')
  const documents = found
    .map((id) => index.documents.get(id)!)
    .sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : placeOf(a) > placeOf(b) ? 1 : 0))
  const page = documents.slice(Number(offset), Number(offset) + Number(limit))
  if (tail !== 'search') return { status: 200, body: { results: page, offset, limit, total: documents.length } }
  const hits = page.map((document) => ({
    ...document,
    _rankingScore: 1,
    _rankingScoreDetails: { [`${sequenceField}:asc`]: { order: 0, value: placeOf(document) } },
  }))
  return {
    status: 200,
    body: { hits, query: '', processingTimeMs: 1, limit, offset, estimatedTotalHits: documents.length },
  }
}

function errorOf(code: string, message: string): JsonObject {
  return { ...rules.refusal(code, message) }
}
