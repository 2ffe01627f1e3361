/** What a node carries, from its engine's `/stats` and, where it shows them, `/metrics` (P-39). */
import { request } from 'undici'
import type { Clock } from '../../lib/clock.ts'
import { isObject, type Json } from '../../lib/json.ts'
import type { Node } from '../../store/catalogue.ts'
import { type SearchTimes, searchFigures, searchTimes } from './search-times.ts'

export interface EngineLoad {
  /** Of its database, as far as it is used. */
  readonly dataBytes: number | null
  readonly indexes: number | null
  readonly documents: number | null
  readonly searchesPerSecond: number | null
  readonly searchMsP95: number | null
}

export const noLoad: EngineLoad = {
  ...{ dataBytes: null, indexes: null, documents: null, searchesPerSecond: null, searchMsP95: null },
}

export interface LoadReader {
  /** Never throws: what does not answer is not known. */
  read(node: Pick<Node, 'id' | 'url' | 'key'>, signal: AbortSignal): Promise<EngineLoad>
}

const answerMsMax = 10_000
/** 100,000 indexes of 300 bytes. */
const answerBytesMax = 32 * 1024 * 1024

export function createLoadReader(clock: Pick<Clock, 'monotonic'>): LoadReader {
  const seen = new Map<string, { readonly times: SearchTimes; readonly at: number }>()
  return {
    async read({ id, url, key }, signal) {
      const ask = (path: string) => askText(`${url}${path}`, key, signal)
      const stats = statsOf(await ask('/stats'))
      const text = await ask('/metrics')
      const at = clock.monotonic()
      const before = seen.get(id)
      if (text === undefined) return { ...stats, searchesPerSecond: null, searchMsP95: null }
      const times = searchTimes(text)
      seen.set(id, { times, at })
      return { ...stats, ...searchFigures(before?.times, times, before === undefined ? 0 : at - before.at) }
    },
  }
}

async function askText(url: string, key: string | null, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { statusCode, body } = await request(url, {
      headers: key === null ? {} : { authorization: `Bearer ${key}` },
      headersTimeout: answerMsMax,
      bodyTimeout: answerMsMax,
      signal,
    })
    const chunks: Uint8Array[] = []
    let byteCount = 0
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      byteCount += chunk.byteLength
      if (byteCount > answerBytesMax) return undefined
      chunks.push(chunk)
    }
    return statusCode === 200 ? Buffer.concat(chunks).toString('utf8') : undefined
  } catch {
    return undefined
  }
}

function statsOf(text: string | undefined): Pick<EngineLoad, 'dataBytes' | 'indexes' | 'documents'> {
  const stats = text === undefined ? undefined : parse(text)
  if (!isObject(stats) || !isObject(stats.indexes)) return { dataBytes: null, indexes: null, documents: null }
  const { usedDatabaseSize, databaseSize } = stats
  const bytes = typeof usedDatabaseSize === 'number' ? usedDatabaseSize : databaseSize
  const counts = Object.values(stats.indexes).map((index) =>
    isObject(index) ? Number(index.numberOfDocuments) || 0 : 0,
  )
  return {
    dataBytes: typeof bytes === 'number' ? bytes : null,
    indexes: counts.length,
    documents: counts.reduce((sum, count) => sum + count, 0),
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}
