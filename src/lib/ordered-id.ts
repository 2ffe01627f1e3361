/** Ids that sort by when they were made: UUID version 7, lower case, hyphenated. */
import { v7 as uuidV7 } from 'uuid'
import type { Clock } from './clock.ts'
import type { Random } from './random.ts'

/** One whose millisecond is `clock`'s; two of one millisecond sort in any order. */
export function newId(clock: Clock, random: Random): string {
  return uuidV7({ msecs: clock.now(), random: random.bytes(16) })
}

/**
 * Makes ids that sort in the order in which they were made, also those of one millisecond and those behind a clock that
 * was set back: the 32 bits behind the millisecond count on (RFC 9562, section 6.2, method 1).
 */
export function orderedIds(clock: Clock, random: Random): () => string {
  let msecs = -1
  let seq = 0
  return () => {
    const now = clock.now()
    const bytes = random.bytes(16)
    if (now > msecs) {
      msecs = now
      // The highest bit stays 0: room to count on.
      seq = Buffer.from(bytes).readUInt32BE(6) & 0x7fff_ffff
    } else {
      seq += 1
    }
    return uuidV7({ msecs, seq, random: bytes })
  }
}
