/** Where new indexes go: the active node with the fewest indexes, under a physical name that was never used there. */
import type { PoolClient } from 'pg'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { NodeId } from '../store/catalogue.ts'
import { physicalName } from '../topology/physical-name.ts'
import type { CreateIndex, ProjectDraft } from './append-decision.ts'
import { newId } from './change-row.ts'
import type { LockedIndex } from './index-rows.ts'
import type { IndexState, NewPlacement } from './write-index.ts'

const windowSizeMin = 8

export interface IndexCreation {
  readonly create: CreateIndex
  readonly indexes: readonly LockedIndex[]
  /** Inserts what was created. */
  save(client: PoolClient): Promise<void>
}

/** A fresh index, as drafts hold it. */
export function newIndexState(id: string, project: ProjectDraft, uid: string, nodes: readonly NodeId[]): IndexState {
  return {
    id,
    project: project.id,
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
    settings: {},
    settingsDone: {},
    settingsVersion: 0,
    mayHoldDocuments: false,
    isGone: false,
    nodes,
    isLive: true,
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
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<IndexCreation> {
  const { rows: nodes } = await client.query<{ id: NodeId; index_count: number }>(
    "select id, index_count from nodes where state = 'active' order by id for no key update",
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
    create: (project, uid) => {
      const node = nodes.reduce<(typeof nodes)[number] | undefined>(
        (least, one) => (least === undefined || one.index_count < least.index_count ? one : least),
        undefined,
      )
      if (node === undefined) return undefined
      const used = taken.get(node.id) ?? new Set()
      let n = 1
      while (used.has(physicalName(project.ref, uid, n))) n += 1
      const name = physicalName(project.ref, uid, n)
      used.add(name)
      node.index_count += 1
      const state = newIndexState(newId(clock, random), project, uid, [node.id])
      const placement: NewPlacement = {
        index: state.id,
        generation: 1,
        shard: 0,
        node: node.id,
        physicalUid: name,
        state: 'active',
      }
      indexes.push({
        state,
        loaded: { writeUid: null, readUid: null, settings: state.settings, settingsDone: state.settingsDone },
      })
      placements.push(placement)
      return { index: state, placements: [placement] }
    },
    async save(saver) {
      if (indexes.length === 0) return
      await saver.query(
        `insert into indexes (id, project_id, write_uid, named_by)
         select id, project_id, null, -1 from unnest($1::uuid[], $2::uuid[]) as fresh (id, project_id)`,
        [indexes.map(({ state }) => state.id), indexes.map(({ state }) => state.project)],
      )
      await saver.query(
        `insert into placements (index_id, generation, shard, node_id, physical_uid, state)
         select * from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[])`,
        [
          placements.map((placement) => placement.index),
          placements.map((placement) => placement.generation),
          placements.map((placement) => placement.shard),
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
