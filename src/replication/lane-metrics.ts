/** What the lanes count, for Prometheus. Nodes are few and known: their ids are labels. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { LaneMetrics } from './dependencies.ts'

export function createLaneMetrics(registry: Registry): LaneMetrics {
  const registers = [registry]
  const sentBytes = new Counter({
    name: 'flapjack_lane_sent_bytes_total',
    help: 'Bytes of payload sent to a node.',
    labelNames: ['node'],
    registers,
  })
  const changes = new Counter({
    name: 'flapjack_lane_applied_changes_total',
    help: 'Changes that a node has applied.',
    labelNames: ['node'],
    registers,
  })
  const seconds = new Histogram({
    name: 'flapjack_lane_apply_seconds',
    help: 'Time from a node taking a task to its end.',
    labelNames: ['node'],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers,
  })
  const rewinds = new Counter({
    name: 'flapjack_lane_rewinds_total',
    help: 'Times a lane went back and delivered again.',
    labelNames: ['node', 'reason'],
    registers,
  })
  const adoptions = new Counter({
    name: 'flapjack_node_adoptions_total',
    help: 'Times a node came with a disk that was not its own, and was filled anew.',
    labelNames: ['node'],
    registers,
  })
  const openBytes = new Gauge({
    name: 'flapjack_lane_open_bytes',
    help: 'Bytes sent to a node and not applied yet.',
    labelNames: ['node'],
    registers,
  })
  const windowBytes = new Gauge({
    name: 'flapjack_lane_window_bytes',
    help: 'Bytes that may be open at a node.',
    labelNames: ['node'],
    registers,
  })
  const refuses = new Gauge({
    name: 'flapjack_node_refuses_writes',
    help: '1 while the disk of a node takes no writes.',
    labelNames: ['node'],
    registers,
  })
  const repairs = new Counter({
    name: 'miroir_settings_drift_repair_total',
    help: 'Settings of an index that were changed on a node behind our back, and set again.',
    labelNames: ['index'],
    registers,
  })
  return {
    settingsRepaired: (index) => repairs.inc({ index }),
    sent: (node, byteCount) => sentBytes.inc({ node }, byteCount),
    applied(node, changeCount, tookMs) {
      changes.inc({ node }, changeCount)
      seconds.observe({ node }, tookMs / 1000)
    },
    rewound: (node, reason) => rewinds.inc({ node, reason }),
    adopted: (node) => adoptions.inc({ node }),
    window(node, open, all) {
      openBytes.set({ node }, open)
      windowBytes.set({ node }, all)
    },
    refusing: (node, isRefusing) => refuses.set({ node }, isRefusing ? 1 : 0),
  }
}
