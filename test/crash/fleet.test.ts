/**
 * Six nodes in two replica groups, two gateways and two workers over one database, killed and stopped at random while clients
 * write and search. FLEET_SECONDS (default 180) of it; FLEET_SEED (default 20778) draws what happens and is printed;
 * FLEET_WRITE_PAUSE_MS (default 60) lies between two writes of each of two writers.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../src/lib/random.ts'
import { Fleet } from './fleet.ts'
import { FleetClient } from './fleet-client.ts'
import { FaultPlan } from './fleet-plan.ts'
import { assertReplicasHold, pause, Traffic } from './fleet-traffic.ts'

const seed = Number(process.env.FLEET_SEED ?? 20778)
const seconds = Number(process.env.FLEET_SECONDS ?? 180)

let fleet: Fleet
before(async () => {
  fleet = await Fleet.create({ groups: 2, nodesPerGroup: 3, gateways: 2, workers: 2 })
  await fleet.cli('index', 'create', 'spread', '--shards', '8', '--rf', '2', '--primary-key', 'id')
  await fleet.cli('index', 'create', 'plain', '--plain', '--primary-key', 'id')
})
after(() => fleet?.destroy())

test(`nothing acknowledged is lost, replicas are equal and no search fails while nodes, gateways and workers are killed and stopped (FLEET_SEED=${seed})`, async (t) => {
  const random = seededRandom(seed)
  const nextRandom = () => seededRandom(random.integer(2 ** 31))
  const indexes = ['spread', 'plain']
  const client = new FleetClient(fleet.gateways.map(({ url }) => url))
  const traffic = new Traffic(client, indexes)
  await traffic.prepare()
  const plan = new FaultPlan(fleet, indexes, nextRandom())
  const stop = new AbortController()
  const running = Promise.all([traffic.run(nextRandom, stop.signal), plan.run(stop.signal)])
  const report = () => `${plan.told.join('\n')}\n${fleet.output}`
  try {
    await Promise.race([running, pause(seconds * 1_000)]).finally(() => stop.abort())
    await running
    const { searches, acknowledged, refusals, gaps } = traffic
    // A plain index has one copy, which may be away.
    const failures = traffic.failures.filter(({ index }) => index === 'spread')
    t.diagnostic(`${plan.told.length} events, ${acknowledged.size} writes acknowledged, ${refusals.length} refused`)
    t.diagnostic(`${searches.answered} searches answered, slowest ${Math.round(searches.slowestMs)} ms`)
    assert.deepEqual({ gaps, failures }, { gaps: [], failures: [] })
    const contents = await traffic.expected()
    for (const index of indexes) await assertReplicasHold(fleet, index, contents.get(index)!)
    const shown = JSON.parse(await fleet.cli('index', 'show', 'spread', '--json'))
    for (const { lag } of shown.replicas) assert.equal(lag, 0)
  } catch (error) {
    t.diagnostic(report())
    throw error
  }
})
