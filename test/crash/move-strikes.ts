/**
 * `kill -9` at the end of every step of a move, while a client writes and searches: for each victim, one index is brought to
 * the end of each step and held there; then the victim is killed, once for all of them, and all go on.
 */
import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { createMoveOrders, type MoveOrders } from '../../src/control/move-orders.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { seededRandom, systemRandom } from '../../src/lib/random.ts'
import type { IndexId } from '../../src/store/catalogue.ts'
import type { Move } from '../../src/store/moves.ts'
import { isEnded, type MoveStep } from '../../src/topology/move-steps.ts'
import { Fleet, type FleetShape } from './fleet.ts'
import { FleetClient } from './fleet-client.ts'
import type { FleetProcess } from './fleet-process.ts'
import { pause, Traffic } from './fleet-traffic.ts'
import type { Contents } from './model.ts'
import { MoveGates } from './move-gates.ts'

export interface StrikeCase {
  readonly step: MoveStep
  readonly end: MoveStep
  /** What was copied first is not there any more. */
  readonly isLost?: boolean
  /** Copies that came to nothing, in the end. */
  readonly attempts?: number
}

/** Everything that a test needs of the fleet while it runs. */
export interface StrikeWorld {
  readonly fleet: Fleet
  readonly orders: MoveOrders
  readonly indexes: ReadonlyMap<string, IndexId>
}

export interface Strikes<Victim extends string, Case extends StrikeCase> {
  /** Such as `move`. */
  readonly what: string
  /** Draws what is written. */
  readonly seed: number
  readonly shape: FleetShape
  readonly victims: readonly Victim[]
  readonly cases: readonly Case[]
  /** Copies that may come to nothing beside those that the cases name. Default 0. */
  readonly spareAttempts?: number
  /** Before and after the indexes are filled. */
  prepare(fleet: Fleet, indexes: readonly string[], fill: () => Promise<void>): Promise<void>
  /** Opens the move of an index, and answers its id. @param keepMs  how long the way back stays open. */
  open(world: StrikeWorld, uid: string, keepMs: number): Promise<string>
  processOf(fleet: Fleet, victim: Exclude<Victim, 'database'>): FleetProcess
  /** Whether searches may fail while it is away. */
  isMissed(victim: Victim, one: Case): boolean
  assertWhole(fleet: Fleet, uid: string, one: Case, contents: Contents): Promise<void>
  /** Once all has ended. */
  check?(fleet: Fleet, uid: string, t: TestContext): Promise<void>
}

const keepMs = 3_600_000
/** How long a process that was killed is away at least. */
const awayMs = 1_000
const endedMsMax = 300_000
const uidOf = (victim: string, { step }: StrikeCase): string => `${victim}-${step}`

export function testStrikes<Victim extends string, Case extends StrikeCase>(strikes: Strikes<Victim, Case>): void {
  const { what, seed, victims, cases } = strikes
  const random = seededRandom(seed)
  const nextRandom = () => seededRandom(random.integer(2 ** 31))
  const names = victims.flatMap((victim) => cases.map((one) => uidOf(victim, one)))
  let world: StrikeWorld
  let gates: MoveGates
  let traffic: Traffic

  before(async () => {
    const fleet = await Fleet.create(strikes.shape)
    const orders = createMoveOrders({ ...fleet.store, clock: systemClock, random: systemRandom })
    world = { fleet, orders, indexes: new Map() }
    gates = await MoveGates.create(fleet)
    traffic = new Traffic(new FleetClient(fleet.gateways.map(({ url }) => url)), names)
    await strikes.prepare(fleet, names, () => traffic.prepare())
    const { indexes } = await fleet.store.catalogue.snapshot()
    world = { fleet, orders, indexes: new Map(indexes.map(({ uid, id }) => [uid, id])) }
  })
  after(async () => {
    await gates?.end()
    await world?.fleet.destroy()
  })

  for (const victim of victims) {
    test(`kill -9 of ${victim} at every step of a ${what} (seed ${seed})`, async (t) => {
      const { fleet } = world
      const own = cases.map((one) => uidOf(victim, one))
      const stop = new AbortController()
      const running = traffic.run(nextRandom, stop.signal, own, 1)
      const moved = async () => {
        const held = await Promise.all(cases.map((one) => hold(uidOf(victim, one), one)))
        await strike(victim, async () => {
          for (const one of cases) await gates.open(world.indexes.get(uidOf(victim, one))!, one.step)
        })
        return Promise.all(held.map((id, at) => ended(id, cases[at]!.end)))
      }
      const moves = await moved().finally(() => stop.abort())
      await running
      const contents = await traffic.expected()
      for (const [at, one] of cases.entries()) {
        await t.test(`${victim} dies when a ${what} has done \`${one.step}\``, async () => {
          const uid = uidOf(victim, one)
          assert.equal(moves[at]!.step, one.end, JSON.stringify(moves[at]))
          const spare = (moves[at]!.progress.attempts ?? 0) - (one.attempts ?? 0)
          assert.ok(spare >= 0 && spare <= (strikes.spareAttempts ?? 0), JSON.stringify(moves[at]))
          await strikes.assertWhole(fleet, uid, one, contents.get(uid)!)
          const of = (failures: Traffic['failures']) => failures.filter(({ index }) => index === uid)
          const lost = strikes.isMissed(victim, one) ? [] : of(traffic.failures)
          assert.deepEqual({ gaps: of(traffic.gaps), lost }, { gaps: [], lost: [] }, fleet.output)
        })
      }
      await strikes.check?.(fleet, uidOf(victim, cases[1]!), t)
      t.diagnostic(`${traffic.searches.answered} searches, ${traffic.acknowledged.size} writes acknowledged so far`)
    })
  }

  /** Opens the move of a case and brings it to the end of the step. Answers its id. */
  async function hold(uid: string, { step, end, isLost = false }: Case): Promise<string> {
    const { orders } = world
    const index = world.indexes.get(uid)!
    await gates.close(index, step)
    if (step === 'failing') await gates.close(index, 'worn')
    if (isLost) await gates.close(index, 'lost')
    if (step === 'cancelling') await gates.close(index, 'begin')
    const id = await strikes.open(world, uid, end === 'closed' ? 0 : keepMs)
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
    const { fleet } = world
    if (isDatabase(victim)) {
      await fleet.crashDatabase()
      await gates.reconnect()
      return open()
    }
    const process = strikes.processOf(fleet, victim as Exclude<Victim, 'database'>)
    await process.kill()
    await open()
    // Long enough for the next steps to meet a node that is away.
    await pause(awayMs)
    await process.start()
  }

  /** Waits for a step; fails as soon as the move has ended otherwise. */
  async function ended(id: string, step: MoveStep): Promise<Move> {
    const { fleet } = world
    for (const deadline = performance.now() + endedMsMax; ; ) {
      // The database may be away.
      const move = await fleet.store.moves.get(id).catch(() => undefined)
      if (move !== undefined && (move.step === step || isEnded(move.step))) return move
      assert.ok(performance.now() < deadline, `${JSON.stringify(move)}\n${fleet.output}`)
      await pause(50)
    }
  }
}

const isDatabase = (victim: string): boolean => victim === 'database'

/** The node of a fleet with this id. */
export const nodeOf = (fleet: Fleet, id: string) => fleet.nodes.find((node) => node.id === id)!
