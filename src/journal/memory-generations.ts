/** Generations of indexes beside the one that is read, in memory. */
import { physicalName } from '../topology/physical-name.ts'
import { addedGeneration, forgottenGeneration, readGeneration } from './generation-change.ts'
import type { MemoryDependencies } from './memory-journal.ts'
import { type Effects, settleJointly } from './memory-progress.ts'
import { newPlacement, type StoredIndex, standingsOf } from './memory-state.ts'
import type { GenerationChange, ReplicaOutcome } from './ports.ts'

export function editGenerations(
  deps: MemoryDependencies,
  index: StoredIndex,
  change: GenerationChange,
  tell: (index: StoredIndex, effects: Effects) => void,
): ReplicaOutcome {
  const { state } = index
  const now = { ...state, replicas: standingsOf(deps, index) }
  if (change.kind === 'add') return add(deps, index, change, now)
  if (change.kind === 'forget') {
    const outcome = forgottenGeneration(now, change.number)
    if (outcome !== 'now') return outcome
    Object.assign(state, { beside: null })
    return 'done'
  }
  const next = readGeneration(now, change.number)
  if (typeof next === 'string') return next
  const { generation, spread, beside } = next
  Object.assign(state, { generation, spread, beside })
  tell(index, settleJointly(deps, index, new Set(), true))
  return 'done'
}

function add(
  { state: { indexes }, memory }: MemoryDependencies,
  index: StoredIndex,
  { spread }: Extract<GenerationChange, { kind: 'add' }>,
  now: Parameters<typeof addedGeneration>[0],
): ReplicaOutcome {
  const { id, project, readUid, writeUid } = index.state
  const uid = readUid ?? writeUid
  const ref = memory.projects.get(project)?.ref
  if (uid === null || ref === undefined) return 'unsuited'
  const placed = [...indexes.values()].flatMap(({ placements }) => placements)
  const rooms = [...memory.nodes.values()]
    .filter((node) => node.state === 'active')
    .map((node) => {
      const load = placed.filter((one) => one.node === node.id && !one.isGone).length
      return { id: node.id, group: node.group, seat: node.seat, load }
    })
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  const added = addedGeneration(now, spread, rooms, Math.max(...index.placements.map((one) => one.generation)))
  if (typeof added === 'string') return added
  const { number: generation, places } = added
  for (const { node, shards } of places) {
    let number = 1
    const isTaken = (name: string) => placed.some((one) => one.node === node && one.physicalUid === name)
    while (isTaken(physicalName(ref, uid, number))) number += 1
    const physicalUid = physicalName(ref, uid, number)
    index.placements.push(newPlacement({ index: id, generation, shards, node, physicalUid, state: 'copying' }))
  }
  Object.assign(index.state, { beside: { number: generation, spread } })
  memory.record([{ entity: 'index', project, entityId: id }])
  return 'done'
}
