/** Starts the parts of the program in order and stops them in the opposite one, whatever fails in between. */
import type { Logger } from 'pino'
import type { Clock } from '../lib/clock.ts'

export interface Supervisor {
  /** Aborts when stopping begins. */
  readonly signal: AbortSignal
  /** Starts one part. When it fails, the error goes to the caller, who stops the rest. */
  start<T>(name: string, start: () => Promise<T>, stop: (part: T) => Promise<void> | void): Promise<T>
  /** Watches work that goes on by itself: its failure is logged, and it is awaited at the end. */
  watch(name: string, work: Promise<void>): void
  /** Stops everything, last started first. May be called twice. */
  stop(): Promise<void>
}

/** @param stopMsMax  a part that has not stopped by then is given up, so that one stuck part cannot hold the others. */
export function createSupervisor(options: {
  readonly logger: Logger
  readonly clock: Clock
  readonly stopMsMax: number
}): Supervisor {
  const { logger, clock, stopMsMax } = options
  const stopping = new AbortController()
  const started: { readonly name: string; readonly stop: () => Promise<void> | void }[] = []
  const watched = new Set<Promise<void>>()
  let stopped: Promise<void> | undefined

  async function stopOne(name: string, stop: () => Promise<void> | void): Promise<void> {
    const waiting = new AbortController()
    const tooLate = clock.sleep(stopMsMax, waiting.signal).then(
      () => 'too late',
      () => 'in time',
    )
    const startedAt = clock.monotonic()
    try {
      const outcome = await Promise.race([Promise.resolve(stop()).then(() => 'stopped'), tooLate])
      const log = outcome === 'stopped' ? 'debug' : 'error'
      logger[log]({ part: name, outcome, tookMs: Math.round(clock.monotonic() - startedAt) }, 'stop')
    } catch (error) {
      logger.error({ part: name, err: error }, 'stop failed')
    } finally {
      waiting.abort(new Error('done'))
    }
  }

  async function stopAll(): Promise<void> {
    stopping.abort(new Error('stopping'))
    for (const { name, stop } of started.reverse()) await stopOne(name, stop)
    await stopOne('background work', () => Promise.allSettled(watched).then(() => undefined))
  }

  return {
    signal: stopping.signal,
    async start(name, start, stop) {
      stopping.signal.throwIfAborted()
      const startedAt = clock.monotonic()
      const part = await start()
      started.push({ name, stop: () => stop(part) })
      logger.info({ part: name, tookMs: Math.round(clock.monotonic() - startedAt) }, 'started')
      return part
    },
    watch(name, work) {
      const guarded = work
        .catch((error: unknown) => {
          if (!stopping.signal.aborted) logger.error({ part: name, err: error }, 'background work failed')
        })
        .finally(() => watched.delete(guarded))
      watched.add(guarded)
    },
    stop: () => {
      stopped ??= stopAll()
      return stopped
    },
  }
}
