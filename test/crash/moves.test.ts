/**
 * `kill -9` of every process at the end of every step of a move: each move ends whole on the old node or on the new one,
 * nothing acknowledged is lost or comes twice, and a search whose replica lives does not fail.
 *
 * MOVES_SEED (default 1) draws what is written; MOVES_VICTIM names one of those that are killed, default all.
 */
import assert from 'node:assert/strict'
import { assertReplicasHold } from './fleet-traffic.ts'
import { nodeOf, type StrikeCase, testStrikes } from './move-strikes.ts'

const everybody = ['worker', 'source', 'target', 'database'] as const
const [source, target] = ['search-0', 'search-1']

interface Case extends StrikeCase {
  /** Who is read when the move is held. */
  readonly reader: 'source' | 'target'
}

testStrikes<(typeof everybody)[number], Case>({
  what: 'move',
  seed: Number(process.env.MOVES_SEED ?? 1),
  shape: {
    ...{ groups: 1, nodesPerGroup: 2, gateways: 1, workers: 1 },
    // Moves that are held are busy.
    env: { FLAPJACK_MOVES_PER_NODE_MAX: '64', FLAPJACK_MOVES_TOTAL_MAX: '64' },
  },
  victims: everybody.filter((victim) => (process.env.MOVES_VICTIM ?? victim) === victim),
  cases: [
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
  ],
  async prepare({ store }, _indexes, fill) {
    // All begin on one node: the other takes none yet.
    await store.catalogue.setNodeState(target, 'draining')
    await fill()
    await store.catalogue.setNodeState(target, 'active')
  },
  open: async ({ orders }, uid, keepMs) =>
    (await orders.open({ index: uid, project: null, target, options: { keepMs } })).move.id,
  processOf: (fleet, victim) =>
    victim === 'worker' ? fleet.workers[0]! : nodeOf(fleet, victim === 'source' ? source : target).process,
  isMissed: (victim, { reader }) => reader === victim,
  /** On the node where it must be, and on no other. */
  async assertWhole(fleet, uid, { end }, contents) {
    await assertReplicasHold(fleet, uid, contents, ['active', 'standby'])
    const { replicas } = await fleet.show(uid)
    const home = end === 'keeping_back' || end === 'closed' ? target : source
    const kept = end === 'keeping_back' ? [`${source} standby`] : []
    assert.deepEqual(replicas.map(({ node, state }) => `${node} ${state}`).sort(), [`${home} active`, ...kept].sort())
  },
  // What operators would ask.
  check: async (fleet, uid) => void (await fleet.cli('verify', uid)),
})
