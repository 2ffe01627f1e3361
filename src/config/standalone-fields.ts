/** What an engine that runs alone does beside serving: the options of `flapjack engine` under Meilisearch's own names. */
import { byteCount, choice, type Decoder, field, flagValue, integer, optional, text } from './field.ts'

const daySeconds = 86_400

/** A number of seconds, or `true` for once a day. */
const interval: Decoder<number> = {
  accepts: 'seconds, or nothing for once a day',
  decode: (raw) => {
    if (raw === true || raw === 'true') return { value: daySeconds }
    if (raw === false || raw === 'false') return { value: 0 }
    return integer(1, 315_360_000).decode(raw)
  },
}

export const standaloneFields = {
  env: field(choice('development', 'production'), 'development', {
    env: ['MEILI_ENV'],
    flag: 'env',
    about: 'With `production`, an engine alone does not start without a master key of at least 16 bytes.',
  }),
  dumpDir: field(optional(text), null, {
    env: ['MEILI_DUMP_DIR'],
    flag: 'dump-dir',
    initialText: '`dumps` in the data folder',
    about: 'Where an engine alone puts dumps.',
  }),
  snapshotDir: field(optional(text), null, {
    env: ['MEILI_SNAPSHOT_DIR'],
    flag: 'snapshot-dir',
    initialText: '`snapshots` in the data folder',
    about: 'Where an engine alone puts its snapshot.',
  }),
  importDump: field(optional(text), null, {
    env: ['MEILI_IMPORT_DUMP'],
    flag: 'import-dump',
    about: 'A dump of Meilisearch 1.x or of this program that an engine alone starts with. Its folder must be empty.',
  }),
  ignoreMissingDump: field(flagValue, false, {
    env: ['MEILI_IGNORE_MISSING_DUMP'],
    flag: 'ignore-missing-dump',
    about: 'Starts without the dump when it is not there.',
  }),
  ignoreDumpIfDbExists: field(flagValue, false, {
    env: ['MEILI_IGNORE_DUMP_IF_DB_EXISTS'],
    flag: 'ignore-dump-if-db-exists',
    about: 'Starts without the dump when the folder has content.',
  }),
  importSnapshot: field(optional(text), null, {
    env: ['MEILI_IMPORT_SNAPSHOT'],
    flag: 'import-snapshot',
    about: 'A snapshot of an engine of this program that an engine alone starts with. Its folder must be empty.',
  }),
  ignoreMissingSnapshot: field(flagValue, false, {
    env: ['MEILI_IGNORE_MISSING_SNAPSHOT'],
    flag: 'ignore-missing-snapshot',
    about: 'Starts without the snapshot when it is not there.',
  }),
  ignoreSnapshotIfDbExists: field(flagValue, false, {
    env: ['MEILI_IGNORE_SNAPSHOT_IF_DB_EXISTS'],
    flag: 'ignore-snapshot-if-db-exists',
    about: 'Starts without the snapshot when the folder has content.',
  }),
  scheduleSnapshot: field(optional(interval), null, {
    env: ['MEILI_SCHEDULE_SNAPSHOT'],
    flag: 'schedule-snapshot',
    about: 'Makes a snapshot of an engine alone every so many seconds. Without a number: once a day.',
  }),
  searchQueueSize: field(optional(integer(1, 1_000_000)), null, {
    env: ['MEILI_EXPERIMENTAL_SEARCH_QUEUE_SIZE'],
    flag: 'experimental-search-queue-size',
    initialText: '1000',
    about: 'Searches that may wait in an engine alone; more are refused with `too_many_search_requests`.',
  }),
  batchedTasksMax: field(optional(integer(1, Number.MAX_SAFE_INTEGER)), null, {
    env: ['MEILI_EXPERIMENTAL_MAX_NUMBER_OF_BATCHED_TASKS'],
    flag: 'experimental-max-number-of-batched-tasks',
    initialText: '1000',
    about: 'Tasks that an engine alone runs as one batch at most. More than 1,000 count as 1,000.',
  }),
  batchedBytesMax: field(optional(byteCount(1, 2 ** 40)), null, {
    env: ['MEILI_EXPERIMENTAL_LIMIT_BATCHED_TASKS_TOTAL_SIZE'],
    flag: 'experimental-limit-batched-tasks-total-size',
    initialText: '256 MiB',
    about: 'Payload bytes that an engine alone runs as one batch at most; a single task may be larger.',
  }),
  containsFilter: field(flagValue, false, {
    env: ['MEILI_EXPERIMENTAL_CONTAINS_FILTER'],
    flag: 'experimental-contains-filter',
    about: 'Switches the feature `containsFilter` of an engine alone on at its start.',
  }),
  enableMetrics: field(flagValue, false, {
    env: ['MEILI_EXPERIMENTAL_ENABLE_METRICS'],
    flag: 'experimental-enable-metrics',
    about: 'Switches the feature `metrics` of an engine alone on at its start.',
  }),
  enableLogsRoute: field(flagValue, false, {
    env: ['MEILI_EXPERIMENTAL_ENABLE_LOGS_ROUTE'],
    flag: 'experimental-enable-logs-route',
    about: 'Switches the feature `logsRoute` of an engine alone on at its start.',
  }),
} as const
