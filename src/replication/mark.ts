/**
 * The mark that a lane leaves on the tasks of a node (NF-31, NF-40, NF-41): which change of which lane a task is. By it a
 * successor learns how far the node is, and a request that arrives late is recognised.
 *
 * Text: `fj1:<epoch>:<position>:<tag>.<part>.<parts>`; of several changes that were sent as one, `<from>-<position>`.
 */
import { createHash } from 'node:crypto'
import type { Placement } from '../store/catalogue.ts'

export interface Mark {
  /** Of the lease under which it was sent. */
  readonly epoch: number
  /** The last change that it stands for. */
  readonly position: number
  /** The first one; `position` unless several were sent as one. */
  readonly from: number
  /** Which lane on which disk; see `laneTag`. */
  readonly tag: string
  /** A change may be sent in several parts; 1-based. Complete with the last one. */
  readonly part: number
  readonly parts: number
}

const pattern = /^fj1:(\d{1,15}):(?:(\d{1,15})-)?(\d{1,15}):([0-9a-f]{12})\.(\d{1,6})\.(\d{1,6})$/

/**
 * Names a lane on one disk. `marker` is the text of the disk's marker key: marks of an earlier disk, or of the time before
 * the present disk was adopted, are of another lane. So are those of the time before the replica was put back to the beginning.
 */
export function laneTag({ index, generation, revision }: Placement, marker: string): string {
  return createHash('sha256').update(`${index}:${generation}:${revision}:${marker}`).digest('hex').slice(0, 12)
}

export function markText({ epoch, position, from, tag, part, parts }: Mark): string {
  const positions = from === position ? position : `${from}-${position}`
  return `fj1:${epoch}:${positions}:${tag}.${part}.${parts}`
}

/** `undefined` for a text that is none of ours. */
export function parseMark(text: string | null): Mark | undefined {
  const found = text === null ? null : pattern.exec(text)
  if (found === null) return undefined
  return {
    epoch: Number(found[1]),
    position: Number(found[3]),
    from: Number(found[2] ?? found[3]),
    tag: found[4]!,
    part: Number(found[5]),
    parts: Number(found[6]),
  }
}
