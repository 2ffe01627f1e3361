/** `node --import tsx test/sim/run.ts --seeds 1000 [--from N] [--trace]`: many runs; prints each seed that fails and how to replay it. */
import { parseArgs } from 'node:util'
import { simulate } from './simulation.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    /** Only worlds of plain, or with spread, indexes. */
    plain: { type: 'boolean', default: false },
    spread: { type: 'boolean', default: false },
    calm: { type: 'boolean', default: false },
  },
})
const from = Number(values.from)
const count = Number(values.seeds)
const only = values.plain || values.spread ? { isSpread: values.spread } : {}
const startedAt = performance.now()
let failed = 0
let reads = 0
for (let seed = from; seed < from + count; seed += 1) {
  const result = await simulate(seed, { ...only, isCalm: values.calm })
  reads += result.readCount
  if (values.trace) console.log(result.trace.join('\n'))
  if (result.violations.length === 0) continue
  failed += 1
  console.log(`seed ${seed} fails; replay: node --import tsx test/sim/run.ts --seeds 1 --from ${seed} --trace`)
  for (const violation of result.violations) console.log(`  ${violation}`)
}
console.log(
  `${count} seeds, ${failed} failed, ${reads} reads compared, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`,
)
process.exitCode = failed === 0 ? 0 : 1
