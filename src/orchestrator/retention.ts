/** Housekeeping of the journal: payloads that nobody needs any more, and the oldest of very many tasks (design rule 7). */
import type { LaneJournal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'

export interface RetentionDeps {
  readonly journal: Pick<LaneJournal, 'dropPayloads' | 'cleanTasks'>
  /** Payloads of changes that every replica has applied are kept for this long, ms; null = as long as their index. */
  readonly payloadMs: number | null
  /** Indexes can be restored to any time since then, ms: what that takes is kept, also of deleted ones. Default 0. */
  readonly restoreMs?: number
  readonly clock: Pick<Clock, 'now' | 'sleep'>
  readonly log: { debug(fields: object, message: string): void; warn(fields: object, message: string): void }
}

export interface Retention {
  stop(): Promise<void>
}

const everyMs = 60_000
/** Changes in one transaction: short enough not to hold up writers. */
const changesPerRound = 500
/** Tasks of a project before its oldest tenth is deleted, as in Meilisearch (M-C7). */
const taskCountMax = 1_000_000

/** Any number of processes may run it: what one removed, another does not find. */
export function startRetention(deps: RetentionDeps): Retention {
  const stopping = new AbortController()
  const running = run(deps, stopping.signal)
  return {
    async stop() {
      stopping.abort(new Error('stopping'))
      await running
    },
  }
}

async function run(deps: RetentionDeps, signal: AbortSignal): Promise<void> {
  const { clock, log } = deps
  while (!signal.aborted) {
    try {
      await clock.sleep(everyMs, signal)
      const dropped = await clean(deps, signal)
      if (dropped > 0) log.debug({ dropped }, 'payloads dropped')
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, 'housekeeping of the journal failed; it is tried again')
    }
  }
}

/** One round. Answers how many payloads were dropped. */
export async function clean(
  { journal, payloadMs, restoreMs = 0, clock }: RetentionDeps,
  signal: AbortSignal,
): Promise<number> {
  const finishedBefore = payloadMs === null ? 0 : clock.now() - Math.max(payloadMs, restoreMs)
  let dropped = 0
  for (let round = changesPerRound; round === changesPerRound && !signal.aborted; dropped += round) {
    round = await journal.dropPayloads(finishedBefore, changesPerRound, clock.now() - restoreMs)
  }
  await journal.cleanTasks(taskCountMax)
  return dropped
}
