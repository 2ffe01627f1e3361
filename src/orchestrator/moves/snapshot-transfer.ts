/**
 * Brings a file from engine to engine in parts. The digest of each part is computed where the file lies and checked where it
 * arrives, before it is added; the whole is checked when it is restored. Breaks of either side are waited out; the target
 * says what it has.
 *
 * Memory: two parts.
 */
import type { EngineReply } from '../../engine/engine.ts'
import type { EngineSnapshots, SnapshotPart } from '../../engine/engine-snapshots.ts'
import type { Clock } from '../../lib/clock.ts'
import { answered, MoveFailure } from './move-context.ts'

export interface FileTransfer {
  readonly source: Pick<EngineSnapshots, 'read'>
  readonly target: Pick<EngineSnapshots, 'write'>
  readonly name: string
  readonly byteCount: number
  /** null = as fast as it goes. */
  readonly bytesPerSecond: number | null
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Told how many bytes are there. */
  readonly onProgress: (bytes: number) => Promise<void>
}

/** What a break costs at most: 2 % where a link breaks every 50 MB (P-29). Larger parts are no faster. */
const partBytesMax = 2 ** 20
const partBytesMin = 64 * 2 ** 10
/** Breaks in a row, without a byte between, before it is left to the next try of the step. */
const breaksMax = 5
const breakMs = 100
/** Times that one part came with a wrong checksum, in a row. */
const corruptMax = 3

/** @throws MoveFailure `transfer_corrupt`. */
export async function transferFile(transfer: FileTransfer): Promise<void> {
  const { target, name, byteCount, bytesPerSecond, clock, signal, onProgress } = transfer
  const partBytes = Math.min(partBytesMax, Math.max(partBytesMin, bytesPerSecond ?? partBytesMax))
  const startedAt = clock.monotonic()
  let sent = 0
  let breaks = 0
  let corrupt = 0
  let received: number | undefined
  // The part that goes out and the one behind it: whatever breaks, neither is read twice.
  const parts = new Map<number, Promise<EngineReply<SnapshotPart>>>()
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

  /** Asks what is there, or sends the next part; while it goes out the one behind it is read. */
  async function oneStep(): Promise<EngineReply<number>> {
    if (received === undefined) return target.write(name, byteCount, null, signal)
    const start = received
    for (const other of parts.keys()) if (other < start) parts.delete(other)
    const part = await partAt(start)
    if (part.kind !== 'answered') {
      parts.delete(start)
      return part
    }
    sent += part.value.bytes.length
    const behind = start + part.value.bytes.length
    if (behind < byteCount) void partAt(behind)
    const written = await target.write(name, byteCount, part.value, signal)
    if (written.kind === 'refused') parts.delete(start)
    return written
  }

  function partAt(start: number): Promise<EngineReply<SnapshotPart>> {
    const known = parts.get(start)
    if (known !== undefined) return known
    const part = transfer.source.read(name, start, Math.min(byteCount, start + partBytes), signal)
    parts.set(start, part)
    return part
  }

  async function throttle(): Promise<void> {
    if (bytesPerSecond === null) return
    const due = (sent / bytesPerSecond) * 1_000 - (clock.monotonic() - startedAt)
    if (due > 0) await clock.sleep(due, signal)
  }
}
