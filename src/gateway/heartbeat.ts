/** Tells the other gateways that this one lives, and whoever waits for it by which routes; learns how many gateways there are. */
import type { Clock } from '../lib/clock.ts'
import { beatMs, type GatewayEntry, type GatewayRegistry } from '../store/gateway-registry.ts'
import { StoreUnavailable } from '../store/ports.ts'

export interface Heartbeat {
  /** Gateways that lived when the store last answered; `undefined` = it has not answered yet. */
  readonly livingCount: number | undefined
  close(): Promise<void>
}

export interface HeartbeatDeps {
  readonly registry: GatewayRegistry
  readonly describe: () => GatewayEntry
  /** Takes over the newest routes. */
  readonly refresh: () => Promise<void>
  readonly onCount: (livingCount: number) => void
  readonly clock: Pick<Clock, 'sleep'>
  readonly log: { error(fields: object, message: string): void }
}

export function startHeartbeat({ registry, describe, refresh, onCount, clock, log }: HeartbeatDeps): Heartbeat {
  const closing = new AbortController()
  let pause = new AbortController()
  let isAsked = false
  const unsubscribe = registry.onAsked(() => {
    isAsked = true
    pause.abort()
  })
  let livingCount: number | undefined

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      pause = new AbortController()
      try {
        if (isAsked) {
          isAsked = false
          await refresh()
        }
        livingCount = await registry.beat(describe())
        onCount(livingCount)
      } catch (error) {
        // While the store is away the last count holds: limits stay bounded.
        if (!(error instanceof StoreUnavailable)) log.error({ err: error }, 'the gateway could not say that it lives')
      }
      await clock.sleep(beatMs, AbortSignal.any([closing.signal, pause.signal])).catch(() => undefined)
    }
  }

  const running = run()
  return {
    get livingCount() {
      return livingCount
    },
    async close() {
      closing.abort(new Error('closed'))
      unsubscribe()
      await running
      // The others take over its share at once; if not, in some seconds.
      await registry.leave(describe().id).catch(() => undefined)
    },
  }
}
