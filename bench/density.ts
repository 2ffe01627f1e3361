/**
 * What many small indexes on one node cost: the same searches and small writes over 20, 100 and 500 active indexes, and over
 * ten of them, on the embedded engine and on a real Meilisearch, which keeps 20 indexes open and opens the others anew.
 */
import { Pool } from 'undici'
import { seededRandom } from '../src/lib/random.ts'
import { Corpus } from './corpus.ts'
import { startAlone } from './ingest.ts'
import { type Bench, quantile } from './parts.ts'
import { figuresOf } from './process-figures.ts'
import { call, ended, type SearchServer } from './search-server.ts'

export interface DensityOptions {
  /** Indexes on the node, ascending: further ones are added to those that are there. */
  readonly counts: readonly number[]
  /** In each index. */
  readonly documents: number
  /** Of searches, for each count. */
  readonly seconds: number
  readonly meilisearch?: string
}

export interface DensityFigures {
  readonly indexes: number
  /** Of searches over this many of them, at random. */
  readonly active: number
  readonly searchMsP50: number
  readonly searchMsP99: number
  readonly searchCpuMs: number
  /** From the request until its task has ended: one document. */
  readonly writeMsP50: number
  readonly writeMsP99: number
  readonly writeCpuMs: number
  readonly anonymousMb: number
}

/** Always open. */
const fewActive = 10
const connections = 4
const writes = 60
const askEveryMs = 5
const settings = { filterableAttributes: ['genre', 'year'], sortableAttributes: ['rating'] }

export async function benchDensity(
  bench: Bench,
  options: DensityOptions,
  say: (line: string) => void,
): Promise<Record<string, readonly DensityFigures[]>> {
  const engines = [undefined, ...(options.meilisearch === undefined ? [] : [options.meilisearch])]
  const results: Record<string, readonly DensityFigures[]> = {}
  for (const binary of engines) {
    const name = binary === undefined ? 'embedded' : 'meilisearch'
    const server = await startAlone(bench, binary)
    const figures: DensityFigures[] = []
    let made = 0
    for (const count of options.counts) {
      await fill(server, made, count, options.documents)
      made = count
      for (const active of [...new Set([Math.min(fewActive, count), count])]) {
        const found = await measure(server, count, active, options.seconds)
        figures.push(found)
        say(
          `${name}: ${active} active of ${count}: search ${found.searchMsP50.toFixed(1)} and ${found.searchMsP99.toFixed(1)} ms (${found.searchCpuMs.toFixed(2)} ms of processor time), write ${found.writeMsP50.toFixed(0)} and ${found.writeMsP99.toFixed(0)} ms (${found.writeCpuMs.toFixed(1)}), ${Math.round(found.anonymousMb)} MB`,
        )
      }
    }
    results[name] = figures
    process.kill(server.pid, 'SIGTERM')
  }
  return results
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const uidOf = (at: number): string => `small${at}`

async function fill(server: SearchServer, from: number, to: number, documents: number): Promise<void> {
  let last = 0
  for (let at = from; at < to; at += 1) {
    const uid = uidOf(at)
    await call(server, 'PATCH', `/indexes/${uid}/settings`, JSON.stringify(settings))
    const payload = new Corpus(1, 3_000, at + 1).payload(0, documents)
    const path = `/indexes/${uid}/documents?primaryKey=id`
    last = Number((await call(server, 'POST', path, payload, 'application/x-ndjson')).taskUid)
  }
  await ended(server, last)
}

async function measure(
  server: SearchServer & { readonly pid: number },
  indexes: number,
  active: number,
  seconds: number,
): Promise<DensityFigures> {
  const random = seededRandom(indexes * 1_000 + active)
  const { words } = new Corpus(1, 3_000)
  const pool = new Pool(server.url, { connections })
  const some = () => uidOf(random.integer(active))
  const search = async () => {
    const startedAt = performance.now()
    const { statusCode, body } = await pool.request({
      path: `/indexes/${some()}/search`,
      method: 'POST',
      headers: { authorization: `Bearer ${server.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ q: words[random.integer(words.length)], limit: 20 }),
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${statusCode} ${text}`)
    return performance.now() - startedAt
  }
  // Whatever stays open is open.
  for (let at = 0; at < Math.min(active, 50); at += 1) await search()

  const searches: number[] = []
  const cpuBefore = figuresOf(server.pid).cpuMs
  const until = performance.now() + seconds * 1_000
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (performance.now() < until) searches.push(await search())
    }),
  )
  const searchCpuMs = (figuresOf(server.pid).cpuMs - cpuBefore) / searches.length
  await pool.close()

  const changes: number[] = []
  const cpuOfWrites = figuresOf(server.pid).cpuMs
  for (let at = 0; at < writes; at += 1) {
    const startedAt = performance.now()
    const document = { id: 1_000_000 + at, title: `${words[at]} ${words[at + 1]}`, genre: 'new', year: 2000, rating: 1 }
    const task = await call(server, 'POST', `/indexes/${some()}/documents`, JSON.stringify(document))
    while ((await call(server, 'GET', `/tasks/${task.taskUid}`)).finishedAt === null) await pause(askEveryMs)
    changes.push(performance.now() - startedAt)
  }
  return {
    indexes,
    active,
    searchMsP50: quantile(searches, 0.5),
    searchMsP99: quantile(searches, 0.99),
    searchCpuMs,
    writeMsP50: quantile(changes, 0.5),
    writeMsP99: quantile(changes, 0.99),
    writeCpuMs: (figuresOf(server.pid).cpuMs - cpuOfWrites) / writes,
    anonymousMb: figuresOf(server.pid).anonymousMb,
  }
}
