/**
 * What a search over four shards costs the gateway, with stubs for nodes so that only the gateway is measured: against one
 * search of a plain index through the same gateway, interleaved. Then what hedging does for searches when one node lets one
 * of fifty wait. Searches are not shared here, but for the row that shows what sharing is worth.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { legAnswer, spreadMasterKey } from '../test/support/spread-gateway.ts'
import { cpuMs } from './cpu-time.ts'
import { type Bench, type Load, median, type Part } from './parts.ts'

export interface SpreadBenchOptions {
  readonly rounds: number
  readonly seconds: number
}

export interface SpreadWay {
  readonly requestsPerSecond: number
  readonly latencyMsP50: number
  /** Added to the plain search at 300 requests/s; at most 0.40 is wanted. */
  readonly addedMsP50: number
  /** Of the gateway at full speed. */
  readonly cpuMicrosPerSearch: number | undefined
  /** What one core could answer; 3,500 are wanted. */
  readonly searchesPerCpuSecond: number | undefined
  readonly errors: number
}

export interface HedgingResult {
  readonly latencyMsP99: { readonly hedged: number; readonly plain: number }
  readonly ratio: number
}

interface Way {
  readonly name: string
  readonly part: Part
  readonly path: string
}

const body = '{"q":"two words","limit":20}'
const shardCount = 4
const pacedRate = 300
const alone = { FLAPJACK_CLUSTER_QUERY_COALESCING_ENABLED: 'false' }

export async function benchSpread(
  bench: Bench,
  { rounds, seconds }: SpreadBenchOptions,
  say: (line: string) => void,
): Promise<{ readonly ways: Record<string, SpreadWay>; readonly hedging: HedgingResult }> {
  const stubs = await startStubs(bench, 'fast', [])
  const nodes = stubs.map(({ url }, at) => ({ url, shards: [at] }))
  const own = await startServer(bench, 'gateway', { nodes, env: alone })
  const shared = await startServer(bench, 'gateway that shares', { nodes, env: {} })
  const ways: readonly Way[] = [
    { name: 'plain, one leg', part: own, path: '/indexes/p0/search' },
    { name: 'spread, four legs', part: own, path: '/indexes/books/search' },
    { name: 'spread, identical shared', part: shared, path: '/indexes/books/search' },
  ]
  const paced = new Map<Way, Load[]>(ways.map((way) => [way, []]))
  const full = new Map<Way, Load[]>(ways.map((way) => [way, []]))
  const cpuSpent = new Map<Way, number>()
  const request = (path: string) => ({ path, body, key: spreadMasterKey })
  // What is compiled while it runs is slower at first.
  for (const way of ways) await bench.load(way.part, request(way.path), { connections: 16, seconds: 2 })
  for (let round = 0; round < rounds; round += 1) {
    for (const way of round % 2 === 0 ? ways : [...ways].reverse()) {
      paced.get(way)!.push(await bench.load(way.part, request(way.path), { connections: 4, seconds, rate: pacedRate }))
      const cpuBefore = cpuMs(way.part.pid)
      full.get(way)!.push(await bench.load(way.part, request(way.path), { connections: 16, seconds }))
      if (cpuBefore !== undefined) cpuSpent.set(way, (cpuSpent.get(way) ?? 0) + cpuMs(way.part.pid)! - cpuBefore)
    }
    say(`round ${round + 1} of ${rounds}`)
  }
  const p50 = (way: Way) => median(paced.get(way)!.map(({ latencyMsP50 }) => latencyMsP50))
  const plain = p50(ways[0]!)
  const rows = ways.map((way): [string, SpreadWay] => {
    const loads = full.get(way)!
    // The loader warms up as well, which the gateway spends time for too: 4 searches for each connection.
    const searches = loads.reduce((sum, { requests }) => sum + requests + 4 * 16, 0)
    const cpuMicros = cpuSpent.has(way) ? (cpuSpent.get(way)! * 1_000) / searches : undefined
    return [
      way.name,
      {
        requestsPerSecond: Math.round(median(loads.map(({ requestsPerSecond }) => requestsPerSecond))),
        latencyMsP50: p50(way),
        addedMsP50: p50(way) - plain,
        cpuMicrosPerSearch: cpuMicros,
        searchesPerCpuSecond: cpuMicros === undefined ? undefined : Math.round(1e6 / cpuMicros),
        errors: [...loads, ...paced.get(way)!].reduce((sum, { errors }) => sum + errors, 0),
      },
    ]
  })
  say(
    `${'way'.padEnd(26)} ${'req/s'.padStart(7)} ${'p50 ms'.padStart(8)} ${'+p50 ms'.padStart(8)} ${'cpu µs'.padStart(7)} ${'per core'.padStart(8)} ${'errors'.padStart(6)}`,
  )
  for (const [name, row] of rows) {
    say(
      [
        name.padEnd(26),
        String(row.requestsPerSecond).padStart(7),
        row.latencyMsP50.toFixed(3).padStart(8),
        row.addedMsP50.toFixed(3).padStart(8),
        (row.cpuMicrosPerSearch?.toFixed(1) ?? '').padStart(7),
        String(row.searchesPerCpuSecond ?? '').padStart(8),
        String(row.errors).padStart(6),
      ].join(' '),
    )
  }
  return { ways: Object.fromEntries(rows), hedging: await benchHedging(bench, { rounds, seconds }, say) }
}

async function benchHedging(
  bench: Bench,
  { rounds, seconds }: SpreadBenchOptions,
  say: (line: string) => void,
): Promise<HedgingResult> {
  const stubs = await startStubs(bench, 'slow', ['-slow-every', '50', '-slow-ms', '200'])
  // Two groups, so that each shard has two homes.
  const nodes = stubs.map(({ url }, at) => ({ url, shards: [at % 2], group: at < 2 ? 0 : 1 }))
  const hedged = await startServer(bench, 'hedged', { nodes, env: alone })
  const plain = await startServer(bench, 'not hedged', {
    nodes,
    env: { ...alone, FLAPJACK_CLUSTER_HEDGING_ENABLED: 'false' },
  })
  const p99s: Record<'hedged' | 'plain', number[]> = { hedged: [], plain: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const [side, part] of [['hedged', hedged] as const, ['plain', plain] as const]) {
      const request = { path: '/indexes/books/search', body, key: spreadMasterKey }
      const load = await bench.load(part, request, { connections: 8, seconds, rate: 100 })
      p99s[side].push(load.latencyMsP99)
    }
  }
  const [withHedges, without] = [median(p99s.hedged), median(p99s.plain)]
  say(`one leg of fifty waits 200 ms: p99 ${withHedges.toFixed(1)} ms with hedging, ${without.toFixed(1)} ms without`)
  return { latencyMsP99: { hedged: withHedges, plain: without }, ratio: withHedges / without }
}

async function startStubs(bench: Bench, name: string, more: readonly string[]): Promise<readonly Part[]> {
  const go = await bench.goBinary()
  return Promise.all(
    Array.from({ length: shardCount }, (_, at) => {
      const file = join(bench.folder, `answer-${at}.json`)
      writeFileSync(file, legAnswer(at, 20))
      return bench.start(`${name} ${at}`, go, ['stub', '-answer', file, ...more], { side: 'load' })
    }),
  )
}

function startServer(bench: Bench, name: string, plan: object): Promise<Part> {
  return bench.startBundle(name, 'spread-server.ts', [JSON.stringify(plan)], 'measured')
}
