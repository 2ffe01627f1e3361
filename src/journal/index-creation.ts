/**
 * Where new indexes go, under a physical name that was never used there: plain ones to the active node with the fewest
 * indexes, spread ones to whom rendezvous gives their shards.
 */
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import { newId } from '../lib/ordered-id.ts'
import type { Random } from '../lib/random.ts'
import type { EngineKind, IndexId, NodeId, Spread } from '../store/catalogue.ts'
import { physicalName } from '../topology/physical-name.ts'
import { type PlannedPlacement, spreadPlacements } from '../topology/placement-plan.ts'
import type { CreateIndex, ProjectDraft } from './append-decision.ts'
import type { LockedIndex } from './index-rows.ts'
import type { IndexState, NewPlacement, ReplicaStanding } from './write-index.ts'

const windowSizeMin = 8

export interface IndexCreation {
  readonly create: CreateIndex
  readonly indexes: readonly LockedIndex[]
  /** Inserts what was created. */
  save(client: PoolClient): Promise<void>
}

/** What placing looks at. */
export interface NodeRoom {
  readonly id: NodeId
  readonly group: number
  /** As of `Node`. */
  readonly seat?: NodeId | undefined
  /** Indexes that lie on it. */
  readonly load: number
  /** That it should hold at most: beyond, it takes plain ones only while no other has room. Absent = any number. */
  readonly loadMax?: number | undefined
}

/** Indexes that a node of each engine should hold at most; absent = any number. */
export type IndexesPerNode = Partial<Readonly<Record<EngineKind, number>>>

/** Where an index goes; nothing = no node takes new indexes. */
export function placesFor(nodes: readonly NodeRoom[], spread: Spread | null): readonly PlannedPlacement[] {
  if (spread !== null) return spreadPlacements(nodes, spread)
  const least = nodes.reduce<NodeRoom | undefined>(
    (best, node) => (best === undefined || isRoomier(node, best) ? node : best),
    undefined,
  )
  return least === undefined ? [] : [{ node: least.id, shards: [0] }]
}

const isFull = ({ load, loadMax }: NodeRoom): boolean => loadMax !== undefined && load >= loadMax

const isRoomier = (node: NodeRoom, other: NodeRoom): boolean =>
  isFull(node) === isFull(other) ? node.load < other.load : isFull(other)

/** The first physical name that is free. */
export function freeName(project: ProjectDraft, uid: string, isTaken: (name: string) => boolean): string {
  for (let number = 1; ; number += 1) {
    const name = physicalName(project.ref, uid, number)
    if (!isTaken(name)) return name
  }
}

/** The placements of a fresh index. */
export function newPlacements(
  index: IndexId,
  physicalUid: string,
  places: readonly PlannedPlacement[],
): readonly NewPlacement[] {
  return places.map(({ node, shards }) => ({ index, generation: 1, shards, node, physicalUid, state: 'active' }))
}

/** The same, as admission sees them. */
export function freshReplicas(
  physicalUid: string,
  places: readonly PlannedPlacement[],
  rooms: readonly NodeRoom[],
): readonly ReplicaStanding[] {
  const groupOf = new Map(rooms.map(({ id, group }) => [id, group]))
  return places.map(({ node, shards }) => ({
    node,
    physicalUid,
    shards,
    group: groupOf.get(node) ?? 0,
    state: 'active',
    generation: 1,
    isCurrent: true,
    applied: 0,
    revision: 0,
    turn: null,
    isLive: true,
  }))
}

/** A fresh index, as drafts hold it. */
export function newIndexState(
  id: string,
  project: ProjectDraft,
  uid: string,
  spread: Spread | null,
  replicas: readonly ReplicaStanding[],
): IndexState {
  return {
    id,
    project: project.id,
    spread,
    generation: 1,
    beside: null,
    writeUid: uid,
    readUid: null,
    namedBy: -1,
    writePrimaryKey: null,
    primaryKey: null,
    createdAt: null,
    updatedAt: null,
    head: 0,
    completed: 0,
    byteCount: 0,
    behindSince: null,
    heldSince: null,
    settings: {},
    settingsDone: {},
    settingsPosition: 0,
    settingsVersion: 0,
    mayHoldDocuments: false,
    isGone: false,
    replicas,
  }
}

/**
 * Locks the nodes (so two appenders do not count the same room twice) and finds free names for what may be created.
 *
 * @param wanted  names that a request may create, as often as requests name them.
 */
export async function prepareCreation(
  client: PoolClient,
  wanted: readonly { readonly project: ProjectDraft; readonly uid: string }[],
  {
    clock,
    random,
    indexesPerNode,
  }: { readonly clock: Clock; readonly random: Random; readonly indexesPerNode: IndexesPerNode },
): Promise<IndexCreation> {
  const { rows: nodes } = await client.query<{
    id: NodeId
    replica_group: number
    seat: NodeId | null
    index_count: number
    engine: EngineKind
  }>(
    "select id, replica_group, seat, index_count, engine from nodes where state = 'active' order by id for no key update",
  )
  const taken = new Map<NodeId, Set<string>>()
  for (const { id } of nodes) taken.set(id, new Set())
  // Candidates are looked up in windows until each name has as many free ones as requests could take away.
  const needed = wanted.length
  const distinct = new Map(wanted.map((one) => [`${one.project.ref}:${one.uid}`, one]))
  for (const { project, uid } of distinct.values()) {
    let from = 1
    let free = 0
    for (let size = Math.max(needed, windowSizeMin); free < needed && nodes.length > 0; size *= 2) {
      const start = from
      const candidates = Array.from({ length: size }, (_, at) => physicalName(project.ref, uid, start + at))
      from += size
      const { rows } = await client.query<{ node_id: NodeId; physical_uid: string }>(
        'select node_id, physical_uid from placements where node_id = any($1::text[]) and physical_uid = any($2::text[])',
        [nodes.map(({ id }) => id), candidates],
      )
      for (const row of rows) taken.get(row.node_id)?.add(row.physical_uid)
      free += size - new Set(rows.map((row) => row.physical_uid)).size
    }
  }
  const indexes: LockedIndex[] = []
  const placements: NewPlacement[] = []
  return {
    indexes,
    create: (project, uid, spread) => {
      const rooms = nodes.map((node) => ({
        id: node.id,
        group: node.replica_group,
        seat: node.seat ?? undefined,
        load: node.index_count,
        loadMax: indexesPerNode[node.engine],
      }))
      const places = placesFor(rooms, spread)
      if (places.length === 0) return undefined
      const name = freeName(project, uid, (one) => places.some(({ node }) => taken.get(node)?.has(one)))
      const id = newId(clock, random)
      const state = newIndexState(id, project, uid, spread, freshReplicas(name, places, rooms))
      for (const node of nodes) {
        if (!places.some((place) => place.node === node.id)) continue
        taken.get(node.id)?.add(name)
        node.index_count += 1
      }
      indexes.push({
        state,
        loaded: { writeUid: null, readUid: null, settings: state.settings, settingsDone: state.settingsDone },
      })
      const placed = newPlacements(id, name, places)
      placements.push(...placed)
      return { index: state, placements: placed }
    },
    async save(saver) {
      if (indexes.length === 0) return
      await saver.query(
        `insert into indexes (id, project_id, write_uid, named_by, spread)
         select id, project_id, null, -1, spread from unnest($1::uuid[], $2::uuid[], $3::text[]) as fresh (id, project_id, spread)`,
        [
          indexes.map(({ state }) => state.id),
          indexes.map(({ state }) => state.project),
          indexes.map(({ state }) => (state.spread === null ? null : JSON.stringify(state.spread))),
        ],
      )
      await saver.query(
        `insert into placements (index_id, generation, shards, node_id, physical_uid, state)
         select index_id, generation, shards::int[], node_id, physical_uid, state
         from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[])
           as fresh (index_id, generation, shards, node_id, physical_uid, state)`,
        [
          placements.map((placement) => placement.index),
          placements.map((placement) => placement.generation),
          placements.map((placement) => `{${placement.shards.join(',')}}`),
          placements.map((placement) => placement.node),
          placements.map((placement) => placement.physicalUid),
          placements.map((placement) => placement.state),
        ],
      )
      await saver.query(
        `update nodes n set index_count = u.index_count from unnest($1::text[], $2::int[]) as u (id, index_count)
         where n.id = u.id`,
        [nodes.map((node) => node.id), nodes.map((node) => node.index_count)],
      )
    },
  }
}
