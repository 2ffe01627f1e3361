/**
 * What the gateway adds to a search, interleaved with other ways to the same answer. Behind all of them stands one stub that
 * answers any search with 8 KB at once, so that the difference is the way itself. The gateway is a whole `up`, with keys,
 * rewriting, limits and metrics on; its other requests go on to a real embedded engine.
 */
import { join } from 'node:path'
import { freePort } from '../src/lib/loopback-port.ts'
import { cpuMs } from './cpu-time.ts'
import { startUp } from './ingest.ts'
import { type Bench, type Load, median, type Part, quantile, until } from './parts.ts'
import { createIndex } from './search-server.ts'

export interface GatewayBenchOptions {
  readonly rounds: number
  readonly seconds: number
}

interface Way {
  readonly part: Part
  readonly path: string
  readonly key?: string
}

export interface WayResult {
  readonly requestsPerSecond: number
  /** Added to the direct way at 1,000 requests/s: medians over short rounds of what each added in its round. */
  readonly addedMsP50: number
  readonly addedMsP99: number
  /** What the quietest and the loudest quarter of the rounds added at least and at most. */
  readonly addedMsP99Quartiles: readonly [number, number]
  /** Of the way's processes, all of them, at full speed. */
  readonly cpuMicrosPerRequest: number | undefined
  readonly errors: number
}

const body = '{"q":"two words","limit":20}'
/**
 * Latency is measured in short rounds, so that a second in which the machine does something else decides one of many. The
 * rounds at full speed come after them, since they leave garbage to every way; before them, every way is run in.
 */
const pacedSeconds = 1
const pacedPerRound = 5
const warmUpSeconds = 3
const engineKey = 'an-engine-key-for-the-bench'

export async function benchGateway(
  bench: Bench,
  { rounds, seconds }: GatewayBenchOptions,
  say: (line: string) => void,
): Promise<Record<string, WayResult>> {
  const go = await bench.goBinary()
  const stub = await startStub(bench, go, 'direct')
  const up = await startUp(bench, 'gateway', {
    args: ['--engine-url', stub.url, '--engine-key', engineKey],
    side: 'measured',
  })
  await createIndex(up, 'products')
  // A node belongs to one fleet, so the second `up` gets an engine of its own.
  const other = await startStub(bench, go, 'direct-2')
  const two = await startUp(bench, 'gateways', {
    args: ['--engine-url', other.url, '--engine-key', engineKey, '--gateways', '2'],
  })
  await createIndex(two, 'products')
  const nginx = await bench.startNginx(stub.url, await freePort())
  const search = '/indexes/products/search'
  const ways: Way[] = [
    { part: stub, path: search },
    { part: { ...up, name: 'gateway' }, path: search, key: up.key },
    { part: { ...two, name: 'gateway ×2' }, path: search, key: two.key },
    { part: await bench.startScript('node:http + undici', 'bare-proxy.ts', [stub.url], 'measured'), path: search },
    {
      part: await bench.start('Go ReverseProxy', go, ['proxy', '-target', stub.url], { side: 'measured' }),
      path: search,
    },
    ...(nginx === undefined ? [] : [{ part: nginx, path: search }]),
  ]

  const orderOf = (round: number) => (round % 2 === 0 ? ways : [...ways].reverse())
  const requestOf = ({ path, key }: Way) => ({ path, body, ...(key === undefined ? {} : { key }) })
  const slow = new Map<Way, Load[]>(ways.map((way) => [way, []]))
  for (const way of ways) await bench.load(way.part, requestOf(way), { connections: 16, seconds: warmUpSeconds })
  await bench.pin(false)
  for (let round = 0; round < rounds * pacedPerRound; round += 1) {
    for (const way of orderOf(round)) {
      const shape = { connections: 16, seconds: pacedSeconds, rate: 1_000 }
      slow.get(way)!.push(await bench.load(way.part, requestOf(way), shape))
    }
  }
  await bench.pin(true)
  say(`${rounds * pacedPerRound} rounds at 1,000 requests/s`)
  const fast = new Map<Way, Load[]>(ways.map((way) => [way, []]))
  const cpuSpent = new Map<Way, number>()
  for (let round = 0; round < rounds; round += 1) {
    for (const way of orderOf(round)) {
      const cpuBefore = cpuMs(way.part.pid)
      fast.get(way)!.push(await bench.load(way.part, requestOf(way), { connections: 32, seconds }))
      if (cpuBefore !== undefined) cpuSpent.set(way, (cpuSpent.get(way) ?? 0) + cpuMs(way.part.pid)! - cpuBefore)
    }
    say(`round ${round + 1} of ${rounds} at full speed`)
  }

  const direct = slow.get(ways[0]!)!
  const added = (paced: readonly Load[], read: (load: Load) => number) =>
    paced.map((load, round) => read(load) - read(direct[round]!))
  const rows = ways.map((way): [string, WayResult] => {
    const [paced, full] = [slow.get(way)!, fast.get(way)!]
    const cpuMicros = cpuSpent.has(way) ? cpuSpent.get(way)! * 1_000 : undefined
    const requests = full.reduce((sum, load) => sum + load.requests, 0)
    const p99 = added(paced, (load) => load.latencyMsP99)
    return [
      way.part.name,
      {
        requestsPerSecond: Math.round(median(full.map((load) => load.requestsPerSecond))),
        addedMsP50: median(added(paced, (load) => load.latencyMsP50)),
        addedMsP99: median(p99),
        addedMsP99Quartiles: [quantile(p99, 0.25), quantile(p99, 0.75)],
        cpuMicrosPerRequest: cpuMicros === undefined ? undefined : cpuMicros / requests,
        errors: [...paced, ...full].reduce((sum, load) => sum + load.errors, 0),
      },
    ]
  })
  const table = rows.map(([name, row]) =>
    [
      name.padEnd(22),
      String(row.requestsPerSecond).padStart(8),
      row.addedMsP50.toFixed(3).padStart(9),
      row.addedMsP99.toFixed(3).padStart(9),
      row.addedMsP99Quartiles
        .map((ms) => ms.toFixed(2))
        .join('–')
        .padStart(13),
      (row.cpuMicrosPerRequest?.toFixed(1) ?? '').padStart(8),
      String(row.errors).padStart(7),
    ].join(' '),
  )
  say(
    `${'way'.padEnd(22)} ${'req/s'.padStart(8)} ${'+p50 ms'.padStart(9)} ${'+p99 ms'.padStart(9)} ${'quartiles'.padStart(13)} ${'cpu µs'.padStart(8)} ${'errors'.padStart(7)}`,
  )
  for (const line of table) say(line)
  return Object.fromEntries(rows)
}

/** An embedded engine, and before it the stub that answers its searches. */
async function startStub(bench: Bench, go: string, name: string): Promise<Part> {
  const port = await freePort()
  const engine = `http://127.0.0.1:${port}`
  bench.spawn(process.execPath, [
    join(import.meta.dirname, '..', 'bin', 'flapjack'),
    ...['engine', '--data-dir', join(bench.folder, `engine-${name}`), '--http-addr', `127.0.0.1:${port}`],
    ...['--master-key', engineKey],
  ])
  await until(`${engine}/health`, 60_000)
  return bench.start(name, go, ['stub', '-bytes', '8192', '-target', engine], { side: 'load' })
}
