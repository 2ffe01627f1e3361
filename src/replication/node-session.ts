/**
 * One stretch of work with one node under one lease and one identity of its disk: what the lanes of the node share. It ends
 * when the lease is lost, the disk turns out to be another, or the worker stops.
 */
import type { Engine, EngineReply, EngineTask } from '../engine/engine.ts'
import type { LaneProof, NodeLease } from '../journal/ports.ts'
import { withDeadline } from './deadline.ts'
import type { ReplicationDeps } from './dependencies.ts'
import type { NumberLedger } from './number-ledger.ts'
import type { SendWindow } from './send-window.ts'
import type { TaskWatch } from './task-watch.ts'
import type { WriteProbe } from './write-probe.ts'

/** Reads that are not answered by then count as failed. */
export const askDeadlineMs = 20_000
/** A write without payload, and how much longer one may take per byte of payload (at 1 MB/s). */
const writeDeadlineMs = 20_000
const writeBytesPerMs = 1_000

/** The store says that another worker holds the node now. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}

export interface NodeSession {
  readonly deps: ReplicationDeps
  readonly lease: NodeLease
  /** Whether the lease lasts still, by this worker's clock: one that stood still may go on after another has begun. */
  readonly isHeld: () => boolean
  readonly engine: Engine
  /** Text of the disk's marker. */
  readonly marker: string
  /** Names of the indexes that the disk held when the session began; those that a lane deletes are taken out. */
  readonly leftovers: Set<string>
  readonly window: SendWindow
  readonly watch: TaskWatch
  readonly ledger: NumberLedger
  readonly probe: WriteProbe
  readonly signal: AbortSignal
  /**
   * Makes sure that the disk is still ours and that lanes know of every request that came late so far.
   * @throws when it is not, or when the node does not answer.
   */
  readonly verify: () => Promise<void>
  /** Ends the session. */
  readonly end: (reason: 'lease-lost' | 'other-disk') => void
  /** A lane's newest proof reached the store. */
  readonly prove: (proof: LaneProof) => void
}

/** One read, with its deadline. */
export function ask<T>(
  session: NodeSession,
  call: (signal: AbortSignal) => Promise<EngineReply<T>>,
): Promise<EngineReply<T>> {
  return withDeadline(session.deps.clock, askDeadlineMs, session.signal, call)
}

/**
 * One write: its number is accounted for, and its task is followed.
 * @throws LeaseLost when the lease is over: another worker may be at work.
 */
export async function send(
  session: NodeSession,
  byteCount: number,
  call: (signal: AbortSignal) => Promise<EngineReply<number>>,
  onEnd?: (task: EngineTask | undefined) => void,
): Promise<EngineReply<number>> {
  const { deps, ledger, watch, signal } = session
  if (!session.isHeld()) throw new LeaseLost()
  const ticket = ledger.begin()
  let number: number | undefined
  try {
    const limitMs = writeDeadlineMs + byteCount / writeBytesPerMs
    const reply = await withDeadline(deps.clock, limitMs, signal, call)
    if (reply.kind === 'answered' && ledger.isReused(reply.value)) {
      session.end('other-disk')
      return { kind: 'unknown', reason: 'a task number came twice' }
    }
    if (reply.kind === 'answered') {
      number = reply.value
      watch.follow(number, onEnd)
    }
    return reply
  } finally {
    ledger.end(ticket, number)
  }
}

/** A write, and its task when it has ended. */
export async function sendAndWait(
  session: NodeSession,
  call: (signal: AbortSignal) => Promise<EngineReply<number>>,
): Promise<EngineReply<EngineTask>> {
  const reply = await send(session, 0, call)
  if (reply.kind !== 'answered') return reply
  await session.watch.settled([reply.value], session.signal)
  const task = session.watch.ended(reply.value)
  session.watch.forget([reply.value])
  return task === undefined ? { kind: 'unknown', reason: 'the session ended' } : { kind: 'answered', value: task }
}
