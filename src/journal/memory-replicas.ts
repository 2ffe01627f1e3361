/** How moves place replicas, in memory. */
import type { NodeId } from '../store/catalogue.ts'
import { physicalName } from '../topology/physical-name.ts'
import { replicaId } from '../topology/replica-id.ts'
import { editGenerations } from './memory-generations.ts'
import type { MemoryDependencies } from './memory-journal.ts'
import { openMemoryLayouts } from './memory-layouts.ts'
import { type Effects, settleJointly } from './memory-progress.ts'
import { newPlacement, placementOf, type StoredIndex, standingsOf } from './memory-state.ts'
import type { ReplicaJournal } from './ports.ts'
import { changedReplica, isChanged } from './replica-change.ts'

export function openMemoryReplicas(
  deps: MemoryDependencies,
  tell: (index: StoredIndex, effects: Effects) => void,
): ReplicaJournal {
  const { state, memory } = deps
  const found = (id: string) => {
    const index = state.indexes.get(id)
    return index === undefined || index.state.isGone ? undefined : index
  }
  const namesOn = (node: NodeId) =>
    new Set(
      [...state.indexes.values()].flatMap(({ placements }) =>
        placements.flatMap((one) => (one.node === node ? [one.physicalUid] : [])),
      ),
    )
  return {
    ...openMemoryLayouts(deps),
    async standing(id) {
      const index = found(id)
      if (index === undefined) return undefined
      const { project, readUid, spread, generation, beside, head, completed, byteCount, primaryKey } = index.state
      const replicas = index.placements.filter(({ isGone }) => !isGone)
      return {
        index: id,
        project,
        uid: readUid,
        spread,
        generation,
        beside,
        head,
        completed,
        byteCount,
        primaryKey,
        replicas: replicas.map((placement) => ({
          ...placementOf(placement),
          pendingBytes: byteCount - placement.appliedBytes,
          diskEpoch: state.identities.get(placement.node)?.sinceEpoch ?? 0,
          diskMarker: state.identities.get(placement.node)?.marker ?? null,
          proof: placement.proof,
        })),
      }
    },
    async addReplica(id, node, shards) {
      const index = found(id)
      const uid = index?.state.readUid ?? index?.state.writeUid ?? null
      const home = memory.nodes.get(node)
      if (index === undefined || uid === null || home === undefined || home.state === 'lost') return undefined
      const standing = index.placements.filter(({ isGone }) => !isGone)
      const { generation } = index.state
      const known = standing.find(
        (one) =>
          one.node === node &&
          one.generation === generation &&
          one.state === 'copying' &&
          one.shards.join() === shards.join(),
      )
      if (known !== undefined) return placementOf(known)
      const ref = memory.projects.get(index.state.project)?.ref
      if (ref === undefined) return undefined
      const taken = namesOn(node)
      let number = 1
      while (taken.has(physicalName(ref, uid, number))) number += 1
      const physicalUid = physicalName(ref, uid, number)
      const fresh = newPlacement({ index: id, generation, shards, node, physicalUid, state: 'copying' })
      const before = index.placements.filter((one) => one.node === node)
      fresh.revision = Math.max(0, ...before.map(({ revision }) => revision + 1))
      index.placements.push(fresh)
      memory.record([{ entity: 'index', project: index.state.project, entityId: id }])
      return placementOf(fresh)
    },
    async changeGeneration(id, change) {
      const index = found(id)
      return index === undefined ? 'unsuited' : editGenerations(deps, index, change, tell)
    },
    async loads() {
      const counts = new Map<NodeId, number>()
      for (const { placements } of state.indexes.values()) {
        for (const one of placements) if (!one.isGone) counts.set(one.node, (counts.get(one.node) ?? 0) + 1)
      }
      return counts
    },
    async changeReplica(id, replica, change) {
      const index = found(id)
      if (index === undefined) return 'unsuited'
      const next = changedReplica(standingsOf(deps, index), replica, index.state.completed, change)
      if (typeof next === 'string') return next
      const placement = index.placements.find((one) => replicaId(one) === replica && !one.isGone)
      if (placement === undefined) return 'unsuited'
      if (!isChanged(placement, next)) return 'done'
      if (next.applied === 0) placement.proof = null
      else if (change.kind === 'begin' && change.proof !== null) placement.proof = change.proof
      if (placement.applied !== next.applied) {
        placement.appliedBytes = index.changes[next.applied - 1]?.bytesThrough ?? 0
      }
      Object.assign(placement, next)
      const effects = settleJointly(deps, index, new Set(), true)
      tell(index, { ...effects, woken: [...effects.woken, placement.node] })
      return 'done'
    },
  }
}
