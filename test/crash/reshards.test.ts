/**
 * `kill -9` of every process at the end of every step of a reshard: each index ends whole with the old number of shards or with
 * the new one, nothing acknowledged is lost or comes twice, and no search fails, since every shard has a copy that lives.
 *
 * RESHARDS_SEED (default 1) draws what is written; RESHARDS_VICTIM names one of those that are killed, default all.
 */
import assert from 'node:assert/strict'
import { systemClock } from '../../src/lib/clock.ts'
import { systemRandom } from '../../src/lib/random.ts'
import { openReshard } from '../../src/orchestrator/reshard/open-reshard.ts'
import { appliedBy, assertReplicasHold, Course, pause } from './fleet-traffic.ts'
import { nodeOf, type StrikeCase, testStrikes } from './move-strikes.ts'

const everybody = ['worker', 'node', 'database'] as const
const [before, after] = [2, 3]
const copies = 2

testStrikes<(typeof everybody)[number], StrikeCase>({
  what: 'reshard',
  seed: Number(process.env.RESHARDS_SEED ?? 1),
  shape: {
    ...{ groups: 1, nodesPerGroup: 2, gateways: 1, workers: 1 },
    env: { FLAPJACK_MOVES_PER_NODE_MAX: '64', FLAPJACK_MOVES_TOTAL_MAX: '64' },
  },
  victims: everybody.filter((victim) => (process.env.RESHARDS_VICTIM ?? victim) === victim),
  cases: [
    { step: 'planned', end: 'keeping_back' },
    { step: 'copying', end: 'keeping_back' },
    { step: 'catching_up', end: 'keeping_back' },
    { step: 'verifying', end: 'keeping_back' },
    { step: 'switching', end: 'keeping_back' },
    { step: 'keeping_back', end: 'closed' },
    { step: 'closing', end: 'closed' },
    { step: 'undoing', end: 'undone' },
    { step: 'clearing', end: 'keeping_back', isLost: true, attempts: 1 },
    { step: 'cancelling', end: 'cancelled' },
    { step: 'failing', end: 'failed', attempts: 3 },
  ],
  // Three of many replicas that are written to, compared and killed at once: one may begin anew under its copy.
  spareAttempts: 1,
  async prepare(fleet, indexes, fill) {
    for (const uid of indexes)
      await fleet.cli('index', 'create', uid, '--shards', `${before}`, '--rf', `${copies}`, '--primary-key', 'id')
    await fill()
  },
  async open({ fleet, indexes }, uid, keepMs) {
    const { catalogue } = fleet.store
    const index = (await catalogue.snapshot()).indexes.find(({ id }) => id === indexes.get(uid))!
    const deps = { ...fleet.store, keepsPayloads: true, clock: systemClock, random: systemRandom }
    const spread = { ...index.spread!, shards: after }
    const opened = await openReshard(deps, { index, spread, options: { keepMs, bytesPerSecond: null } })
    assert.ok(!('refusal' in opened), JSON.stringify(opened))
    return opened.id
  },
  processOf: (fleet, victim) => (victim === 'worker' ? fleet.workers[0]! : nodeOf(fleet, 'search-0').process),
  isMissed: () => false,
  /** As many shards as it must have, each on both nodes, and the others only while they are kept. */
  async assertWhole(fleet, uid, { end }, contents) {
    await assertReplicasHold(fleet, uid, contents)
    const { spread } = await fleet.show(uid)
    const isNew = end === 'keeping_back' || end === 'closed'
    assert.equal(spread?.shards, isNew ? after : before)
    const { indexes } = await fleet.store.catalogue.snapshot()
    const { id } = indexes.find((index) => index.uid === uid)!
    const course = new Course()
    let standing = await fleet.store.replicas.standing(id)
    while (standing?.replicas.some(({ applied }) => applied < standing!.head)) {
      const { replicas } = standing
      course.note(appliedBy(replicas), () => `what is kept stays behind: ${JSON.stringify(replicas)}`)
      await pause(100)
      standing = await fleet.store.replicas.standing(id)
    }
    const told = (state: string, shards: number) =>
      fleet.nodes.map(({ id }) => `${id} ${state} ${Array.from({ length: shards }, (_, shard) => shard)}`)
    assert.deepEqual(
      standing?.replicas.map(({ node, state, shards }) => `${node} ${state} ${shards}`).sort(),
      [...told('active', isNew ? after : before), ...(end === 'keeping_back' ? told('standby', before) : [])].sort(),
    )
    // What is kept takes every change, too.
    for (const { node, physicalUid, state } of standing?.replicas ?? []) {
      if (state !== 'standby') continue
      const held = await fleet.documentsOn(nodeOf(fleet, node), physicalUid)
      assert.deepEqual(
        held.map(({ id }) => id),
        [...contents.keys()].sort((a, b) => a - b),
        `${uid} kept on ${node}`,
      )
    }
  },
  check: async (fleet, uid) => void (await fleet.cli('verify', uid)),
})
