/**
 * An index over three nodes against the same documents whole on one: ingest and searches, interleaved, everything of both
 * on the same cores. Then a node is killed while searches go on.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Corpus } from './corpus.ts'
import { cpuMs } from './cpu-time.ts'
import { type Running, startUp } from './ingest.ts'
import { type Bench, type Load, median } from './parts.ts'
import { createIndex, ingest } from './search-server.ts'

export interface SpreadNodesOptions {
  readonly documents: number
  readonly rounds: number
  readonly seconds: number
}

export interface SpreadNodesResult {
  /** At least 0.8 is wanted. */
  readonly ingest: {
    readonly spread: number
    readonly whole: number
    readonly ratio: number
    readonly cpuRatio: number
  }
  /** Less than 1.5 is wanted. */
  readonly searchMsP50: {
    readonly spread: number
    readonly whole: number
    readonly ratio: number
    readonly cpuRatio: number
  }
  readonly failover: { readonly requests: number; readonly failed: number; readonly latencyMsMax: number }
}

const payloadDocuments = 5_000
const body = '{"q":"a b","limit":20}'

type Side = 'spread' | 'whole'

export async function benchSpreadNodes(
  bench: Bench,
  { documents, rounds, seconds }: SpreadNodesOptions,
  say: (line: string) => void,
): Promise<SpreadNodesResult> {
  const servers: Record<Side, Running> = {
    spread: await startUp(bench, 'spread', { args: ['--nodes', '3', '--shards', '16', '--rf', '1'] }),
    whole: await startUp(bench, 'whole'),
  }
  const corpus = new Corpus(1)
  const payloads: string[] = []
  for (let first = 0; first < documents; first += payloadDocuments)
    payloads.push(corpus.payload(first, Math.min(payloadDocuments, documents - first)))

  const speeds: Record<Side, number[]> = { spread: [], whole: [] }
  const ingestCpu: Record<Side, number> = { spread: 0, whole: 0 }
  const order = (round: number): readonly Side[] => (round % 2 === 0 ? ['spread', 'whole'] : ['whole', 'spread'])
  for (let round = 0; round < Math.min(rounds, 3); round += 1) {
    for (const side of order(round)) {
      const server = servers[side]
      await createIndex(server, `books${round}`)
      const before = cpuMs(server.pid) ?? 0
      speeds[side].push(await ingest(server, `books${round}`, payloads, documents))
      ingestCpu[side] += (cpuMs(server.pid) ?? 0) - before
    }
    say(`ingest ${round + 1}: ${Math.round(speeds.spread.at(-1)!)} and ${Math.round(speeds.whole.at(-1)!)} documents/s`)
  }

  const searches: Record<Side, Load[]> = { spread: [], whole: [] }
  const searchCpu: Record<Side, number> = { spread: 0, whole: 0 }
  for (let round = 0; round < rounds; round += 1) {
    for (const side of order(round)) {
      const { pid, key, ...part } = servers[side]
      const before = cpuMs(pid) ?? 0
      // One after the other, or identical searches would share an answer.
      const shape = { connections: 1, seconds }
      searches[side].push(await bench.load({ ...part, pid }, { path: '/indexes/books0/search', body, key }, shape))
      searchCpu[side] += (cpuMs(pid) ?? 0) - before
    }
  }
  const p50 = (side: Side) => median(searches[side].map(({ latencyMsP50 }) => latencyMsP50))
  const count = (side: Side) => searches[side].reduce((sum, { requests }) => sum + requests, 0)
  const perSearch = (side: Side) => searchCpu[side] / count(side)
  const result: SpreadNodesResult = {
    ingest: {
      spread: median(speeds.spread),
      whole: median(speeds.whole),
      ratio: median(speeds.spread) / median(speeds.whole),
      cpuRatio: ingestCpu.spread / ingestCpu.whole,
    },
    searchMsP50: {
      spread: p50('spread'),
      whole: p50('whole'),
      ratio: p50('spread') / p50('whole'),
      cpuRatio: perSearch('spread') / perSearch('whole'),
    },
    failover: await failover(bench, { documents: Math.min(documents, 5_000), seconds }, say),
  }
  const { ingest: stored, searchMsP50: found } = result
  say(
    `ingest into 3 nodes: ${(100 * stored.ratio).toFixed(0)} % of one node's rate, ${stored.cpuRatio.toFixed(2)}× CPU`,
  )
  say(
    `search over 3 nodes: p50 ${found.spread.toFixed(2)} ms, ${found.ratio.toFixed(2)}× of one node's ${found.whole.toFixed(2)} ms, ${found.cpuRatio.toFixed(2)}× CPU`,
  )
  return result
}

async function failover(
  bench: Bench,
  { documents, seconds }: { readonly documents: number; readonly seconds: number },
  say: (line: string) => void,
): Promise<SpreadNodesResult['failover']> {
  const server = await startUp(bench, 'failover', { args: ['--nodes', '3', '--shards', '16', '--rf', '2'] })
  await createIndex(server, 'books')
  await ingest(server, 'books', [new Corpus(1).payload(0, documents)], documents)
  const request = { path: '/indexes/books/search', body, key: server.key }
  const loading = bench.load(server, request, { connections: 4, seconds: Math.max(6, seconds), rate: 50 })
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  const victim = engineOf(server.pid)
  if (victim !== undefined) process.kill(victim, 'SIGKILL')
  const { requests, errors, latencyMsMax } = await loading
  say(`a node is killed: ${errors} of ${requests} searches failed, the slowest took ${latencyMsMax.toFixed(0)} ms`)
  return { requests, failed: errors, latencyMsMax }
}

/** A child of the server that runs an engine; Linux only. */
function engineOf(server: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  for (const thread of readdirSync(`/proc/${server}/task`)) {
    for (const child of readFileSync(`/proc/${server}/task/${thread}/children`, 'utf8').split(' ')) {
      if (child === '') continue
      const words = readFileSync(join('/proc', child, 'cmdline'), 'utf8').split('\0')
      if (words.includes('engine') || words[0]?.endsWith('/meilisearch') === true) return Number(child)
    }
  }
  return undefined
}
