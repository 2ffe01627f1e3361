/** Where spans go. What sends them is loaded only where a collector is configured. */
import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import type { Clock } from './lib/clock.ts'
import type { Traces } from './lib/traces.ts'
import type { Supervisor } from './orchestrator/supervisor.ts'
import type { LaneMetrics } from './replication/dependencies.ts'

export async function startTraces(
  { clock, version }: { readonly clock: Clock; readonly version: string },
  { telemetry: { otlpUrl, sampleRate } }: Config,
  supervisor: Supervisor,
  logger: Logger,
): Promise<Traces | undefined> {
  if (otlpUrl === null) return undefined
  const { openOtlpTraces } = await import('./lib/otlp-traces.ts')
  const onTrouble = (message: string) => logger.warn({ message }, 'traces cannot be sent')
  return supervisor.start(
    'traces',
    async () => openOtlpTraces({ url: otlpUrl, sampleRate, version, clock, onTrouble }),
    (traces) => traces.close(),
  )
}

/** A span for what each delivery brought to its end. */
export function tracedLanes(metrics: LaneMetrics, traces: Traces | undefined): LaneMetrics {
  if (traces === undefined) return metrics
  return {
    ...metrics,
    applied(node, changeCount, tookMs) {
      metrics.applied(node, changeCount, tookMs)
      traces.record('delivery', tookMs, { 'flapjack.node': node, 'flapjack.changes': changeCount })
    },
  }
}
