/**
 * Group commit: one loop takes what is waiting, decides it in call order and commits it in one transaction.
 *
 * Order of locks, here and in the lanes: projects, indexes, nodes (each by id), then a project's progress, then the
 * catalogue's version.
 */
import { randomInt } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { PoolClient } from 'pg'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import type { Random } from '../lib/random.ts'
import type { Blobs } from '../store/blobs.ts'
import type { IndexId, NodeId, ProjectId, Spread } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { asUnavailable, type Database, inTime, isConflict, type StoreLogger } from '../store/database.ts'
import { UnknownDataKey } from '../store/key-ring.ts'
import { StoreUnavailable } from '../store/ports.ts'
import type { Signals } from '../store/signals.ts'
import type { AdmissionMode } from '../topology/admission.ts'
import { type DecisionContext, decideAppend, type ProjectDraft } from './append-decision.ts'
import { type Insertion, insertChanges } from './change-insert.ts'
import { openSettings, sealContexts } from './change-row.ts'
import { type IndexCreation, type IndexesPerNode, prepareCreation } from './index-creation.ts'
import { decodeIndex, type LockedIndex, prepareSaving, selectIndexes } from './index-rows.ts'
import type { AppendOutcome, AppendRequest } from './ports.ts'
import { carryOut } from './project-effects.ts'
import { projectWork } from './work-waiter.ts'
import type { WriteIndex } from './write-index.ts'

export interface AppenderDependencies {
  readonly database: Database
  readonly sealing: Sealing
  readonly blobs: Blobs
  readonly signals: Signals
  readonly clock: Clock
  readonly random: Random
  readonly logger: StoreLogger
  readonly admission: AdmissionMode
  readonly indexesPerNode: IndexesPerNode
  /** How new indexes lie whose request does not say it. */
  readonly spread: Spread | null
}

export interface Appender {
  append(request: AppendRequest): Promise<AppendOutcome>
  /** Settings folded up to a version, if this process has seen them lately. */
  settingsOf(index: IndexId, version: number): JsonObject | undefined
  remember(index: IndexId, version: number, settings: JsonObject): void
  /** What is waiting is committed first. */
  close(): Promise<void>
}

const batchCountMax = 500
const batchBytesMax = 16 * 1024 * 1024
const waitingCountMax = 50_000
const triesMax = 4
/** After a connection broke during the commit, how long to ask whether it was committed. */
const doubtMsMax = 10_000
const appendTokenMax = 2 ** 47
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
/** The API refuses everything else; here it keeps a mistake there from becoming SQL. */
const uidPattern = /^[A-Za-z0-9_.-]{1,512}$/

interface Waiting {
  readonly request: AppendRequest
  readonly settle: (outcome: AppendOutcome) => void
  readonly fail: (error: unknown) => void
}

export function openAppender(deps: AppenderDependencies): Appender {
  const waiting: Waiting[] = []
  const settings = new LRUCache<IndexId, { readonly version: number; readonly settings: JsonObject }>({ max: 2_000 })
  let running: Promise<void> | undefined
  let isClosed = false
  const appender: Appender = {
    append: (request) =>
      new Promise((settle, fail) => {
        if (isClosed || waiting.length >= waitingCountMax) {
          const cause = new StoreUnavailable(isClosed ? 'the journal is closed' : 'too many writes are waiting')
          return settle({ kind: 'unavailable', cause })
        }
        checkNames(request)
        waiting.push({ request, settle, fail })
        running ??= run()
      }),
    settingsOf: (index, version) => {
      const known = settings.get(index)
      return known?.version === version ? known.settings : undefined
    },
    remember: (index, version, value) => {
      settings.set(index, { version, settings: value })
    },
    async close() {
      isClosed = true
      await running
    },
  }
  const run = async () => {
    // What arrives in the same turn shares the transaction.
    await Promise.resolve()
    while (waiting.length > 0) await commitGroup(deps, appender, takeGroup(waiting))
    running = undefined
  }
  return appender
}

/** Swaps, cancels and deletes reach beyond their own row and run alone. */
function runsAlone({ operation: { kind } }: AppendRequest): boolean {
  return kind === 'index-swap' || kind === 'task-cancel' || kind === 'task-delete'
}

function takeGroup(waiting: Waiting[]): Waiting[] {
  let count = 0
  let byteCount = 0
  for (const { request } of waiting) {
    if (count > 0 && (runsAlone(request) || count >= batchCountMax || byteCount >= batchBytesMax)) break
    count += 1
    if (request.payload?.kind === 'inline') byteCount += request.payload.bytes.byteLength
    if (runsAlone(request)) break
  }
  return waiting.splice(0, count)
}

async function commitGroup(deps: AppenderDependencies, appender: Appender, group: readonly Waiting[]): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const requests = group.map(({ request }) => request)
      const committed = await commitOnce(deps, appender, requests)
      group.forEach(({ settle }, at) => {
        const outcome = committed.outcomes[at]
        assert(outcome !== undefined, 'every request has an outcome')
        settle(outcome)
      })
      for (const name of committed.unusedBlobs) await deps.blobs.delete(name).catch(() => undefined)
      return
    } catch (error) {
      if (isConflict(error) && attempt < triesMax) continue
      if (error instanceof UnknownDataKey && attempt < triesMax) {
        await deps.sealing.learn().catch(() => undefined)
        continue
      }
      const cause = asUnavailable(error)
      if (cause instanceof StoreUnavailable) {
        deps.logger.warn({ err: error, count: group.length }, 'writes were refused: the store is not available')
        for (const { settle } of group) settle({ kind: 'unavailable', cause })
        return
      }
      const [only] = group
      if (group.length === 1) return only?.fail(error)
      // One request is at fault; the others must not suffer for it.
      for (const one of group) await commitGroup(deps, appender, [one])
      return
    }
  }
}

/** A row that is there exactly when the transaction was committed. */
interface Witness {
  readonly project: ProjectId
  readonly task: number
  readonly token: number
}

interface Committed {
  readonly outcomes: readonly AppendOutcome[]
  readonly unusedBlobs: readonly string[]
}

async function commitOnce(
  deps: AppenderDependencies,
  appender: Appender,
  requests: readonly AppendRequest[],
): Promise<Committed> {
  const client = await deps.database.pool.connect()
  let broken: Error | undefined
  try {
    const writing = decideAndWrite(deps, appender, client, requests)
    const { transaction, witness, wake, ...committed } = await inTime(writing)
    try {
      await inTime(client.query('commit'))
    } catch (error) {
      broken = error instanceof Error ? error : new Error(String(error))
      if (witness !== undefined && !(await wasCommitted(deps, transaction, witness))) throw error
    }
    wake()
    return committed
  } catch (error) {
    // A connection that broke or went silent is closed, which rolls back as well.
    if (error instanceof StoreUnavailable) broken ??= error
    if (broken === undefined) {
      await client.query('rollback').catch((failure: Error) => {
        broken = failure
      })
    }
    throw error
  } finally {
    client.release(broken)
  }
}

/**
 * The connection broke while committing: the server knows what became of it. The transaction's number only tells whether it
 * still runs, since a server that crashed gives the number to another one. Throws when it cannot be asked in time.
 */
async function wasCommitted(
  { database, clock }: AppenderDependencies,
  transaction: string,
  { project, task, token }: Witness,
): Promise<boolean> {
  const deadline = clock.monotonic() + doubtMsMax
  for (;;) {
    try {
      if (!(await isRunning(database, transaction))) {
        const { rows } = await inTime(
          database.pool.query('select 1 from changes where project_id = $1 and task = $2 and append_token = $3', [
            project,
            task,
            token,
          ]),
        )
        return rows.length > 0
      }
    } catch (error) {
      if (clock.monotonic() > deadline) throw error
    }
    if (clock.monotonic() > deadline) throw new StoreUnavailable('the outcome of a write is unknown')
    await clock.sleep(50)
  }
}

async function isRunning(database: Database, transaction: string): Promise<boolean> {
  try {
    const { rows } = await inTime(
      database.pool.query<{ status: string | null }>('select pg_xact_status($1::text::xid8) as status', [transaction]),
    )
    return rows[0]?.status === 'in progress'
  } catch (error) {
    // A number that the server has not reached again: it crashed before anything of the transaction was on disk.
    if (error instanceof Error && 'code' in error && error.code === '22023') return false
    throw error
  }
}

async function decideAndWrite(
  deps: AppenderDependencies,
  appender: Appender,
  client: PoolClient,
  requests: readonly AppendRequest[],
): Promise<
  Committed & { readonly transaction: string; readonly witness: Witness | undefined; readonly wake: () => void }
> {
  const now = deps.clock.now()
  const { transaction, projects, indexes } = await lock(deps, client, requests)
  const areSettingsKnown = await loadSettings(deps, appender, client, requests, indexes)
  const creation = await prepare(deps, client, requests, projects)
  const context: DecisionContext = {
    now,
    admission: deps.admission,
    spread: deps.spread,
    createIndex: (project, uid, spread) => creation?.create(project, uid, spread),
  }
  const insertions: Insertion[] = []
  // Not from `random`: it shows nowhere, and the twin in memory has no use for it.
  const token = randomInt(1, appendTokenMax)
  const nodes = new Set<NodeId>()
  const unusedBlobs: string[] = []
  const outcomes = requests.map((request): AppendOutcome => {
    const project = projects.get(request.project)
    assert(project !== undefined, 'a request names a project that exists')
    const decision = decideAppend(project, request, context)
    if (decision.kind !== 'append') return decision
    const { change } = decision
    insertions.push({ project: project.id, change })
    for (const node of decision.nodes) nodes.add(node)
    if (request.payload?.kind === 'blob' && change.payload === null) unusedBlobs.push(request.payload.name)
    const { task, enqueuedAt, position } = change
    const degraded = decision.degraded === undefined ? {} : { degraded: decision.degraded }
    return { kind: 'appended', task, enqueuedAt, index: change.index?.id ?? null, position, ...degraded }
  })
  const touched = [...indexes, ...(creation?.indexes ?? [])]
  const finished = new Set<ProjectId>()
  let isCatalogueChanged = false
  let hasProjectWork = false
  if (insertions.length > 0) {
    await creation?.save(client)
    const saving = await prepareSaving(client, deps.sealing, touched)
    const next = new Map(insertions.map(({ project }) => [project, projects.get(project)?.nextTask ?? 0]))
    await insertChanges(client, deps.sealing, insertions, next, token, saving)
    const effects = await carryOut(client, deps.sealing, insertions, now)
    isCatalogueChanged = effects.isCatalogueChanged
    hasProjectWork = effects.hasProjectWork
    for (const project of effects.finished) finished.add(project)
  }
  const [first] = insertions
  return {
    outcomes,
    unusedBlobs,
    transaction,
    witness: first && { project: first.project, task: first.change.task, token },
    wake: () => {
      if (areSettingsKnown) {
        for (const { state } of touched) appender.remember(state.id, state.settingsVersion, state.settings)
      }
      for (const node of nodes) deps.signals.send('flapjack_work', node)
      if (hasProjectWork) deps.signals.send('flapjack_work', projectWork)
      for (const project of finished) deps.signals.send('flapjack_finished', project)
      if (isCatalogueChanged) deps.signals.send('flapjack_catalogue', '')
    },
  }
}

type IndexRow = Parameters<typeof decodeIndex>[1]

/** One round trip: begins, and locks the projects and the indexes that the requests name. */
async function lock(deps: AppenderDependencies, client: PoolClient, requests: readonly AppendRequest[]) {
  const ids = [...new Set(requests.map(({ project }) => project))].map((id) => client.escapeLiteral(id))
  const pairs = new Set(requests.flatMap((request) => namesOf(request).map((uid) => `${request.project} ${uid}`)))
  const names = [...pairs].map((pair) => {
    const [project = '', uid = ''] = pair.split(' ')
    return `(${client.escapeLiteral(project)}::uuid, ${client.escapeLiteral(uid)})`
  })
  const texts = [
    'begin',
    'select pg_current_xact_id()::text as transaction',
    `select id, ref, next_task from projects where id in (${ids.join(', ')}) order by id for no key update`,
    `${selectIndexes(false)} where (i.project_id, i.write_uid) in (values ${names.length === 0 ? '(null::uuid, null)' : names.join(', ')})
     order by i.id for no key update of i`,
  ]
  const results: unknown = await client.query(texts.join(';\n'))
  assert(Array.isArray(results) && results.length === texts.length, 'each statement has a result')
  const transaction: string = results[1].rows[0].transaction
  const projectRows: { id: string; ref: string; next_task: number }[] = results[2].rows
  const indexRows: IndexRow[] = results[3].rows
  const indexes = indexRows.map((row) => decodeIndex(deps.sealing, row))
  const projects = new Map(projectRows.map((row) => [row.id, draftOf(row, indexes)]))
  return { transaction, projects, indexes }
}

function namesOf({ uid, operation }: AppendRequest): readonly string[] {
  if (operation.kind === 'index-swap') return operation.swaps.flatMap(({ indexes }) => indexes)
  const renamed = operation.kind === 'index-update' && operation.uid !== null ? [operation.uid] : []
  return uid === null ? renamed : [uid, ...renamed]
}

function checkNames(request: AppendRequest): void {
  assert(uuidPattern.test(request.project), 'a project is a UUID')
  for (const uid of namesOf(request)) assert(uidPattern.test(uid), 'an index name was checked by the API')
}

function draftOf(row: { id: string; ref: string; next_task: number }, indexes: readonly LockedIndex[]): ProjectDraft {
  const names = new Map<string, WriteIndex>()
  for (const { state } of indexes) {
    if (state.project === row.id && state.writeUid !== null) names.set(state.writeUid, state)
  }
  return {
    id: row.id,
    ref: row.ref,
    nextTask: row.next_task,
    indexByName: (uid) => names.get(uid),
    setName: (uid, index) => {
      if (index === undefined) names.delete(uid)
      else names.set(uid, index)
    },
  }
}

/** Only puts (embedders) and settings changes look at settings; they may be large, so a process remembers the last version. */
async function loadSettings(
  deps: AppenderDependencies,
  appender: Appender,
  client: PoolClient,
  requests: readonly AppendRequest[],
  indexes: readonly LockedIndex[],
): Promise<boolean> {
  const isNeeded = requests.some(({ operation: { kind } }) => kind === 'documents-put' || kind === 'settings')
  if (!isNeeded) return false
  const missing: LockedIndex[] = []
  for (const index of indexes) {
    const { state } = index
    if (state.settingsVersion === 0) continue
    const known = appender.settingsOf(state.id, state.settingsVersion)
    if (known === undefined) missing.push(index)
    else setSettings(index, known)
  }
  if (missing.length === 0) return true
  const { rows } = await client.query<{ id: string; settings_sealed: Buffer | null }>(
    'select id, settings_sealed from indexes where id = any($1::uuid[])',
    [missing.map(({ state }) => state.id)],
  )
  for (const row of rows) {
    const index = missing.find(({ state }) => state.id === row.id)
    if (index === undefined) continue
    setSettings(index, openSettings(deps.sealing, row.settings_sealed, sealContexts.settings(row.id)))
  }
  return true
}

function setSettings({ state, loaded }: LockedIndex, settings: JsonObject): void {
  state.settings = settings
  loaded.settings = settings
}

/** Nodes and free physical names, when some request may need them. */
async function prepare(
  deps: AppenderDependencies,
  client: PoolClient,
  requests: readonly AppendRequest[],
  projects: ReadonlyMap<ProjectId, ProjectDraft>,
): Promise<IndexCreation | undefined> {
  const freed = new Set(
    requests.flatMap((request) => (freesName(request) ? [`${request.project} ${request.uid}`] : [])),
  )
  const wanted = requests.flatMap((request) => {
    const project = projects.get(request.project)
    const { uid } = request
    const mayCreate = request.mayCreateIndex || request.operation.kind === 'index-create'
    if (project === undefined || uid === null || !mayCreate) return []
    const isUnknown = project.indexByName(uid) === undefined || freed.has(`${request.project} ${uid}`)
    return isUnknown ? [{ project, uid }] : []
  })
  return wanted.length === 0 ? undefined : prepareCreation(client, wanted, deps)
}

function freesName({ operation }: AppendRequest): boolean {
  return operation.kind === 'index-delete' || (operation.kind === 'index-update' && operation.uid !== null)
}
