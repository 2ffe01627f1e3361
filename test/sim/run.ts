/**
 * `node --import tsx test/sim/run.ts --seeds 1000 [--from N] [--processes P] [--moves [--parts | --reshards]] [--basic] [--trace]`: many runs; prints each seed that fails
 * and how to replay it. Without `--plain`, `--spread` or `--calm` the seed decides what world it is.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { simulate } from './simulation.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    /** The seeds are dealt out to so many processes. */
    processes: { type: 'string', default: '1' },
    /** Every so many-th of the seeds alone. */
    step: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    /** Only worlds of plain, or with spread, indexes. */
    plain: { type: 'boolean', default: false },
    spread: { type: 'boolean', default: false },
    /** An index goes from node to node meanwhile. */
    moves: { type: 'boolean', default: false },
    /** Some shards of a spread index, from several nodes to one. */
    parts: { type: 'boolean', default: false },
    /** An index comes to lie over another number of shards. */
    reshards: { type: 'boolean', default: false },
    /** Only what the first simulator did; see `SimulationOptions`. */
    basic: { type: 'boolean', default: false },
    /** Without faults. */
    calm: { type: 'boolean', default: false },
  },
})
const from = Number(values.from)
const count = Number(values.seeds)
const step = Number(values.step)
const processes = Number(values.processes)

interface Tally {
  seeds: number
  failed: number
  reads: number
  cpuMs: number
}

/** What loading the program takes is not counted. */
const loadedAt = process.cpuUsage()

async function runSeeds(): Promise<Tally> {
  const only = values.plain || values.spread ? { isSpread: values.spread } : {}
  const isCalm = values.calm || values.plain || values.spread ? { isCalm: values.calm } : {}
  const flags = (['plain', 'spread', 'calm', 'moves', 'parts', 'reshards', 'basic'] as const)
    .flatMap((name) => (values[name] ? [`--${name} `] : []))
    .join('')
  const tally: Tally = { seeds: 0, failed: 0, reads: 0, cpuMs: 0 }
  for (let seed = from; seed < from + count; seed += step) {
    const result = await simulate(seed, {
      ...only,
      ...isCalm,
      isMoving: values.moves,
      isPartial: values.parts,
      isResharding: values.reshards,
      isBasic: values.basic,
    })
    tally.seeds += 1
    tally.reads += result.readCount
    if (values.trace) console.log(result.trace.join('\n'))
    if (result.violations.length === 0) continue
    tally.failed += 1
    console.log(
      `seed ${seed} fails; replay: node --import tsx test/sim/run.ts ${flags}--seeds 1 --from ${seed} --trace`,
    )
    for (const violation of result.violations) console.log(`  ${violation}`)
  }
  const { user, system } = process.cpuUsage(loadedAt)
  tally.cpuMs = (user + system) / 1000
  return tally
}

/** The same in processes of their own, each with its share. */
async function runShares(): Promise<Tally> {
  const kinds = (['plain', 'spread', 'calm', 'moves', 'parts', 'reshards', 'basic'] as const).flatMap((name) =>
    values[name] ? [`--${name}`] : [],
  )
  const shares = Array.from({ length: processes }, async (_, at) => {
    const span = ['--seeds', String(count - at), '--from', String(from + at), '--step', String(processes)]
    const child = fork(fileURLToPath(import.meta.url), [...span, ...kinds])
    let tally: Tally | undefined
    child.on('message', (told) => {
      tally = told as Tally
    })
    await new Promise((resolve) => child.once('exit', resolve))
    if (tally === undefined) throw new Error(`process ${at + 1} ended early`)
    return tally
  })
  const sum = (tallies: readonly Tally[], name: keyof Tally) => tallies.reduce((total, one) => total + one[name], 0)
  const told = await Promise.all(shares)
  return {
    seeds: sum(told, 'seeds'),
    failed: sum(told, 'failed'),
    reads: sum(told, 'reads'),
    cpuMs: sum(told, 'cpuMs'),
  }
}

const startedAt = performance.now()
const tally = await (processes > 1 ? runShares() : runSeeds())
if (process.send !== undefined) process.send(tally)
else
  console.log(
    `${tally.seeds} seeds, ${tally.failed} failed, ${tally.reads} reads compared, ` +
      `${((performance.now() - startedAt) / 1000).toFixed(1)} s, ${(tally.cpuMs / tally.seeds).toFixed(1)} ms CPU per seed`,
  )
process.exitCode = tally.failed === 0 ? 0 : 1
