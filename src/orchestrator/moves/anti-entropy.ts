/**
 * Compares the replicas of each index in the background, document by document, at a bounded rate (C-32). An index of one
 * replica costs nothing. What differs twice in a row is built anew from the journal.
 *
 * Any number of workers may run it: an index is looked at by one of them at a time. Memory: the ids of one shard, and a page
 * of its documents.
 */
import { shardClause } from '../../search/shard-clause.ts'
import type { ReplicaCheck, ReplicaChecks } from '../../store/replica-checks.ts'
import { replicaId } from '../../topology/replica-id.ts'
import { compareReplicas } from './comparison.ts'
import { withoutComputedVectors } from './computed-vectors.ts'
import { type MoveDeps, type Place, placeOf, type Replica } from './move-context.ts'
import { type FoundPair, judge } from './replica-findings.ts'
import { pairsOf, readGeneration } from './verification.ts'

export interface AntiEntropyMetrics {
  scanned(): void
  mismatched(): void
  rebuilt(documents: number): void
  /** A pass over an index ended. */
  finished(): void
}

export interface AntiEntropyDeps extends Pick<MoveDeps, 'replicas' | 'catalogue' | 'engineOf' | 'clock'> {
  readonly worker: string
  readonly checks: ReplicaChecks
  /** Documents that this worker compares per second, at most. */
  readonly documentsPerSecond: number
  /** Between the end of a pass over an index and the next one, ms. */
  readonly intervalMs: number
  /** Whether replicas that stay different are built anew; else they are only told of. */
  readonly mayRebuild: boolean
  readonly metrics: AntiEntropyMetrics
  readonly log: { debug(fields: object, message: string): void; warn(fields: object, message: string): void }
  /** Between two looks for an index that is due, ms. Default 30 s. */
  readonly lookMs?: number
}

const lookMsDefault = 30_000
/** Longer than a page of documents takes. */
const leaseMs = 120_000
/** What was found is looked at again soon: it must show twice. */
const againMsMax = 10 * 60_000

export function startAntiEntropy(deps: AntiEntropyDeps): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const { checks, worker, clock, log, lookMs = lookMsDefault } = deps
  const run = async () => {
    while (!stopping.signal.aborted) {
      try {
        const check = await checks.claim(worker, leaseMs)
        if (check !== undefined) {
          await pass(deps, check, stopping.signal)
          continue
        }
      } catch (error) {
        if (stopping.signal.aborted) return
        log.warn({ err: error }, 'replicas were not compared')
      }
      await clock.sleep(lookMs, stopping.signal).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async stop() {
      stopping.abort(new Error('the comparing of replicas stops'))
      await running
    },
  }
}

/** One pass over one index. A replica that cannot be looked at now is left to the next. */
async function pass(deps: AntiEntropyDeps, check: ReplicaCheck, signal: AbortSignal): Promise<void> {
  const { replicas, checks, worker, intervalMs, log } = deps
  const { index } = check
  const againMs = Math.min(intervalMs, againMsMax)
  let found: readonly FoundPair[]
  try {
    found = await comparePairs(deps, check, signal)
  } catch (error) {
    if (signal.aborted) throw error
    log.debug({ index, err: error }, 'the replicas of an index are compared later')
    await checks.finish(worker, index, { findings: check.findings, dueInMs: againMs })
    return
  }
  const standing = await replicas.standing(index)
  const { findings, rebuild } = judge(check.findings, found, standing?.replicas ?? [], deps.mayRebuild)
  // Written first: whoever dies in between rebuilds once less, and never twice.
  const isOurs = await checks.finish(worker, index, { findings, dueInMs: findings.length > 0 ? againMs : intervalMs })
  deps.metrics.finished()
  if (!isOurs) return
  for (const finding of findings) log.warn({ index, ...finding }, 'a replica differs from what it is a copy of')
  const replica = rebuild && standing?.replicas.find((one) => replicaId(one) === replicaId(rebuild))
  if (replica === undefined) return
  const outcome = await replicas.changeReplica(index, replicaId(replica), { kind: 'rebuild' })
  log.warn({ index, node: replica.node, outcome }, 'a replica that stays different is built anew from the journal')
  const documents = found.reduce((sum, { differing }) => sum + differing.length, 0)
  if (outcome === 'done') deps.metrics.rebuilt(documents)
}

/** Shard by shard, so that what is held of an index is bounded by its largest one. */
async function comparePairs(
  deps: AntiEntropyDeps,
  { index }: ReplicaCheck,
  signal: AbortSignal,
): Promise<readonly FoundPair[]> {
  const { checks, worker, replicas, clock, metrics, documentsPerSecond } = deps
  const found: FoundPair[] = []
  const standing = await replicas.standing(index)
  if (standing === undefined) return found
  const { spread, primaryKey } = standing
  for (const [reference, replica, shards] of pairsOf(readGeneration(standing))) {
    const [left, right] = [await shown(deps, reference), await shown(deps, replica)]
    for (const shard of shards) {
      const filter = spread === null ? null : shardClause({ shards: [shard], isWhole: false }, spread.shards)
      const startedAt = clock.monotonic()
      const { differing, settingsDiffer } = await compareReplicas(
        { ...deps, index, signal, filter },
        left,
        right,
        primaryKey,
        async (compared) => {
          if (!(await checks.renew(worker, index, leaseMs))) throw new Error('another worker compares its replicas')
          const dueMs = (compared / documentsPerSecond) * 1_000 - (clock.monotonic() - startedAt)
          if (dueMs > 0) await clock.sleep(dueMs, signal)
        },
      )
      metrics.scanned()
      if (differing.length > 0 || settingsDiffer) metrics.mismatched()
      found.push({ reference, replica, differing, settingsDiffer })
    }
  }
  return found
}

async function shown(deps: AntiEntropyDeps, replica: Replica): Promise<Place> {
  const place = await placeOf(deps, replica)
  return { ...place, engine: withoutComputedVectors(place.engine) }
}
