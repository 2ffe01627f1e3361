/** The twin in memory of `postgres-layouts.ts`. */
import { anyPlace } from '../topology/index-layout.ts'
import type { MemoryDependencies } from './memory-journal.ts'
import { placementOf } from './memory-state.ts'
import type { LayoutJournal } from './ports.ts'

export function openMemoryLayouts({ state, memory }: Pick<MemoryDependencies, 'state' | 'memory'>): LayoutJournal {
  return {
    layouts: async () =>
      [...state.indexes.values()]
        .filter(({ state: one }) => !one.isGone && one.readUid !== null && one.beside === null)
        .sort((a, b) => (a.state.id < b.state.id ? -1 : 1))
        .map(({ state: { id, readUid, project, spread, byteCount, generation }, placements, wanted }) => ({
          ...{ index: id, uid: readUid ?? '', project, spread, byteCount },
          wanted: wanted ?? anyPlace,
          replicas: placements
            .filter((one) => !one.isGone && one.generation === generation)
            .map(placementOf)
            .sort((a, b) => (`${a.node}/${a.physicalUid}` < `${b.node}/${b.physicalUid}` ? -1 : 1)),
        })),
    async want(id, { replicationFactor, ...place }) {
      const index = state.indexes.get(id)
      if (index === undefined || index.state.isGone) return false
      const { spread } = index.state
      if (spread !== null && replicationFactor !== undefined)
        Object.assign(index.state, { spread: { ...spread, replicationFactor } })
      index.wanted = { ...(index.wanted ?? anyPlace), ...place }
      memory.record([{ entity: 'index', project: index.state.project, entityId: id }])
      return true
    },
  }
}
