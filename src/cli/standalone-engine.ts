/** The configuration of an engine that runs alone, as the engine's own options. */
import type { Feature } from '../api/features.ts'
import { type Config, ConfigError } from '../config/config.ts'
import type { EngineOptions } from '../embedded/core.ts'

const masterKeyBytesMin = 16
/** The main thread commits a batch in one turn. */
const batchTasksMax = 1000

/** @throws ConfigError when it may not run in production. */
export function standaloneEngine({ project, standalone }: Config): EngineOptions {
  const key = project.masterKey?.reveal()
  if (standalone.env === 'production' && Buffer.byteLength(key ?? '') < masterKeyBytesMin)
    throw new ConfigError([
      `--env production: needs a master key of at least ${masterKeyBytesMin} bytes; give one with --master-key or MEILI_MASTER_KEY`,
    ])
  const { dumpDir, snapshotDir, importDump, importSnapshot, scheduleSnapshot } = standalone
  const { searchQueueSize, batchedTasksMax, batchedBytesMax } = standalone
  return {
    ...(dumpDir === null ? {} : { dumpFolder: dumpDir }),
    ...(snapshotDir === null ? {} : { snapshotFolder: snapshotDir }),
    ...(scheduleSnapshot === null || scheduleSnapshot === 0 ? {} : { snapshotEveryMs: scheduleSnapshot * 1000 }),
    ...(searchQueueSize === null ? {} : { searchQueueMax: searchQueueSize }),
    ...(batchedTasksMax === null ? {} : { batchTasksMax: Math.min(batchedTasksMax, batchTasksMax) }),
    ...(batchedBytesMax === null ? {} : { batchBytesMax: batchedBytesMax }),
    ...(importDump === null
      ? {}
      : {
          load: {
            kind: 'dump',
            path: importDump,
            ignoreMissing: standalone.ignoreMissingDump,
            ignoreIfExists: standalone.ignoreDumpIfDbExists,
          },
        }),
    ...(importSnapshot === null
      ? {}
      : {
          load: {
            kind: 'snapshot',
            path: importSnapshot,
            ignoreMissing: standalone.ignoreMissingSnapshot,
            ignoreIfExists: standalone.ignoreSnapshotIfDbExists,
          },
        }),
  }
}

export function standaloneFeatures({ standalone }: Config): readonly Feature[] {
  const { containsFilter, enableMetrics, enableLogsRoute } = standalone
  return [
    ...(containsFilter ? (['containsFilter'] as const) : []),
    ...(enableMetrics ? (['metrics'] as const) : []),
    ...(enableLogsRoute ? (['logsRoute'] as const) : []),
  ]
}
