/**
 * Brings a file from engine to engine in parts, on one of several ways. Each part is checked where it arrives, before it is added;
 * the whole is checked when it is restored. Breaks of either side are waited out; the target says what it has.
 */
import type { EngineReply } from '../../engine/engine.ts'
import type { EngineSnapshots, SnapshotPart } from '../../engine/engine-snapshots.ts'
import type { Clock } from '../../lib/clock.ts'
import { answered, MoveFailure } from './move-context.ts'

/** How the parts of one file go over. */
export interface PartWay<P> {
  readonly partBytesMax: number
  /** Parts that are taken from the source before the target has the one in front of them. */
  readonly ahead: number
  /** Takes the bytes `start` to `end`, the end not included, from the source. Failed or refused, it is asked for again. */
  take(start: number, end: number): Promise<EngineReply<P>>
  /**
   * Gives a part to the target where it follows what that has; answers how much that is now. null only asks. Refused with 422 when
   * the part is not what was taken.
   */
  give(part: P | null): Promise<EngineReply<number>>
}

export interface FileTransfer<P> {
  readonly way: PartWay<P>
  readonly byteCount: number
  /** null = as fast as it goes. */
  readonly bytesPerSecond: number | null
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Told how many bytes are there. */
  readonly onProgress: (bytes: number) => Promise<void>
}

/** What both engines and the file are, on any way. */
export interface FileEnds {
  readonly source: EngineSnapshots
  readonly target: EngineSnapshots
  readonly name: string
  readonly byteCount: number
  readonly signal: AbortSignal
}

/** Through this process: the digest of each part is computed where the file lies and checked where it arrives. Memory: two parts. */
export function straightWay({ source, target, name, byteCount, signal }: FileEnds): PartWay<SnapshotPart> {
  return {
    partBytesMax: straightBytesMax,
    ahead: 1,
    take: (start, end) => source.read(name, start, end, signal),
    give: (part) => target.write(name, byteCount, part, signal),
  }
}

/** What a break costs at most: 2 % where a link breaks every 50 MB (P-29). Larger parts are no faster. */
const straightBytesMax = 2 ** 20
const partBytesMin = 64 * 2 ** 10
/** Breaks in a row, without a byte between, before it is left to the next try of the step. */
const breaksMax = 5
const breakMs = 100
/** Times that one part came with a wrong checksum, in a row. */
const corruptMax = 3

/** @throws MoveFailure `transfer_corrupt`. */
export async function transferFile<P>(transfer: FileTransfer<P>): Promise<void> {
  const { way, byteCount, bytesPerSecond, clock, signal, onProgress } = transfer
  const partBytes = Math.min(way.partBytesMax, Math.max(partBytesMin, bytesPerSecond ?? way.partBytesMax))
  const startedAt = clock.monotonic()
  let sent = 0
  let breaks = 0
  let corrupt = 0
  let received: number | undefined
  // The part that goes out and those behind it: whatever breaks, none is taken twice.
  const parts = new Map<number, Promise<EngineReply<P>>>()
  for (;;) {
    const before = received
    const step = await oneStep()
    if (step.kind === 'answered') {
      received = step.value
      if (before !== undefined && received > before) [breaks, corrupt] = [0, 0]
      await onProgress(received)
      if (received >= byteCount) return
      await throttle()
      continue
    }
    received = undefined
    if (step.kind === 'refused' && step.status === 422) {
      corrupt += 1
      if (corrupt >= corruptMax)
        throw new MoveFailure(`transfer_corrupt: a part came with a wrong checksum ${corrupt} times`)
      continue
    }
    breaks += 1
    if (breaks >= breaksMax || step.kind === 'refused') answered('a part of a snapshot', step)
    await clock.sleep(breakMs * 2 ** breaks, signal)
  }

  /** Asks what is there, or gives the next part; while it goes out those behind it are taken. */
  async function oneStep(): Promise<EngineReply<number>> {
    if (received === undefined) return way.give(null)
    const start = received
    for (const other of parts.keys()) if (other < start) parts.delete(other)
    const ends = Array.from({ length: way.ahead + 1 }, (_, at) => Math.min(byteCount, start + (at + 1) * partBytes))
    const part = await partAt(start, ends[0]!)
    if (part.kind !== 'answered') {
      parts.delete(start)
      return part
    }
    sent += ends[0]! - start
    for (let at = 1; at < ends.length; at += 1) if (ends[at - 1]! < byteCount) void partAt(ends[at - 1]!, ends[at]!)
    const given = await way.give(part.value)
    if (given.kind === 'refused') parts.delete(start)
    return given
  }

  function partAt(start: number, end: number): Promise<EngineReply<P>> {
    const known = parts.get(start)
    if (known !== undefined) return known
    const part = way.take(start, end)
    parts.set(start, part)
    return part
  }

  async function throttle(): Promise<void> {
    if (bytesPerSecond === null) return
    const due = (sent / bytesPerSecond) * 1_000 - (clock.monotonic() - startedAt)
    if (due > 0) await clock.sleep(due, signal)
  }
}
