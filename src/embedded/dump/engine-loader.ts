/** Fills an engine that was not started with what a dump holds. */
import { completeFeatures, featureNames } from '../../api/features.ts'
import { decodeSettings } from '../../api/settings.ts'
import { assert } from '../../lib/assert.ts'
import type { EngineStore } from '../core.ts'
import { LoadRefused } from '../engine-loading.ts'
import type { IndexState } from '../index-batch.ts'
import { type IndexRegistry, withState } from '../index-registry.ts'
import type { IndexingThreads } from '../indexing-threads.ts'
import type { OpenIndexes } from '../open-indexes.ts'
import type { PayloadFiles } from '../payload-files.ts'
import type { TaskStore } from '../task-store.ts'
import type { Adoption, SentTask } from '../worker-messages.ts'
import type { EngineLoader } from './dump-import.ts'
import type { UnpackedIndex } from './dump-reader.ts'

/** Settings of a dump may be of any feature. */
const everyFeature = completeFeatures(Object.fromEntries(featureNames.map((name) => [name, true])))

export interface EngineLoaderDeps {
  readonly folder: string
  readonly store: EngineStore
  readonly registry: IndexRegistry
  readonly tasks: TaskStore
  readonly payloads: PayloadFiles
  readonly open: OpenIndexes
  readonly indexing: IndexingThreads
  readonly adopt: (folder: string, adoption: Adoption) => Promise<IndexState>
}

export function engineLoader(deps: EngineLoaderDeps): EngineLoader {
  const { folder, store, tasks, payloads } = deps
  return {
    folder,
    store,
    addIndex: (index) => addIndex(deps, index),
    addTask: async (record, source) => {
      const payload = source === undefined ? undefined : await payloads.receive(source)
      await tasks.insert({ ...record, payload: payload?.stored ?? null }, payload?.bytes)
    },
    addBatch: (batch) => tasks.commit({ tasks: [], batch }),
  }
}

async function addIndex(
  { registry, tasks, open, indexing, adopt }: EngineLoaderDeps,
  { uid, primaryKey, createdAt, updatedAt, settings, documents }: UnpackedIndex,
): Promise<void> {
  const entry = registry.draft(uid, createdAt)
  const folder = registry.folderOf(entry)
  const put = { kind: 'documents-put', merge: false, skipCreation: false, primaryKey } as const
  const sent: readonly SentTask[] = [
    { uid: 0, operation: { kind: 'index-create', primaryKey }, payload: null },
    { uid: 1, operation: { kind: 'settings', settings: decodeSettings(settings, everyFeature) }, payload: null },
    { uid: 2, operation: put, payload: { kind: 'file', path: documents } },
  ]
  const outcome = await open.use([folder], () => indexing.run('main', folder, sent), 'write')
  assert(outcome !== 'aborted', 'nothing runs beside a load that could end it')
  const refused = outcome.outcomes.find(({ error }) => error !== null)
  if (refused?.error) throw new LoadRefused(`Index \`${uid}\` of the dump is refused: ${refused.error.message}`)
  const next = withState(entry, await adopt(folder, { createdAt, updatedAt }))
  await tasks.commit({ tasks: [], putIndexes: [next] })
  registry.apply([], [next])
}
