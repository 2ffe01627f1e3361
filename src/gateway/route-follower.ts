/**
 * Keeps a gateway's route table fresh: reads the changes behind its version at every notification, and once a second in any
 * case, so that a lost notification costs latency only. While the store is away the last table goes on serving.
 */
import type { Clock } from '../lib/clock.ts'
import type { Catalogue } from '../store/ports.ts'
import { buildRouteTable, type RouteTable } from '../topology/route-table.ts'

const changesPerRead = 1_000

export interface RouteFollower {
  /** Replaced whole; a request takes it once. */
  readonly table: RouteTable
  /** When the newest read that succeeded began, milliseconds since 1970: everything committed before is in the table. */
  readonly asOf: number
  /** Resolves when the table shows everything that was committed before the call. Rejects with `StoreUnavailable`. */
  refresh(): Promise<void>
  close(): Promise<void>
}

export interface RouteFollowerDeps {
  readonly catalogue: Pick<Catalogue, 'snapshot' | 'changesAfter' | 'onChange'>
  readonly clock: Pick<Clock, 'now' | 'sleep'>
  readonly log: { warn(fields: object, message: string): void; info(fields: object, message: string): void }
  /** Default 1,000. */
  readonly pollMs?: number
}

/** Reads the first table, then follows. Rejects when the store cannot be read at the start. */
export async function followRoutes({
  catalogue,
  clock,
  log,
  pollMs = 1_000,
}: RouteFollowerDeps): Promise<RouteFollower> {
  const stopping = new AbortController()
  let asOf = clock.now()
  let table = buildRouteTable(await catalogue.snapshot())
  let running: Promise<void> | undefined
  let queued: Promise<void> | undefined
  let isAway = false

  async function read(): Promise<void> {
    const startedAt = clock.now()
    for (;;) {
      const { version, changes } = await catalogue.changesAfter(table.version, changesPerRead)
      if (version === table.version) break
      table = table.after(version, changes)
    }
    asOf = startedAt
  }

  /** One read at a time; whoever asks during a read waits for the next one, which begins after the question. */
  function refresh(): Promise<void> {
    if (queued !== undefined) return queued
    if (running === undefined) return start()
    queued = running.then(start, start)
    return queued
  }

  function start(): Promise<void> {
    queued = undefined
    running = read().finally(() => {
      running = undefined
    })
    return running
  }

  function note(error?: unknown): void {
    if (error !== undefined && !isAway) log.warn({ err: error }, 'the store is away: routes stay as they are')
    if (error === undefined && isAway) log.info({ version: table.version }, 'the store is back: routes are fresh')
    isAway = error !== undefined
  }

  function refreshQuietly(): Promise<void> {
    return refresh().then(() => note(), note)
  }

  async function poll(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await clock.sleep(pollMs, stopping.signal)
      } catch {
        return
      }
      await refreshQuietly()
    }
  }

  const unsubscribe = await catalogue
    .onChange(() => void refreshQuietly())
    .catch((error: unknown) => {
      log.warn({ err: error }, 'no notifications from the store: routes are polled')
      return async () => undefined
    })
  const polling = poll()

  return {
    get table() {
      return table
    },
    get asOf() {
      return asOf
    },
    refresh,
    async close() {
      stopping.abort(new Error('closed'))
      await polling
      await unsubscribe().catch(() => undefined)
    },
  }
}
