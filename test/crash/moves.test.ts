/**
 * `kill -9` of every process at the end of every step of a move, while a client writes and searches: each move ends whole on
 * the old node or on the new one, nothing acknowledged is lost or comes twice, and a search whose replica lives does not fail.
 *
 * For each victim, one index is brought to the end of each step and held there; then the victim is killed, once for all of
 * them, and all go on. MOVES_SEED (default 1) draws what is written; MOVES_VICTIM names one of them, default all.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createMoveOrders, type MoveOrders } from '../../src/control/move-orders.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom, systemRandom } from '../../src/lib/random.ts'
import type { IndexId } from '../../src/store/catalogue.ts'
import type { Move } from '../../src/store/moves.ts'
import { isEnded, type MoveStep } from '../../src/topology/move-steps.ts'
import { Fleet } from './fleet.ts'
import { FleetClient } from './fleet-client.ts'
import { assertReplicasHold, pause, Traffic } from './fleet-traffic.ts'
import type { Contents } from './model.ts'
import { MoveGates } from './move-gates.ts'

const seed = Number(process.env.MOVES_SEED ?? 1)
const random = seededRandom(seed)
const nextRandom = () => seededRandom(random.integer(2 ** 31))

const everybody = ['worker', 'source', 'target', 'database'] as const
type Victim = (typeof everybody)[number]
const victims = everybody.filter((victim) => (process.env.MOVES_VICTIM ?? victim) === victim)

interface Case {
  readonly step: MoveStep
  /** Who is read when the move is held. */
  readonly reader: 'source' | 'target'
  readonly end: MoveStep
  /** What was copied first is not there any more. */
  readonly isLost?: boolean
  /** Copies that came to nothing, in the end. */
  readonly attempts?: number
}

const cases: readonly Case[] = [
  { step: 'planned', reader: 'source', end: 'keeping_back' },
  { step: 'copying', reader: 'source', end: 'keeping_back' },
  { step: 'catching_up', reader: 'source', end: 'keeping_back' },
  { step: 'verifying', reader: 'source', end: 'keeping_back' },
  { step: 'switching', reader: 'target', end: 'keeping_back' },
  { step: 'keeping_back', reader: 'target', end: 'closed' },
  { step: 'closing', reader: 'target', end: 'closed' },
  { step: 'undoing', reader: 'source', end: 'undone' },
  { step: 'clearing', reader: 'source', end: 'keeping_back', isLost: true, attempts: 1 },
  { step: 'cancelling', reader: 'source', end: 'cancelled' },
  { step: 'failing', reader: 'source', end: 'failed', attempts: 3 },
]

const keepMs = 3_600_000
/** How long a node that was killed is away at least. */
const awayMs = 1_000
const endedMsMax = 300_000
const [source, target] = ['search-0', 'search-1']
const uidOf = (victim: Victim, { step }: Case): string => `${victim}-${step}`
const indexes = victims.flatMap((victim) => cases.map((one) => uidOf(victim, one)))

let fleet: Fleet
let gates: MoveGates
let orders: MoveOrders
let traffic: Traffic
let ids: ReadonlyMap<string, IndexId>
before(async () => {
  fleet = await Fleet.create({
    ...{ groups: 1, nodesPerGroup: 2, gateways: 1, workers: 1 },
    // Moves that are held are busy.
    env: { FLAPJACK_MOVES_PER_NODE_MAX: '64', FLAPJACK_MOVES_TOTAL_MAX: '64' },
  })
  gates = await MoveGates.create(fleet)
  orders = createMoveOrders({ ...fleet.store, clock: systemClock, random: systemRandom })
  traffic = new Traffic(new FleetClient(fleet.gateways.map(({ url }) => url)), indexes)
  // All begin on one node: the other takes none yet.
  await fleet.store.catalogue.setNodeState(target, 'draining')
  await traffic.prepare()
  await fleet.store.catalogue.setNodeState(target, 'active')
  ids = new Map((await fleet.store.catalogue.snapshot()).indexes.map(({ uid, id }) => [uid, id]))
})
after(async () => {
  await gates?.end()
  await fleet?.destroy()
})

for (const victim of victims) {
  test(`kill -9 of ${victim} at every step of a move (MOVES_SEED=${seed})`, async (t) => {
    const own = cases.map((one) => uidOf(victim, one))
    const stop = new AbortController()
    const running = traffic.run(nextRandom, stop.signal, own, 1)
    const moved = async () => {
      const held = await Promise.all(cases.map((one) => hold(uidOf(victim, one), one)))
      await strike(victim, async () => {
        for (const one of cases) await gates.open(ids.get(uidOf(victim, one))!, one.step)
      })
      return Promise.all(held.map((id, at) => ended(id, cases[at]!.end)))
    }
    const moves = await moved().finally(() => stop.abort())
    await running
    const contents = await traffic.expected()
    for (const [at, one] of cases.entries()) {
      await t.test(`${victim} dies when a move has done \`${one.step}\``, async () => {
        const uid = uidOf(victim, one)
        assert.equal(moves[at]!.step, one.end, JSON.stringify(moves[at]))
        assert.equal(moves[at]!.progress.attempts ?? 0, one.attempts ?? 0)
        await assertWhole(uid, one, contents.get(uid)!)
        const own = (failures: Traffic['failures']) => failures.filter(({ index }) => index === uid)
        const lost = one.reader === victim ? [] : own(traffic.failures)
        assert.deepEqual({ gaps: own(traffic.gaps), lost }, { gaps: [], lost: [] }, fleet.output)
      })
    }
    // What operators would ask.
    await fleet.cli('verify', uidOf(victim, cases[1]!))
    t.diagnostic(`${traffic.searches.answered} searches, ${traffic.acknowledged.size} writes acknowledged so far`)
  })
}

/** Opens the move of a case and brings it to the end of the step. Answers its id. */
async function hold(uid: string, { step, end, isLost = false }: Case): Promise<string> {
  const index = ids.get(uid)!
  await gates.close(index, step)
  if (step === 'failing') await gates.close(index, 'worn')
  if (isLost) await gates.close(index, 'lost')
  if (step === 'cancelling') await gates.close(index, 'begin')
  const options = { keepMs: end === 'closed' ? 0 : keepMs }
  const { id } = (await orders.open({ index: uid, project: null, target, options })).move
  if (step === 'cancelling') {
    await gates.reached(id, 'begin')
    await orders.wish(id, 'cancel')
  }
  if (step === 'undoing') {
    await ended(id, 'keeping_back')
    await orders.wish(id, 'undo')
  }
  await gates.reached(id, step)
  if (isLost) await gates.open(index, 'lost')
  return id
}

/** Kills the victim, lets the moves go on, and brings it back. */
async function strike(victim: Victim, open: () => Promise<void>): Promise<void> {
  if (victim === 'database') {
    await fleet.crashDatabase()
    await gates.reconnect()
    return open()
  }
  const process = victim === 'worker' ? fleet.workers[0]! : nodeOf(victim === 'source' ? source : target).process
  await process.kill()
  await open()
  // Long enough for the next steps to meet a node that is away.
  await pause(awayMs)
  await process.start()
}

const nodeOf = (id: string) => fleet.nodes.find((node) => node.id === id)!

/** Waits for a step; fails as soon as the move has ended otherwise. */
async function ended(id: string, step: MoveStep): Promise<Move> {
  for (const deadline = performance.now() + endedMsMax; ; ) {
    // The database may be away.
    const move = await fleet.store.moves.get(id).catch(() => undefined)
    if (move !== undefined && (move.step === step || isEnded(move.step))) return move
    assert.ok(performance.now() < deadline, `${JSON.stringify(move)}\n${fleet.output}`)
    await pause(50)
  }
}

/** On the node where it must be, and on no other. */
async function assertWhole(uid: string, { end }: Case, contents: Contents): Promise<void> {
  await assertReplicasHold(fleet, uid, contents, ['active', 'standby'])
  const { replicas } = await fleet.show(uid)
  const home = end === 'keeping_back' || end === 'closed' ? target : source
  const kept = end === 'keeping_back' ? [`${source} standby`] : []
  assert.deepEqual(replicas.map(({ node, state }) => `${node} ${state}`).sort(), [`${home} active`, ...kept].sort())
}
