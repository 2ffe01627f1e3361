/**
 * What an appended change does to the state that writes see. Pure: the PostgreSQL journal and its twin in memory load a
 * draft, decide each request in call order, and write the draft back.
 */
import { type ErrorBody, errorBody } from '../api/errors.ts'
import { rulesIndex } from '../api/search-rule.ts'
import { foldedMistake, foldSettings } from '../api/settings.ts'
import { unreachable } from '../lib/assert.ts'
import { isSameJson, type JsonObject } from '../lib/json.ts'
import type { NodeId, ProjectId, Spread } from '../store/catalogue.ts'
import { type AdmissionMode, admits, degradedGroups } from '../topology/admission.ts'
import type { Operation } from './change.ts'
import { deliveredSettings } from './delivered-settings.ts'
import type { AppendRequest } from './ports.ts'
import { initialDetails } from './task-details.ts'
import type { Naming, NewChange, NewPlacement, WriteIndex } from './write-index.ts'

/** A project inside an appending transaction. */
export interface ProjectDraft {
  readonly id: ProjectId
  readonly ref: string
  nextTask: number
  /** The index that has this name as writes see it, among those the requests name. */
  indexByName(uid: string): WriteIndex | undefined
  /** After `uid` changed hands: `undefined` = nobody has it now. */
  setName(uid: string, index: WriteIndex | undefined): void
}

/** Makes an index with its placements; `undefined` = no node takes new indexes. */
export type CreateIndex = (
  project: ProjectDraft,
  uid: string,
  spread: Spread | null,
) => { readonly index: WriteIndex; readonly placements: readonly NewPlacement[] } | undefined

export interface DecisionContext {
  readonly now: number
  readonly createIndex: CreateIndex
  readonly admission: AdmissionMode
  /** How new indexes lie whose request does not say it. */
  readonly spread: Spread | null
}

export type AppendDecision =
  | { readonly kind: 'stale' }
  | { readonly kind: 'no-quorum'; readonly shards: readonly number[] }
  | {
      readonly kind: 'append'
      readonly change: NewChange
      readonly placements: readonly NewPlacement[]
      /** Nodes with new work. */
      readonly nodes: readonly NodeId[]
      /** Which replica groups fall short of it for the moment, as `X-Miroir-Degraded` tells it; absent = none. */
      readonly degraded?: string | undefined
    }

const plainSpread = { shards: 1, replicationFactor: 1 }

/** Edits the draft when, and only when, it answers `append`. */
export function decideAppend(project: ProjectDraft, request: AppendRequest, context: DecisionContext): AppendDecision {
  const { operation, uid } = request
  if (uid === null || uid === rulesIndex) return decideProjectChange(project, request, context)
  const existing = project.indexByName(uid)
  const admission =
    existing &&
    admits(
      existing.replicas.filter(({ isCurrent }) => isCurrent),
      existing.spread ?? plainSpread,
      context.admission,
    )
  if (admission?.admitted === false) return { kind: 'no-quorum', shards: admission.unmetShards }
  if (isStale(existing, request)) return { kind: 'stale' }
  const creates = operation.kind === 'index-create' || (request.mayCreateIndex && createsUnknown(operation))
  if (existing !== undefined) {
    const degraded = existing.spread && admission && degradedGroups(admission, existing.spread.shards)
    return { ...appendTo(project, existing, [], request, context), ...(degraded ? { degraded } : {}) }
  }
  if (!creates) return withoutIndex(project, request, notFound([uid]), context)
  const created = context.createIndex(project, uid, request.spread === undefined ? context.spread : request.spread)
  if (created === undefined) return { kind: 'no-quorum', shards: [] }
  project.setName(uid, created.index)
  return appendTo(project, created.index, created.placements, request, context)
}

function createsUnknown(operation: Operation): boolean {
  return operation.kind === 'documents-put' || operation.kind === 'settings'
}

/** The payload was checked against a primary key and embedders; when others hold now, the check says nothing. */
function isStale(index: WriteIndex | undefined, request: AppendRequest): boolean {
  const { checkedAgainst, operation } = request
  if (checkedAgainst === undefined || operation.kind !== 'documents-put') return false
  const embedders = index?.settings.embedders ?? null
  if (!isSameJson(embedders, checkedAgainst.embedders)) return true
  const current = index?.writePrimaryKey ?? null
  if (current === checkedAgainst.primaryKey) return false
  // Another first write adopted the very key that this one was checked with.
  const inferred =
    request.inferred !== undefined && 'primaryKey' in request.inferred ? request.inferred.primaryKey : null
  return request.refusal !== null || current === null || current !== (operation.primaryKey ?? inferred)
}

function appendTo(
  project: ProjectDraft,
  index: WriteIndex,
  placements: readonly NewPlacement[],
  request: AppendRequest,
  context: DecisionContext,
): AppendDecision {
  const { operation } = request
  const effect = effectOf(project, index, request, placements.length > 0)
  const refusal = 'refusal' in effect ? effect.refusal : null
  const payload = refusal === null ? request.payload : null
  const byteCount = payloadByteCount(payload)
  index.head += 1
  index.byteCount += byteCount
  index.behindSince ??= context.now
  let deliver: JsonObject | null = null
  if (!('refusal' in effect)) {
    if (effect.primaryKey !== undefined) index.writePrimaryKey = effect.primaryKey
    if (operation.kind === 'settings') {
      deliver = deliveredSettings(index.settings, operation.settings)
      index.settings = foldSettings(index.settings, operation.settings)
      index.settingsVersion += 1
    }
    if (operation.kind === 'documents-put') index.mayHoldDocuments = true
    if (operation.kind === 'documents-clear') index.mayHoldDocuments = false
    if (effect.rename !== undefined || operation.kind === 'index-delete') {
      if (index.writeUid !== null) project.setName(index.writeUid, undefined)
      index.writeUid = effect.rename ?? null
      if (effect.rename !== undefined) project.setName(effect.rename, index)
    }
  }
  const change: NewChange = {
    task: takeTask(project),
    index,
    position: index.head,
    indexUid: request.uid,
    operation,
    payload,
    byteCount,
    bytesThrough: index.byteCount,
    customMetadata: request.customMetadata,
    refusal,
    primaryKey: index.writePrimaryKey,
    deliver,
    mayCreate: operation.kind === 'index-create' || (request.mayCreateIndex && createsUnknown(operation)),
    naming: 'refusal' in effect || effect.rename === undefined ? [] : [{ index: index.id, uid: effect.rename }],
    details: initialDetails(operation, request.uid),
    status: 'enqueued',
    enqueuedAt: context.now,
  }
  return { kind: 'append', change, placements, nodes: index.replicas.map(({ node }) => node) }
}

type Effect = { readonly refusal: ErrorBody } | { readonly primaryKey?: string; readonly rename?: string }

/** What the change does to the index as writes see it, or why it is refused. */
function effectOf(project: ProjectDraft, index: WriteIndex, request: AppendRequest, isNew: boolean): Effect {
  const { operation } = request
  const uid = request.uid ?? ''
  switch (operation.kind) {
    case 'documents-put':
      return effectOfPut(index, request)
    case 'index-create':
      if (!isNew) return { refusal: alreadyExists(uid) }
      if (request.refusal !== null) return { refusal: request.refusal }
      return operation.primaryKey === null ? {} : { primaryKey: operation.primaryKey }
    case 'index-update': {
      if (request.refusal !== null) return { refusal: request.refusal }
      const isRenamed = operation.uid !== null && operation.uid !== uid
      if (isRenamed && project.indexByName(operation.uid) !== undefined) {
        return { refusal: alreadyExists(operation.uid) }
      }
      const rename = isRenamed ? { rename: operation.uid } : {}
      // An index that may hold documents: the engine says whether it does, and `complete` adopts the key on success.
      const adopts = operation.primaryKey !== null && (index.writePrimaryKey === null || !index.mayHoldDocuments)
      return adopts && operation.primaryKey !== null ? { ...rename, primaryKey: operation.primaryKey } : rename
    }
    case 'settings': {
      // What is wrong only after merging shows here, where the settings before are known.
      const refusal = request.refusal ?? foldedMistake(uid, index.settings, operation.settings)?.body ?? null
      return refusal === null ? {} : { refusal }
    }
    case 'documents-delete':
    case 'documents-delete-by-filter':
    case 'documents-clear':
    case 'documents-edit':
    case 'index-delete':
    case 'index-compact':
    case 'index-swap':
    case 'task-cancel':
    case 'task-delete':
    case 'dump':
    case 'snapshot':
    case 'export':
    case 'rule-put':
    case 'rule-delete':
    case 'rules-clear':
      return request.refusal === null ? {} : { refusal: request.refusal }
    default:
      return unreachable(operation)
  }
}

/** M-E2. */
function effectOfPut(index: WriteIndex, request: AppendRequest): Effect {
  const { operation, inferred, refusal } = request
  const argument = operation.kind === 'documents-put' ? operation.primaryKey : null
  const current = index.writePrimaryKey
  if (current !== null && argument !== null && current !== argument) {
    const message = `Index already has a primary key: \`${current}\`.`
    return { refusal: errorBody('index_primary_key_already_exists', message) }
  }
  if (current === null && argument === null && inferred !== undefined && 'refusal' in inferred) {
    return { refusal: inferred.refusal }
  }
  if (refusal !== null) return { refusal }
  if (current !== null) return {}
  const adopted = argument ?? (inferred !== undefined && 'primaryKey' in inferred ? inferred.primaryKey : null)
  return adopted === null ? {} : { primaryKey: adopted }
}

/** Swap, dump, snapshot, export, search rules; cancel and delete of tasks, whose effects are carried out beside. */
function decideProjectChange(project: ProjectDraft, request: AppendRequest, context: DecisionContext): AppendDecision {
  if (request.refusal !== null) return withoutIndex(project, request, request.refusal, context)
  if (request.operation.kind !== 'index-swap') return withoutIndex(project, request, null, context)
  const swaps = request.operation.swaps
  const refusal = refusalOfSwap(project, swaps)
  if (refusal !== null) return withoutIndex(project, request, refusal, context)
  const naming: Naming[] = []
  for (const { indexes } of swaps) {
    const [left, right] = [project.indexByName(indexes[0]), project.indexByName(indexes[1])]
    project.setName(indexes[0], right)
    project.setName(indexes[1], left)
    if (left !== undefined) naming.push(rename(left, indexes[1]))
    if (right !== undefined) naming.push(rename(right, indexes[0]))
  }
  return withoutIndex(project, request, null, context, naming)
}

function rename(index: WriteIndex, uid: string): Naming {
  index.writeUid = uid
  return { index: index.id, uid }
}

function refusalOfSwap(
  project: ProjectDraft,
  swaps: readonly { readonly indexes: readonly [string, string]; readonly rename: boolean }[],
): ErrorBody | null {
  const isMissing = (uid: string) => project.indexByName(uid) === undefined
  const missing = swaps.flatMap(({ indexes, rename }) => (rename ? [indexes[0]] : indexes).filter(isMissing))
  if (missing.length > 0) return notFound(missing)
  const taken = swaps.filter(({ indexes, rename }) => rename && !isMissing(indexes[1]))
  const first = taken[0]
  if (first === undefined) return null
  const [from, to] = first.indexes
  const message =
    taken.length === 1
      ? `Cannot rename \`${from}\` to \`${to}\` as the index already exists. Hint: You can remove \`${to}\` first and then do your remove.`
      : `The following indexes are being renamed but cannot because their new name conflicts with an already existing index: ${listOf(taken.map(({ indexes }) => indexes[1]))}. Renaming doesn't overwrite the other index name.`
  return errorBody('index_already_exists', message)
}

function withoutIndex(
  project: ProjectDraft,
  request: AppendRequest,
  refusal: ErrorBody | null,
  context: DecisionContext,
  naming: readonly Naming[] = [],
): AppendDecision {
  const { operation } = request
  const payload = refusal === null ? request.payload : null
  const change: NewChange = {
    task: takeTask(project),
    index: null,
    position: null,
    indexUid: request.uid,
    operation,
    payload,
    byteCount: payloadByteCount(payload),
    bytesThrough: 0,
    customMetadata: request.customMetadata,
    refusal,
    primaryKey: null,
    deliver: null,
    mayCreate: false,
    naming,
    details: initialDetails(operation, request.uid),
    status: refusal === null ? 'enqueued' : 'failed',
    enqueuedAt: context.now,
  }
  return { kind: 'append', change, placements: [], nodes: [] }
}

function takeTask(project: ProjectDraft): number {
  const task = project.nextTask
  project.nextTask += 1
  return task
}

function payloadByteCount(payload: AppendRequest['payload']): number {
  if (payload === null) return 0
  return payload.kind === 'inline' ? payload.bytes.byteLength : payload.byteCount
}

export function notFound(uids: readonly string[]): ErrorBody {
  const [only, ...others] = uids
  const message = others.length === 0 ? `Index \`${only}\` not found.` : `Indexes ${listOf(uids)} not found.`
  return errorBody('index_not_found', message)
}

function alreadyExists(uid: string): ErrorBody {
  return errorBody('index_already_exists', `Index \`${uid}\` already exists.`)
}

function listOf(uids: readonly string[]): string {
  return uids.map((uid) => `\`${uid}\``).join(', ')
}
