/** The fleet's records in PostgreSQL. */
import type { PoolClient } from 'pg'
import type { HealthState } from '../topology/health-states.ts'
import type { DriverKind, MachineLife } from '../topology/machine-life.ts'
import type { EngineKind } from './catalogue.ts'
import { type Database, nowMs, reach } from './database.ts'
import {
  eventKeepMs,
  eventsMax,
  type Fleet,
  type FleetNote,
  type KeeperStanding,
  type Machine,
  type MachineRecord,
  type MachineWish,
  type NodeEvent,
  type NodeSample,
  sampleKeepMs,
  samplesMax,
} from './fleet.ts'
import { transact } from './transaction.ts'

interface MachineRow {
  readonly node_id: string
  readonly driver: DriverKind
  readonly life: MachineLife
  readonly engine: EngineKind
  readonly region: string
  readonly replica_group: number
  readonly generation: number
  readonly health: HealthState
  readonly health_since: number
  /** JSON. */
  readonly record: string
  readonly wish: MachineWish | null
  readonly created_at: number
}

interface SampleRow {
  readonly node_id: string
  readonly at: number
  /** JSON. */
  readonly figures: string
}

export function openFleet(database: Database): Fleet {
  const { pool } = database
  const rows = async <R extends object>(text: string, values: readonly unknown[] = []) =>
    (await reach(() => pool.query<R>(text, [...values]))).rows
  return {
    async lead(worker, mode, leaseMs) {
      const [row] = await rows<{ epoch: number }>(
        `insert into fleet_keeper (id, owner, until, epoch, mode) values (1, $1, ${nowMs} + $3, 1, $2)
         on conflict (id) do update set owner = $1, until = ${nowMs} + $3, mode = $2,
           epoch = fleet_keeper.epoch + case when fleet_keeper.owner = $1 and fleet_keeper.until > ${nowMs} then 0 else 1 end
         where fleet_keeper.owner = $1 or fleet_keeper.until <= ${nowMs} returning epoch`,
        [worker, mode, leaseMs],
      )
      return row?.epoch
    },
    async resign(worker) {
      await rows('update fleet_keeper set until = 0 where owner = $1', [worker])
    },
    async keeper() {
      const [row] = await rows<KeeperStanding>(
        `select owner as worker, until > ${nowMs} as "isLeading", epoch, halted, mode, scaled_at as "scaledAt"
         from fleet_keeper where id = 1`,
      )
      return row
    },
    note: (epoch, note) =>
      transact(database, async (client) => {
        const { rowCount } = await client.query(
          `update fleet_keeper set halted = case when $2 then $3 else halted end, scaled_at = coalesce($4, scaled_at)
           where id = 1 and epoch = $1 and until > ${nowMs}`,
          [epoch, note.halted !== undefined, note.halted ?? null, note.scaledAt ?? null],
        )
        if (rowCount !== 1) return false
        await write(client, note)
        return true
      }),
    async machines() {
      return (await rows<MachineRow>('select * from machines order by node_id')).map(decodeMachine)
    },
    wish: (node, wish, event) =>
      transact(database, async (client) => {
        const { rowCount } = await client.query('update machines set wish = $2 where node_id = $1', [node, wish])
        if (rowCount !== 1) return false
        await writeEvents(client, [event])
        return true
      }),
    request: (machine, event) =>
      transact(database, async (client) => {
        const { rowCount } = await client.query('select 1 from machines where node_id = $1', [machine.node])
        if (rowCount !== 0) return false
        await write(client, { machines: [machine], events: [event] })
        return true
      }),
    release: (event) =>
      transact(database, async (client) => {
        await client.query('update fleet_keeper set halted = null where id = 1')
        await writeEvents(client, [event])
      }),
    async lanes() {
      const found = await rows<{
        id: string
        is_held: boolean
        silent_since: number | null
        trouble: string | null
        marker: string | null
      }>(
        `select n.id, n.silent_since, n.marker, l.trouble, coalesce(l.owner <> '' and l.until > ${nowMs}, false) as is_held
         from nodes n left join node_leases l on l.node_id = n.id where not n.is_removed`,
      )
      return new Map(
        found.map(({ id, is_held: isHeld, silent_since: silentSince, trouble, marker }) => [
          id,
          { isHeld, silentSince, trouble, marker },
        ]),
      )
    },
    async holdings(node) {
      const [row] = await rows<{ replicas: number; filling: number; irreplaceable: number }>(
        `select count(*) as replicas, count(*) filter (where p.state = 'filling') as filling,
           -- Retention drops the oldest payloads first. Other copies do not help: lanes read the journal alone.
           count(*) filter (where (
             select c.payload is null and c.blob is null and c.resolution is null from changes c
             where c.index_id = p.index_id and c.status = 'succeeded' and c.byte_count > 0 order by c.position limit 1
           )) as irreplaceable
         from placements p where p.node_id = $1 and not p.is_gone`,
        [node],
      )
      return row ?? { replicas: 0, filling: 0, irreplaceable: 0 }
    },
    async events(node, limit) {
      return rows<NodeEvent>(
        `select node_id as node, at, kind, text from node_events where $1::text is null or node_id = $1
         order by id desc limit $2`,
        [node, limit],
      )
    },
    async samples(node, since) {
      const found = await rows<SampleRow>(
        `select s.* from machines m cross join lateral (
           select node_id, at, figures from node_samples where node_id = m.node_id and at >= $2 order by at desc limit ${samplesMax}
         ) s where $1::text is null or m.node_id = $1 order by s.at, s.node_id`,
        [node, since],
      )
      return found.map(decodeSample)
    },
    async latest() {
      const found = await rows<SampleRow>(
        `select s.* from machines m cross join lateral (
           select node_id, at, figures from node_samples where node_id = m.node_id order by at desc limit 1
         ) s`,
      )
      return new Map(found.map((row) => [row.node_id, decodeSample(row)]))
    },
    async prune() {
      await rows(`delete from node_samples where at < ${nowMs} - ${sampleKeepMs}`)
      await rows(
        `delete from node_events where at < ${nowMs} - ${eventKeepMs}
           or id <= (select max(id) from node_events) - ${eventsMax}`,
      )
    },
  }
}

async function write(client: PoolClient, { machines = [], events = [], samples = [], granted = [] }: FleetNote) {
  for (const { wish: _wish, ...machine } of machines) {
    await client.query(
      `insert into machines (node_id, driver, life, engine, region, replica_group, generation, health, health_since, record,
         created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
       on conflict (node_id) do update set driver = $2, life = $3, engine = $4, region = $5, replica_group = $6,
         generation = $7, health = $8, health_since = $9, record = $10`,
      [
        ...[machine.node, machine.driver, machine.life, machine.engine, machine.region, machine.group],
        ...[machine.generation, machine.health, machine.healthSince, JSON.stringify(machine.record), machine.createdAt],
      ],
    )
  }
  for (const { node, wish } of granted) {
    await client.query('update machines set wish = null where node_id = $1 and wish = $2', [node, wish])
  }
  for (const { node, at, ...figures } of samples) {
    await client.query(
      'insert into node_samples (node_id, at, figures) values ($1, $2, $3) on conflict (node_id, at) do nothing',
      [node, at, JSON.stringify(figures)],
    )
  }
  await writeEvents(client, events)
}

async function writeEvents(client: PoolClient, events: readonly NodeEvent[]): Promise<void> {
  for (const { node, at, kind, text } of events) {
    await client.query('insert into node_events (node_id, at, kind, text) values ($1, $2, $3, $4)', [
      ...[node, at, kind, text.slice(0, textMax)],
    ])
  }
}

/** Providers' texts may be long. */
const textMax = 2_000

function decodeMachine(row: MachineRow): Machine {
  return {
    node: row.node_id,
    driver: row.driver,
    life: row.life,
    engine: row.engine,
    region: row.region,
    group: row.replica_group,
    generation: row.generation,
    health: row.health,
    healthSince: row.health_since,
    record: JSON.parse(row.record) as MachineRecord,
    wish: row.wish,
    createdAt: row.created_at,
  }
}

function decodeSample({ node_id: node, at, figures }: SampleRow): NodeSample {
  return { ...(JSON.parse(figures) as Omit<NodeSample, 'node' | 'at'>), node, at }
}
