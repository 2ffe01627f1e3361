/** Three nodes with two copies of each shard: what a client notices when a node or a worker is killed while it works. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../src/lib/random.ts'
import { Fleet } from './fleet.ts'
import { FleetClient } from './fleet-client.ts'
import { assertReplicasHold, pause, Traffic } from './fleet-traffic.ts'

const seed = Number(process.env.FLEET_SEED ?? 1)
/** With a moment for the machine, which others use too. */
const takenOverMsMax = 5_000

let fleet: Fleet
let traffic: Traffic
let client: FleetClient
const random = seededRandom(seed)
before(async () => {
  fleet = await Fleet.create({ groups: 1, nodesPerGroup: 3, gateways: 1, workers: 2 })
  await fleet.cli('index', 'create', 'spread', '--shards', '8', '--rf', '2', '--primary-key', 'id')
  client = new FleetClient(fleet.gateways.map(({ url }) => url))
  traffic = new Traffic(client, ['spread'])
  await traffic.prepare()
})
after(() => fleet?.destroy())

const nextRandom = () => seededRandom(random.integer(2 ** 31))

test('a node that is killed under load costs no search and no write, and has everything when it is back', async (t) => {
  const stop = new AbortController()
  const running = traffic.run(nextRandom, stop.signal)
  await pause(1_000)
  const { process } = fleet.nodes[random.integer(fleet.nodes.length)]!
  await process.kill()
  await pause(4_000)
  await process.start()
  await pause(1_000)
  stop.abort()
  await running
  const { answered, slowestMs } = traffic.searches
  t.diagnostic(`${answered} searches, ${traffic.failures.length} failed, slowest ${Math.round(slowestMs)} ms`)
  assert.deepEqual([traffic.failures, traffic.gaps, traffic.refusals], [[], [], []], fleet.output)
  await assertReplicasHold(fleet, 'spread', (await traffic.expected()).get('spread')!)
})

test('the lanes of a worker that is killed go on at another one within five seconds', async (t) => {
  const [holder, other] = fleet.workers
  assert.ok(holder && other)
  await other.stop()
  const before = await oneHolder()
  await other.start()
  await holder.kill()
  const killedAt = performance.now()
  await traffic.writeOne(random, 'spread')
  assert.notEqual(await oneHolder(before), before)
  const heldMs = performance.now() - killedAt
  await traffic.settled()
  const movedMs = performance.now() - killedAt
  t.diagnostic(`nodes taken over after ${Math.round(heldMs)} ms, a write done after ${Math.round(movedMs)} ms`)
  await assertReplicasHold(fleet, 'spread', (await traffic.expected()).get('spread')!)
})

/** Waits until one worker holds every node, and not the one that is named. */
async function oneHolder(before?: string): Promise<string> {
  const askedAt = performance.now()
  for (;;) {
    const holders = await fleet.holders()
    const [owner, ...others] = new Set(holders.values())
    if (holders.size === fleet.nodes.length && owner !== undefined && owner !== before && others.length === 0)
      return owner
    assert.ok(performance.now() - askedAt < takenOverMsMax, 'nobody took over')
    await pause(20)
  }
}
