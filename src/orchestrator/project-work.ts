/**
 * Changes of a whole project that take long: dump, snapshot, export, and search rules that nodes are told. Claimed from the
 * journal under a lease, two at most at once; each may run again after a crash, and ends its task exactly once.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorBody } from '../api/errors.ts'
import type { RuleOperation } from '../api/search-rule.ts'
import { type DumpedIndex, dumpUid, writeDump } from '../embedded/dump/dump-writer.ts'
import { dumpedRules } from '../embedded/dump/dumped-rules.ts'
import type { Engine } from '../engine/engine.ts'
import type { Change, Operation } from '../journal/change.ts'
import type { Journal, LaneJournal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { Json } from '../lib/json.ts'
import type { Node, Project } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import type { RouteTable } from '../topology/route-table.ts'
import { exportIndexes, type ProjectIndex } from './export.ts'
import type { RuleTeller } from './node-rules.ts'
import { documentsOf } from './project-documents.ts'
import { WorkFailure } from './work-failure.ts'

export interface ProjectWorkDeps {
  readonly worker: string
  readonly journal: Pick<Journal, 'writeState'>
  readonly work: Pick<
    LaneJournal,
    'waitForProjectWork' | 'claimProjectChange' | 'renewProjectChange' | 'finishProjectChange'
  >
  readonly catalogue: Pick<Catalogue, 'keys' | 'webhooks'>
  readonly rules: Pick<RuleTeller, 'spread'>
  readonly table: () => RouteTable
  readonly engineOf: (node: Node) => Engine
  /** An engine outside of the fleet, as the target of an export; refuses addresses that the egress policy forbids. */
  readonly remoteEngine: (url: string, key: string | null) => Promise<Engine & { close(): Promise<void> }>
  /** Archives go to `<folder>/dumps/<ref>` and `<folder>/snapshots/<ref>`. */
  readonly folder: string
  readonly engineVersion: string
  readonly clock: Clock
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
}

export interface ProjectWork {
  stop(): Promise<void>
}

const leaseMs = 30_000
/** How long work may lie whose call was lost, or whose worker died. */
const idleMs = 5_000

type LongOperation = Extract<Operation, { kind: 'dump' | 'snapshot' | 'export' } | RuleOperation>

/** Runs until stopped. Work in flight at `stop` is given up; its lease ends and a worker takes it again. */
export function startProjectWork(deps: ProjectWorkDeps): ProjectWork {
  const stopped = new AbortController()
  const loop = async () => {
    while (!stopped.signal.aborted) {
      const change = await claim(deps)
      if (change === undefined) await deps.work.waitForProjectWork(idleMs, stopped.signal)
      else await runClaimed(deps, change, stopped.signal)
    }
  }
  // So that a change of rules does not wait for a dump.
  const running = Promise.all([loop(), loop()])
  return {
    async stop() {
      stopped.abort(new Error('the worker stops'))
      await running
    },
  }
}

async function claim({ work, worker, log }: ProjectWorkDeps): Promise<Change | undefined> {
  try {
    return await work.claimProjectChange(worker, leaseMs)
  } catch (error) {
    log.warn({ err: error }, 'the store does not answer')
    return undefined
  }
}

async function runClaimed(deps: ProjectWorkDeps, change: Change, stop: AbortSignal): Promise<void> {
  const { work, worker, log, clock } = deps
  const over = new AbortController()
  const signal = AbortSignal.any([stop, over.signal])
  const renewing = renew(deps, change, signal).catch((error) => over.abort(error))
  const startedAt = clock.monotonic()
  let details: Json = null
  let failure: unknown
  try {
    details = await runChange(deps, change, signal)
  } catch (error) {
    failure = error
  }
  const isGivenUp = signal.aborted
  over.abort(new Error('done'))
  await renewing
  if (isGivenUp) return
  const outcome =
    failure === undefined
      ? { status: 'succeeded' as const, error: null, details }
      : { status: 'failed' as const, error: errorBody('internal', describe(failure)), details: change.details }
  const fields = { project: change.project, task: change.task, tookMs: Math.round(clock.monotonic() - startedAt) }
  if (failure === undefined) log.info(fields, `${change.operation.kind} done`)
  else log.warn({ ...fields, err: failure }, `${change.operation.kind} failed`)
  // A store that is away now is no loss: the lease ends and the work is done again.
  await work
    .finishProjectChange(worker, change, outcome)
    .catch((error) => log.warn({ ...fields, err: error }, 'not recorded'))
}

async function renew({ work, worker, clock }: ProjectWorkDeps, change: Change, signal: AbortSignal): Promise<void> {
  for (;;) {
    await clock.sleep(leaseMs / 3, signal)
    if (!(await work.renewProjectChange(worker, change, leaseMs))) throw new Error('another worker took over')
  }
}

function describe(failure: unknown): string {
  return failure instanceof WorkFailure ? failure.message : 'The task could not be completed.'
}

async function runChange(deps: ProjectWorkDeps, change: Change, signal: AbortSignal): Promise<Json> {
  const table = deps.table()
  const project = table.project(change.project)
  if (project === undefined) throw new WorkFailure('The project does not exist any more.')
  const operation = change.operation as LongOperation
  switch (operation.kind) {
    case 'dump': {
      // The name is that of the task's time, so that a second run after a crash replaces the first.
      const uid = dumpUid(change.enqueuedAt)
      await writeArchive(deps, project, table, join(deps.folder, 'dumps', project.ref), `${uid}.dump`, signal)
      return { dumpUid: uid }
    }
    case 'snapshot':
      await writeArchive(deps, project, table, join(deps.folder, 'snapshots', project.ref), 'data.ms.snapshot', signal)
      return null
    case 'rule-put':
    case 'rule-delete':
    case 'rules-clear':
      await deps.rules.spread(project.id, signal)
      return null
    case 'export': {
      const target = await deps.remoteEngine(operation.url, operation.apiKey)
      try {
        return await exportIndexes(
          operation,
          change.details,
          projectIndexes(deps, project, table, signal),
          target,
          signal,
        )
      } finally {
        await target.close()
      }
    }
  }
}

async function writeArchive(
  deps: ProjectWorkDeps,
  project: Project,
  table: RouteTable,
  folder: string,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const now = deps.clock.now()
  const contents = {
    features: project.features,
    keys: await deps.catalogue.keys(project.id),
    webhooks: await deps.catalogue.webhooks(project.id),
    indexes: asDumped(projectIndexes(deps, project, table, signal), dumpedRules(project.searchRules, now)),
  }
  await writeDump(join(folder, file), contents, deps.engineVersion, now)
}

async function* asDumped(
  indexes: AsyncIterable<ProjectIndex>,
  rules: DumpedIndex | undefined,
): AsyncIterable<DumpedIndex> {
  for await (const { documents, ...index } of indexes) yield { ...index, documents: lines(documents) }
  if (rules !== undefined) yield rules
}

async function* lines(documents: AsyncIterable<string>): AsyncIterable<string> {
  for await (const document of documents) yield `${document}\n`
}

async function* projectIndexes(
  deps: ProjectWorkDeps,
  project: Project,
  table: RouteTable,
  signal: AbortSignal,
): AsyncIterable<ProjectIndex> {
  for (const route of table.indexes(project.id)) {
    const state = await deps.journal.writeState(project.id, route.index.uid)
    yield {
      entry: route.index,
      settings: state?.settings ?? {},
      documents: documentsOf({ table, engineOf: deps.engineOf }, route, signal),
    }
  }
}
