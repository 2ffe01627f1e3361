/**
 * Waiting for gateways: what was read is changed or taken away only when nobody reads it any more. A gateway that has not shown
 * itself for some seconds does not count (P-19).
 */
import type { Clock } from '../lib/clock.ts'
import type { GatewayRegistry } from '../store/gateway-registry.ts'

export type RoutedGateways = Pick<GatewayRegistry, 'routing' | 'ask'>

interface RoutesTakenDeps {
  /** Absent: there are none. */
  readonly gateways?: RoutedGateways
  readonly clock: Pick<Clock, 'sleep' | 'monotonic'>
  readonly log: { warn(fields: object, message: string): void }
}

const pollMs = 10
const pollMsMax = 200
/** A gateway that lives and does not take over routes for so long is waited for no more. */
const takenMsMax = 60_000

/** Whether every gateway that lives routes by this version of the catalogue. When not, they are asked to. */
export async function areRoutesTaken(gateways: RoutedGateways, version: number): Promise<boolean> {
  const { oldest } = await gateways.routing()
  if (oldest === null || oldest >= version) return true
  gateways.ask()
  return false
}

/**
 * Resolves when every gateway that lives routes by what was committed before the call. Rejects when the signal aborts or the
 * store is away. Twice: safe.
 */
export async function untilRoutesTaken({ gateways, clock, log }: RoutesTakenDeps, signal: AbortSignal): Promise<void> {
  if (gateways === undefined) return
  const startedAt = clock.monotonic()
  const { version } = await gateways.routing()
  for (let pauseMs = pollMs; !(await areRoutesTaken(gateways, version)); pauseMs = Math.min(pollMsMax, 2 * pauseMs)) {
    if (clock.monotonic() - startedAt >= takenMsMax) {
      log.warn({ version }, 'a gateway lives and does not take over the routes: it is not waited for any more')
      return
    }
    await clock.sleep(pauseMs, signal)
  }
}
