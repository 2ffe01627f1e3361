/**
 * How well each node does, in points: fewer are better (C-28). Latency is the 95th percentile of the last ten seconds, fed
 * into a mean that forgets by half-life; so are errors. Requests in flight count as they are, so that a node that hangs is
 * noticed before anything of it ends. About 3 kB for each node.
 */
import type { Config } from '../config/config.ts'
import type { Clock } from '../lib/clock.ts'
import type { NodeId } from '../store/catalogue.ts'

export type ScoreOptions = Pick<
  Config['cluster']['replicaSelection'],
  'latencyWeight' | 'inflightWeight' | 'errorWeight' | 'ewmaHalfLifeMs' | 'exclusionFactor'
>

/** Taken for a node without measurements. A node with fewer points than this is never left out either. */
const unknownMs = 50
/** How much slower than the fleet's middle a node may usually be. */
const fleetFactor = 2
const secondsKept = 10
/** Upper bounds of the buckets of latencies: 0.25 ms, and each a fifth above the one before, up to 29 s. */
const bucketCount = 65
const firstBoundMs = 0.25
const boundRatio = 1.2
const logRatio = Math.log(boundRatio)
/** Points are worked out anew when they are this old. */
const freshMs = 100

interface Known {
  inFlight: number
  /** Counts by second, then by bucket. */
  readonly counts: Uint32Array
  /** The second that each part of `counts` is about. */
  readonly seconds: number[]
  /** NaN = nothing was measured. */
  p95Ms: number
  p95At: number
  /** Both halve with every half-life. */
  errors: number
  ends: number
  endsAt: number
}

export class ReplicaScores {
  readonly #options: ScoreOptions
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #known = new Map<NodeId, Known>()
  #median = { points: unknownMs, latencyMs: unknownMs }
  #medianAt = Number.NEGATIVE_INFINITY

  constructor(options: ScoreOptions, clock: Pick<Clock, 'monotonic'>) {
    this.#options = options
    this.#clock = clock
  }

  /** A request goes to the node; one of the three ends below follows. */
  begin(id: NodeId): void {
    this.#of(id).inFlight += 1
  }

  answered(id: NodeId, tookMs: number): void {
    this.#ended(id, tookMs, false)
  }

  /** It failed, or answered with a failure of its own. */
  failed(id: NodeId, tookMs: number): void {
    this.#ended(id, tookMs, true)
  }

  /** We ended it: it would have taken longer than this. */
  abandoned(id: NodeId, afterMs: number): void {
    const known = this.#of(id)
    known.inFlight -= 1
    // What is known to be too low must not make the node look faster.
    if (!(afterMs <= this.#refreshed(known).p95Ms)) this.#measure(known, afterMs)
  }

  /** The latency below which 95 of 100 requests stay; `undefined` = nothing was measured. */
  p95Ms(id: NodeId): number | undefined {
    const known = this.#known.get(id)
    if (known === undefined) return undefined
    const { p95Ms } = this.#refreshed(known)
    return Number.isNaN(p95Ms) ? undefined : p95Ms
  }

  /** What may be waited for: its 95th percentile, but not much more than the fleet's, or a slow node would excuse itself. */
  usualMs(id: NodeId): number {
    return Math.min(this.p95Ms(id) ?? unknownMs, fleetFactor * this.#middle().latencyMs)
  }

  score(id: NodeId): number {
    const known = this.#known.get(id)
    return known === undefined ? this.#options.latencyWeight * unknownMs : this.#scoreOf(known)
  }

  /** It does so much worse than the middle of all nodes that it is left out while others have what it has. */
  isExcluded(id: NodeId): boolean {
    const known = this.#known.get(id)
    if (known === undefined) return false
    const score = this.#scoreOf(known)
    return score > unknownMs && score > this.#options.exclusionFactor * this.#middle().points
  }

  /** Forgets all other nodes. */
  keep(ids: ReadonlySet<NodeId>): void {
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id)
  }

  /** For metrics. */
  *scores(): IterableIterator<readonly [NodeId, number]> {
    for (const [id, known] of this.#known) yield [id, this.#scoreOf(known)]
  }

  #of(id: NodeId): Known {
    let known = this.#known.get(id)
    if (known === undefined) {
      known = {
        inFlight: 0,
        counts: new Uint32Array(secondsKept * bucketCount),
        seconds: new Array<number>(secondsKept).fill(-1),
        p95Ms: Number.NaN,
        p95At: this.#clock.monotonic(),
        errors: 0,
        ends: 0,
        endsAt: this.#clock.monotonic(),
      }
      this.#known.set(id, known)
    }
    return known
  }

  #ended(id: NodeId, tookMs: number, isError: boolean): void {
    const known = this.#of(id)
    known.inFlight -= 1
    const now = this.#clock.monotonic()
    const kept = 2 ** (-(now - known.endsAt) / this.#options.ewmaHalfLifeMs)
    known.ends = known.ends * kept + 1
    known.errors = known.errors * kept + (isError ? 1 : 0)
    known.endsAt = now
    // A failure that comes at once says nothing about how fast answers are.
    if (!isError || tookMs > unknownMs) this.#measure(known, tookMs)
  }

  #measure(known: Known, tookMs: number): void {
    const second = Math.floor(this.#clock.monotonic() / 1_000)
    const slot = second % secondsKept
    const from = slot * bucketCount
    if (known.seconds[slot] !== second) {
      known.seconds[slot] = second
      known.counts.fill(0, from, from + bucketCount)
    }
    known.counts[from + bucketOf(tookMs)]! += 1
    if (Number.isNaN(known.p95Ms)) {
      known.p95Ms = tookMs
      known.p95At = this.#clock.monotonic()
    }
  }

  #scoreOf(known: Known): number {
    const { latencyWeight, inflightWeight, errorWeight, ewmaHalfLifeMs } = this.#options
    const { p95Ms } = this.#refreshed(known)
    const kept = 2 ** (-(this.#clock.monotonic() - known.endsAt) / ewmaHalfLifeMs)
    // One more end than there was: what was long ago counts for little, however bad it was.
    const errorRate = (known.errors * kept) / (known.ends * kept + 1)
    return (
      latencyWeight * (Number.isNaN(p95Ms) ? unknownMs : p95Ms) +
      inflightWeight * known.inFlight +
      errorWeight * errorRate * 1_000
    )
  }

  /** Brings the latency up to now. Without measurements it drifts to that of the fleet, so that the node is tried again. */
  #refreshed(known: Known): Known {
    const now = this.#clock.monotonic()
    const sinceMs = now - known.p95At
    if (Number.isNaN(known.p95Ms) || sinceMs < freshMs) return known
    known.p95At = now
    const target = windowP95(known, Math.floor(now / 1_000)) ?? this.#median.latencyMs
    known.p95Ms += (target - known.p95Ms) * (1 - 2 ** (-sinceMs / this.#options.ewmaHalfLifeMs))
    return known
  }

  /** Of two in the middle the lower: of two nodes a slow one must not make itself look usual. */
  #middle(): { readonly points: number; readonly latencyMs: number } {
    const now = this.#clock.monotonic()
    if (now - this.#medianAt >= freshMs) {
      this.#medianAt = now
      const measured = [...this.#known.values()].filter(({ p95Ms }) => !Number.isNaN(p95Ms))
      this.#median = {
        latencyMs: lowerMedian(measured.map((known) => this.#refreshed(known).p95Ms)) ?? unknownMs,
        points: lowerMedian(measured.map((known) => this.#scoreOf(known))) ?? unknownMs,
      }
    }
    return this.#median
  }
}

function bucketOf(ms: number): number {
  if (ms <= firstBoundMs) return 0
  return Math.min(bucketCount - 1, Math.ceil(Math.log(ms / firstBoundMs) / logRatio))
}

/** Upper bound of the bucket in which the 95th of 100 lies; `undefined` without measurements. */
function windowP95({ counts, seconds }: Known, second: number): number | undefined {
  const sums = new Array<number>(bucketCount).fill(0)
  let total = 0
  for (const [slot, about] of seconds.entries()) {
    if (about < 0 || second - about >= secondsKept) continue
    for (let bucket = 0; bucket < bucketCount; bucket += 1) {
      const count = counts[slot * bucketCount + bucket]!
      sums[bucket]! += count
      total += count
    }
  }
  if (total === 0) return undefined
  // Of few, not the worst: a node that is tried now and then must not be judged by one bad luck in ten.
  let rest = Math.floor((total - 1) * 0.95) + 1
  for (let bucket = 0; bucket < bucketCount; bucket += 1) {
    rest -= sums[bucket]!
    if (rest <= 0) return firstBoundMs * boundRatio ** bucket
  }
  return undefined
}

function lowerMedian(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1]
}
