/** Runs that found a fault once, and what it was. The dice of a run fall otherwise when code changes, so each has a test of its own, too, where there could be one. */
import type { SimulationOptions } from './simulation.ts'

export interface KnownSeed {
  readonly seed: number
  readonly options: SimulationOptions
  /** What must not happen. */
  readonly fault: string
}

const basic: SimulationOptions = { isSpread: true, isBasic: true }
const spread: SimulationOptions = { isSpread: true }
const parts: SimulationOptions = { isMoving: true, isPartial: true }

export const knownSeeds: readonly KnownSeed[] = [
  { seed: 5371, options: basic, fault: 'a replica that refuses what others took is believed after two rebuilds' },
  { seed: 6113, options: basic, fault: 'a replica goes on without a document that only it refuses' },
  { seed: 20268, options: spread, fault: 'a replica goes on without a document that only it refuses' },
  { seed: 20328, options: spread, fault: 'an answer lacks a document that one replica refused' },
  { seed: 241, options: basic, fault: 'settings that a dead worker had on the way are taken for those sent last' },
  { seed: 6013, options: basic, fault: 'a rebuilt index is delivered again for what came before it was dropped' },
  { seed: 20100, options: spread, fault: 'a lane repeats a late request into an index that it has deleted, for ever' },
  { seed: 20297, options: spread, fault: 'a deleted index that a late write made anew stays' },
  {
    seed: 21372,
    options: spread,
    fault: 'behind a bundle that failed, a successor repeats changes of long ago before readers',
  },
  {
    seed: 449,
    options: { isSpread: true, isMoving: true },
    fault: 'a copy goes on into an index that a late deletion took, for ever',
  },
  {
    seed: 71,
    options: { isSpread: true, isMoving: true },
    fault: 'a move that fails gives up another replica of the index on its target node',
  },
  {
    seed: 70,
    options: { isSpread: true, isMoving: true },
    fault: 'a copy is taken from a replica that is built anew, and lacks what that has not got back',
  },
  {
    seed: 18,
    options: { isSpread: true, isMoving: true },
    fault: 'what a node said once is believed for being read four times',
  },
  { seed: 263, options: spread, fault: 'what a node said once is believed for being read four times' },
  { seed: 17, options: basic, fault: 'documents of others are looked for in an index without settings, for ever' },
  { seed: 1285, options: basic, fault: 'unexplained before changes went out in bundles' },
  { seed: 1431, options: basic, fault: 'unexplained before changes went out in bundles' },
  { seed: 6282, options: basic, fault: 'marks of an older disk are believed' },
  { seed: 76, options: basic, fault: 'what a late request lies over on the way is not delivered again' },
  { seed: 5165, options: basic, fault: 'what a late request lies over stays, since its tasks were deleted' },
  { seed: 4388, options: basic, fault: 'a request whose answer was lost counts as one of any age' },
  { seed: 109, options: basic, fault: 'a disk from before an index was made passes as ours' },
  {
    seed: 105,
    options: { isSpread: false, isMoving: true },
    fault: 'nobody is read while the replica that others gave way to is built anew',
  },
  {
    seed: 4,
    options: { isSpread: true, isMoving: true, isPartial: true },
    fault: 'shards that were given away are read by nobody while their new replica is built anew',
  },
  {
    seed: 900042,
    options: { isSpread: true, isMoving: true },
    fault: 'a part of a put that a dead worker sent stays, though the whole put of its successor is refused',
  },
  { seed: 50011, options: parts, fault: 'settings that failed and that the lane went back behind pass as late ones' },
  {
    seed: 537,
    options: parts,
    fault: 'what of a good bundle has nothing for the replica passes as lying under the rest',
  },
  { seed: 201059, options: parts, fault: 'settings are taken for failed because the mark behind them is' },
  { seed: 201715, options: parts, fault: 'tasks of a copy pass as requests of its lane that came late' },
  {
    seed: 201317,
    options: parts,
    fault: 'a read ends at a node that hangs, and asks nobody whose connection had broken off',
  },
  {
    seed: 201926,
    options: parts,
    fault: 'a move copies what a late request left on its source, before the lane looks',
  },
  { seed: 301103, options: {}, fault: 'settings of the node pass as those of a change whose mark comes late' },
  {
    seed: 401550,
    options: { isMoving: true },
    fault: 'a put of a copy that comes twice passes as a change of the lane',
  },
  {
    seed: 43,
    options: { isMoving: true, isResharding: true },
    fault: 'a reshard waits for ever for a replica that was being built anew when it began',
  },
  {
    seed: 502969,
    options: parts,
    fault: 'what a replica has told to have failed comes late, and stays under what is repeated',
  },
  {
    seed: 400187,
    options: { isMoving: true },
    fault: 'a part of what others end as failed stays, since it was to go out again',
  },
  {
    seed: 600877,
    options: { isMoving: true, isResharding: true },
    fault: 'a worker that stood still sends a change of long ago behind its lease',
  },
  {
    seed: 803228,
    options: { isMoving: true },
    fault: 'a disk of before a copy passes as ours until its lane sends something',
  },
  {
    seed: 601402,
    options: { isMoving: true, isResharding: true },
    fault: 'a replica that has nothing of a change that failed elsewhere is built anew before readers',
  },
  {
    seed: 802724,
    options: { isMoving: true },
    fault: 'a move copies an older disk of its source before the lane meets it',
  },
  {
    seed: 803177,
    options: { isMoving: true },
    fault: 'what was good of a change before stays when it fails on the way',
  },
  {
    seed: 600468,
    options: { isMoving: true, isResharding: true },
    fault: 'a late task that the node did not show once is never met',
  },
  {
    seed: 2200654,
    options: {},
    fault:
      'a change that failed elsewhere, and did not go out again when its lane went back, is taken for the oldest that is missing',
  },
  {
    seed: 2100691,
    options: { isMoving: true, isResharding: true },
    fault: 'a reshard copies for ever to an index that a deletion of before took away',
  },
]
