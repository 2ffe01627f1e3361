/** Which gateways live: each says so now and then, and one that has not for a while does not count (P-16, P-19). */
import { type Database, reachInTime } from './database.ts'
import type { Signals } from './signals.ts'

export interface GatewayEntry {
  /** UUID of this run of a gateway. */
  readonly id: string
  /** Where it listens. */
  readonly address: string
  readonly version: string
  readonly startedAt: number
  /** Version of the catalogue that its routes show. */
  readonly appliedVersion: number
}

/** Every method may throw `StoreUnavailable`. */
export interface GatewayRegistry {
  /** Answers how many gateways live, this one included. */
  beat(gateway: GatewayEntry): Promise<number>
  /** It has ended. */
  leave(id: string): Promise<void>
  /** Those that live, first started first. */
  list(): Promise<readonly GatewayEntry[]>
  /** Version of the catalogue, and the oldest that a gateway which lives routes by; null = none lives. */
  routing(): Promise<{ readonly version: number; readonly oldest: number | null }>
  /** All that live are asked to take over the newest routes and to beat at once. Never throws and never waits; may be lost. */
  ask(): void
  /** Somebody asks. Answers a stop function. */
  onAsked(listener: () => void): () => void
}

/** How often a gateway says that it lives. */
export const beatMs = 5_000
/** It counts as gone when it has not for so long. */
const goneMs = 3 * beatMs
const forgottenMs = 24 * 3_600_000

export function openGatewayRegistry(database: Database, signals: Pick<Signals, 'send' | 'listen'>): GatewayRegistry {
  const { pool } = database
  return {
    async beat({ id, address, version, startedAt, appliedVersion }) {
      const { rows } = await reachInTime(() =>
        pool.query<{ count: number }>({
          name: 'gateway-beat',
          // The database's clock is the one that all gateways share.
          text: `with clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now),
            own as (
              insert into gateways (id, address, version, started_at, seen_at, applied_version)
              select $1, $2, $3, $4, now, $5 from clock
              on conflict (id) do update set seen_at = excluded.seen_at, applied_version = excluded.applied_version
            ),
            forgotten as (delete from gateways using clock where id <> $1 and seen_at < now - ${forgottenMs})
            select count(*) as count from gateways, clock where id <> $1 and seen_at >= now - ${goneMs}`,
          values: [id, address, version, startedAt, appliedVersion],
        }),
      )
      return (rows[0]?.count ?? 0) + 1
    },
    async leave(id) {
      await reachInTime(() => pool.query('delete from gateways where id = $1', [id]))
    },
    async list() {
      const { rows } = await reachInTime(() =>
        pool.query<{ id: string; address: string; version: string; started_at: number; applied_version: number }>(
          `select id, address, version, started_at, applied_version from gateways
           where seen_at >= (extract(epoch from clock_timestamp()) * 1000)::bigint - ${goneMs} order by started_at, id`,
        ),
      )
      return rows.map(({ id, address, version, started_at, applied_version }) => {
        return { id, address, version, startedAt: started_at, appliedVersion: applied_version }
      })
    },
    async routing() {
      const { rows } = await reachInTime(() =>
        pool.query<{ version: number; oldest: number | null }>({
          name: 'gateway-routing',
          text: `select catalogue_version as version,
              (select min(applied_version) from gateways
               where seen_at >= (extract(epoch from clock_timestamp()) * 1000)::bigint - ${goneMs}) as oldest
            from instance where id = 1`,
        }),
      )
      return { version: rows[0]?.version ?? 0, oldest: rows[0]?.oldest ?? null }
    },
    ask: () => signals.send('flapjack_routing', ''),
    onAsked: (listener) => signals.listen('flapjack_routing', listener),
  }
}

/** @param versionOf  of the catalogue. */
export function openMemoryRegistry(clock: { now(): number }, versionOf: () => Promise<number>): GatewayRegistry {
  const listeners = new Set<() => void>()
  const seen = new Map<string, { readonly gateway: GatewayEntry; readonly at: number }>()
  const living = () => [...seen.values()].filter(({ at }) => at >= clock.now() - goneMs)
  return {
    async beat(gateway) {
      seen.set(gateway.id, { gateway, at: clock.now() })
      return living().length
    },
    async leave(id) {
      seen.delete(id)
    },
    list: async () => living().map(({ gateway }) => gateway),
    async routing() {
      const versions = living().map(({ gateway }) => gateway.appliedVersion)
      return { version: await versionOf(), oldest: versions.length === 0 ? null : Math.min(...versions) }
    },
    ask() {
      for (const listener of listeners) listener()
    },
    onAsked(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
