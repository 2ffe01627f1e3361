/**
 * `npm run bench [part …]`: gateway, ingest, engine, density, spread, moves, up, routes, micro, plan (all when none is named). A table on the terminal, and the same as
 * JSON with `--json FILE`. Figures are compared within one run only: ratios hold, absolute numbers are this machine's.
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { benchDensity } from './density.ts'
import { benchEngine } from './engine.ts'
import { benchGateway } from './gateway.ts'
import { benchIngest } from './ingest.ts'
import { benchMicro } from './micro.ts'
import { benchMoves } from './moves.ts'
import { Bench } from './parts.ts'
import { benchPlan } from './plan.ts'
import { benchRoutes } from './routes.ts'
import { benchSpread } from './spread.ts'
import { benchSpreadNodes } from './spread-nodes.ts'
import { benchUp } from './up.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    documents: { type: 'string', default: '50000' },
    backlog: { type: 'string', default: '500' },
    queries: { type: 'string', default: '100' },
    small: { type: 'string', default: '100' },
    writes: { type: 'string', default: '200' },
    searches: { type: 'string', default: '100' },
    counts: { type: 'string', default: '20,100,500' },
    minutes: { type: 'string', default: '15' },
    'max-indexing-memory': { type: 'string', default: '256MiB' },
  },
})
const meilisearch = process.env.MEILISEARCH_BIN
const rounds = Number(values.rounds)
const say = (line: string) => console.error(line)

const parts: Record<string, (bench: Bench) => Promise<unknown>> = {
  gateway: (bench) => benchGateway(bench, { rounds, seconds: Number(values.seconds) }, say),
  ingest: async (bench) => {
    const options = {
      documents: Number(values.documents),
      rounds: Math.min(rounds, 3),
      backlogBytes: Number(values.backlog) * 1e6,
    }
    const embedded = await benchIngest(bench, options, say)
    return meilisearch === undefined
      ? [embedded]
      : [embedded, await benchIngest(bench, { ...options, meilisearch }, say)]
  },
  engine: (bench) =>
    benchEngine(
      bench,
      {
        documents: Number(values.documents),
        queries: Number(values.queries),
        minutes: Number(values.minutes),
        indexingMemory: values['max-indexing-memory'],
        ...(meilisearch === undefined ? {} : { meilisearch }),
      },
      say,
    ),
  spread: async (bench) => ({
    stubs: await benchSpread(bench, { rounds, seconds: Number(values.seconds) }, say),
    nodes: await benchSpreadNodes(
      bench,
      { rounds, seconds: Number(values.seconds), documents: Number(values.documents) },
      say,
    ),
  }),
  moves: async (bench) => {
    const options = {
      documents: Number(values.documents),
      seconds: Number(values.seconds),
      small: Number(values.small),
      rates: { writesPerSecond: Number(values.writes), searchesPerSecond: Number(values.searches) },
    }
    const embedded = await benchMoves(bench, options, say)
    return meilisearch === undefined
      ? [embedded]
      : [embedded, await benchMoves(bench, { ...options, meilisearch }, say)]
  },
  density: (bench) =>
    benchDensity(
      bench,
      {
        counts: values.counts.split(',').map(Number),
        documents: Number(values.small),
        seconds: Number(values.seconds),
        ...(meilisearch === undefined ? {} : { meilisearch }),
      },
      say,
    ),
  up: (bench) => benchUp(bench, say),
  routes: () => benchRoutes(),
  micro: async () => benchMicro(say),
  plan: async () => benchPlan(say),
}

const names = positionals.length === 0 ? Object.keys(parts) : positionals
const results: Record<string, unknown> = {
  machine: { cpus: cpus().length, model: cpus()[0]?.model, node: process.version },
}
for (const name of names) {
  const part = parts[name]
  if (part === undefined) throw new Error(`unknown part ${name}: one of ${Object.keys(parts).join(', ')}`)
  const bench = new Bench()
  try {
    say(`\n== ${name}`)
    results[name] = await part(bench)
  } finally {
    await bench.close()
  }
}
const text = JSON.stringify(results, null, 2)
if (values.json === undefined) console.log(text)
else writeFileSync(values.json, `${text}\n`)
