/** What the comparing of replicas in the background counts, for Prometheus (C-52). */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Clock } from '../../lib/clock.ts'
import type { AntiEntropyMetrics } from './anti-entropy.ts'

export function createAntiEntropyMetrics(registry: Registry, clock: Pick<Clock, 'monotonic'>): AntiEntropyMetrics {
  const registers = [registry]
  const scanned = new Counter({
    name: 'miroir_antientropy_shards_scanned_total',
    help: 'Shards of replicas that were compared with those of another replica.',
    registers,
  })
  const mismatches = new Counter({
    name: 'miroir_antientropy_mismatches_found_total',
    help: 'Shards in which replicas held different documents or settings.',
    registers,
  })
  const repaired = new Counter({
    name: 'miroir_antientropy_docs_repaired_total',
    help: 'Documents that differed when their replica was built anew from the journal, as far as they were counted.',
    registers,
  })
  let finishedAt: number | undefined
  new Gauge({
    name: 'miroir_antientropy_last_scan_completed_seconds',
    help: 'Time since a pass over an index ended; 0 before the first one.',
    registers,
    collect() {
      this.set(finishedAt === undefined ? 0 : (clock.monotonic() - finishedAt) / 1_000)
    },
  })
  return {
    scanned: () => scanned.inc(),
    mismatched: () => mismatches.inc(),
    rebuilt: (documents) => repaired.inc(documents),
    finished() {
      finishedAt = clock.monotonic()
    },
  }
}
