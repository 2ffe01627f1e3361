/**
 * Keeps a gateway's route table fresh: reads the changes behind its version at every notification, and once a second in any
 * case, so that a lost notification costs latency only. While the store is away the last table goes on serving, at the start
 * one from the disk if there is a copy (P-16).
 */
import type { Clock } from '../lib/clock.ts'
import type { Json } from '../lib/json.ts'
import { type Catalogue, type CatalogueChange, StoreUnavailable } from '../store/ports.ts'
import { buildRouteTable, emptyRouteTable, type RouteTable } from '../topology/route-table.ts'
import type { RouteCopyFile } from './route-copy-file.ts'

const changesPerRead = 1_000
/** How often the store's version is compared with ours: it goes back only when the store was restored from a backup. */
const compareMs = 60_000
/** Without an answer of the store for this long, answers say so (P-17). */
const staleAfterMs = 60_000
const copyEveryMs = 60_000
/** A copy of an unchanged table is written again after this, so that it does not grow too old to be used. */
const copyAgainMs = 3_600_000
/** Writing copies takes at most this part of the time. */
const copyShareMax = 0.05

/** How far the table can be trusted: `stale` = the store is away for a while, `expired` = for longer than it may be. */
export type RouteStanding = 'fresh' | 'stale' | 'expired'

export interface RouteFollower {
  /** Replaced whole; a request takes it once. */
  readonly table: RouteTable
  /** When the newest read that succeeded began, milliseconds since 1970: everything committed before is in the table. */
  readonly asOf: number
  readonly standing: RouteStanding
  /** The table is the store's, not a copy from the disk. */
  readonly isCaughtUp: boolean
  /** Of the copy that the table began as; null = it began as the store's. */
  readonly copyNotes: Json
  /** Resolves when the table shows everything that was committed before the call. Rejects with `StoreUnavailable`. */
  refresh(): Promise<void>
  /** Reads the whole table anew. Rejects with `StoreUnavailable`. */
  reload(): Promise<void>
  /** Changes the table by hand, until the next reload: for tests of routing. */
  override(changes: readonly CatalogueChange[]): void
  close(): Promise<void>
}

export interface RouteFollowerDeps {
  readonly catalogue: Pick<Catalogue, 'snapshot' | 'changesAfter' | 'onChange' | 'version'>
  readonly clock: Pick<Clock, 'now' | 'sleep'>
  readonly log: { warn(fields: object, message: string): void; info(fields: object, message: string): void }
  /** Default 1,000. */
  readonly pollMs?: number
  /** Absent = no copy is kept or read. */
  readonly copy?: { readonly file: RouteCopyFile; readonly ageMsMax: number; readonly notes: () => Json }
  /** Starts with an empty table when there is no other. Default false. */
  readonly mayBeEmpty?: boolean
  /** The table counts as expired when the store is away for longer. Default: never. */
  readonly trustMsMax?: number | null
}

/** Reads the first table, then follows. Rejects when neither the store nor a copy can be read at the start. */
export async function followRoutes(deps: RouteFollowerDeps): Promise<RouteFollower> {
  const { catalogue, clock, log, copy, pollMs = 1_000, trustMsMax = null } = deps
  const stopping = new AbortController()
  const first = await firstTable(deps)
  let { table, asOf, isCaughtUp } = first
  let running: Promise<void> | undefined
  let queued: Promise<void> | undefined
  let isAway = !isCaughtUp
  let standing: RouteStanding = 'fresh'
  let mustReload = !isCaughtUp
  let comparedAt = clock.now()

  async function read(): Promise<void> {
    const startedAt = clock.now()
    if (!mustReload && startedAt - comparedAt >= compareMs) {
      comparedAt = startedAt
      mustReload = (await catalogue.version()) < table.version
    }
    if (mustReload) {
      table = buildRouteTable(await catalogue.snapshot())
      mustReload = false
      isCaughtUp = true
    }
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
    standing = standingAfter(clock.now() - asOf, trustMsMax)
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

  async function keepCopy({ file, notes }: NonNullable<RouteFollowerDeps['copy']>): Promise<void> {
    let written: number | undefined
    while (!stopping.signal.aborted) {
      const startedAt = clock.now()
      const oldMs = written === table.version ? copyAgainMs : copyEveryMs
      // Gateways that share a folder share the copy: whoever finds it old writes it.
      const ageMs = isCaughtUp && !isAway ? ((await file.age()) ?? Number.POSITIVE_INFINITY) : 0
      if (ageMs >= oldMs) {
        const { version } = table
        try {
          await file.write(table, asOf, notes())
          written = version
        } catch (error) {
          log.warn({ err: error }, 'the copy of the routes could not be written')
        }
      }
      const pauseMs = Math.max(copyEveryMs, (clock.now() - startedAt) / copyShareMax)
      await clock.sleep(pauseMs, stopping.signal).catch(() => undefined)
    }
  }

  const unsubscribe = await catalogue
    .onChange(() => void refreshQuietly())
    .catch((error: unknown) => {
      log.warn({ err: error }, 'no notifications from the store: routes are polled')
      return async () => undefined
    })
  note(isCaughtUp ? undefined : new StoreUnavailable('away since the start'))
  const work = Promise.all([poll(), copy === undefined ? undefined : keepCopy(copy)])

  return {
    get table() {
      return table
    },
    get asOf() {
      return asOf
    },
    get standing() {
      return standing
    },
    get isCaughtUp() {
      return isCaughtUp
    },
    copyNotes: first.notes,
    refresh,
    reload() {
      mustReload = true
      return refresh()
    },
    override(changes) {
      table = table.after(table.version, changes)
    },
    async close() {
      stopping.abort(new Error('closed'))
      await work
      await unsubscribe().catch(() => undefined)
    },
  }
}

async function firstTable({ catalogue, clock, log, copy, mayBeEmpty = false }: RouteFollowerDeps) {
  const asOf = clock.now()
  try {
    return { table: buildRouteTable(await catalogue.snapshot()), asOf, isCaughtUp: true, notes: null }
  } catch (error) {
    const found = error instanceof StoreUnavailable ? await copy?.file.read() : undefined
    if (copy === undefined || found === undefined || asOf - found.asOf > copy.ageMsMax) {
      if (!mayBeEmpty || !(error instanceof StoreUnavailable)) throw error
      return { table: emptyRouteTable(), asOf, isCaughtUp: false, notes: null }
    }
    const { version } = found.snapshot
    log.warn({ err: error, version, ageMs: asOf - found.asOf }, 'the store is away: routes are those of the copy')
    return { table: buildRouteTable(found.snapshot), asOf: found.asOf, isCaughtUp: false, notes: found.notes }
  }
}

function standingAfter(ageMs: number, trustMsMax: number | null): RouteStanding {
  if (trustMsMax !== null && ageMs > trustMsMax) return 'expired'
  return ageMs > staleAfterMs ? 'stale' : 'fresh'
}
