/** What a lane does with one change: skip it, resolve it first, or send it in parts. Pure. */

import type { ErrorBody } from '../api/errors.ts'
import { type Change, type Payload, type Resolution, wholeResolution } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { JsonObject } from '../lib/json.ts'
import { nodeSettings } from './node-settings.ts'
import { sliceCount } from './payload-slices.ts'
import { touches } from './shard-lines.ts'
import { type Cut, shareOf } from './shard-view.ts'

/** One engine task. Document parts carry the mark themselves; the others are followed by an empty mark (NF-41). */
export type Part =
  /** The `slice`-th of the payload's slices: a long payload must not hold up the other indexes of the node. */
  | {
      readonly kind: 'put'
      readonly merge: boolean
      readonly payload: Payload
      readonly slice: number
      /** Slices of the payload. */
      readonly slices: number
      /** Of what the replica gets of it, about. */
      readonly byteCount: number
      /** Where the payload's first line stands in the change. */
      readonly firstLine: number
    }
  | { readonly kind: 'delete'; readonly payload: Payload }
  | { readonly kind: 'clear' }
  | { readonly kind: 'settings'; readonly settings: JsonObject }
  | { readonly kind: 'create-index'; readonly primaryKey: string | null }
  | { readonly kind: 'update-index'; readonly primaryKey: string }
  | { readonly kind: 'delete-index' }
  | { readonly kind: 'compact-index' }

export type Delivery =
  /** Nothing reaches the node. `ends` = what the client's task comes to; null = it ended before (cancelled, or a replay). */
  | { readonly kind: 'skip'; readonly ends: { readonly error: ErrorBody | null } | null }
  /** It was delivered once, and what it delivered was dropped since (design 2, rule 7). */
  | { readonly kind: 'lost' }
  /** State-dependent and not resolved yet (NF-04, NF-05). */
  | { readonly kind: 'resolve' }
  | {
      readonly kind: 'send'
      readonly parts: readonly Part[]
      /**
       * Everything before it must have been applied, and nothing behind it goes out before it was: what a document change
       * comes to depends on the settings at its position, and a clear would absorb what stands before it in its batch and
       * spoil its count (NF-16, NF-21).
       */
      readonly isAlone: boolean
      /** Distinct documents in its puts. */
      readonly documents: number
    }

/** It ended without anything for a node. */
export function isOver({ status }: Pick<Change, 'status'>): boolean {
  return status === 'failed' || status === 'canceled'
}

export function planDelivery(item: LaneChange, cut: Cut): Delivery {
  const { change, settings } = item
  if (isOver(change)) return { kind: 'skip', ends: null }
  if (change.refusal !== null) return { kind: 'skip', ends: { error: change.refusal } }
  const refusal = item.turn?.refusal ?? null
  if (refusal !== null) return { kind: 'skip', ends: { error: refusal } }
  const resolutions = wholeResolution(change.resolution, item.partials)
  if (resolutions !== undefined) return planResolutions(resolutions, item, cut)
  const { operation, payload } = change
  if (change.status === 'succeeded' && isDropped(change)) return { kind: 'lost' }
  switch (operation.kind) {
    case 'documents-put': {
      if (operation.received === 0 || payload === null) return nothing
      if (operation.skipCreation) return { kind: 'resolve' }
      if (isForOthers(payload, cut, item.primaryKey)) return nothing
      return documents(puts(payload, operation.merge, cut), operation.distinct, cut)
    }
    case 'documents-delete':
      if (operation.provided === 0 || payload === null || isForOthers(payload, cut, null)) return nothing
      return documents([{ kind: 'delete', payload }], 0, cut)
    case 'documents-delete-by-filter':
    case 'documents-edit':
      return { kind: 'resolve' }
    case 'documents-clear':
      return alone({ kind: 'clear' })
    case 'settings':
      return alone({ kind: 'settings', settings: settingsFor(cut, settings ?? operation.settings) })
    case 'index-create':
      // On its node, a spread index is there before its first change.
      return cut.view === null ? alone({ kind: 'create-index', primaryKey: operation.primaryKey }) : keyed(operation)
    case 'index-update':
      // A rename is a pointer in the store and never reaches a node.
      return keyed(operation)
    case 'index-delete':
      return alone({ kind: 'delete-index' })
    case 'index-compact':
      return change.status === 'succeeded' ? nothing : alone({ kind: 'compact-index' })
    case 'index-swap':
    case 'task-cancel':
    case 'task-delete':
    case 'dump':
    case 'snapshot':
    case 'export':
    case 'rule-put':
    case 'rule-delete':
    case 'rules-clear':
      // Changes of the whole project have no position; one that has is ours alone and leaves the node as it is.
      return nothing
    default:
      return unreachable(operation)
  }
}

/**
 * Which index a foreign key names changes with every swap, rename and creation, and it may be on another node: gateways
 * follow foreign keys, and nodes know of none.
 */
function settingsFor({ view }: Cut, { foreignKeys: _keys, ...settings }: JsonObject): JsonObject {
  return view === null ? settings : nodeSettings(settings)
}

function keyed({ primaryKey }: { readonly primaryKey: string | null }): Delivery {
  return primaryKey === null ? nothing : alone({ kind: 'update-index', primaryKey })
}

/** What depends on the state of the index must never be resolved a second time, on another state. */
function isDropped({ operation, payload }: LaneChange['change']): boolean {
  switch (operation.kind) {
    case 'documents-put':
      return operation.received > 0 && (operation.skipCreation || payload === null)
    case 'documents-delete':
      return operation.provided > 0 && payload === null
    default:
      return operation.kind === 'documents-delete-by-filter' || operation.kind === 'documents-edit'
  }
}

const nothing: Delivery = { kind: 'skip', ends: { error: null } }

/** Nothing is delivered before all shards are known to come to something (design 2, rule 3). */
function planResolutions(resolutions: readonly Resolution[], item: LaneChange, cut: Cut): Delivery {
  const failed = resolutions.find(({ error }) => error !== null)
  return planResolved(failed === undefined ? resolutions : [failed], item, cut)
}

function planResolved(resolutions: readonly Resolution[], { primaryKey }: LaneChange, cut: Cut): Delivery {
  const parts: Part[] = []
  let putCount = 0
  let firstLine = 0
  for (const { puts: payload, deletes, merge, putCount: count, lineCount = count, error } of resolutions) {
    if (error !== null) return { kind: 'skip', ends: { error } }
    if (payload !== null && !isForOthers(payload, cut, primaryKey)) parts.push(...puts(payload, merge, cut, firstLine))
    if (deletes !== null && !isForOthers(deletes, cut, null)) parts.push({ kind: 'delete', payload: deletes })
    putCount += count
    firstLine += lineCount
  }
  return parts.length === 0 ? nothing : documents(parts, putCount, cut)
}

/** The same for a change that was sent in so many parts. */
export function planSent(item: LaneChange, cut: Cut, parts: number | undefined): Delivery {
  const delivery = planDelivery(item, cut)
  if (delivery.kind !== 'send' || parts === undefined || delivery.parts.length === parts) return delivery
  const wide = planDelivery(item, { ...cut, isWide: true })
  return wide.kind === 'send' && wide.parts.length === parts ? wide : delivery
}

function puts(payload: Payload, merge: boolean, cut: Cut, firstLine = 0): Part[] {
  const byteCount = payloadByteCount(payload)
  const sliceBytes = wholeSliceBytes(cut, byteCount)
  const slices = sliceCount(byteCount, sliceBytes)
  return Array.from({ length: slices }, (_, slice) => ({
    kind: 'put',
    merge,
    payload,
    slice,
    slices,
    byteCount: Math.ceil(Math.min(sliceBytes, byteCount - slice * sliceBytes) * shareOf(cut)),
    firstLine,
  }))
}

/** Slices in a wide one. */
const wideSlices = 8
/** What of a change was not sent yet when a neighbour comes still goes out as it was cut: a longer one would hold it up. */
const wideSlicesMax = 8

/** Bytes of a payload of `byteCount` in one slice. */
export function wholeSliceBytes(cut: Cut, byteCount: number): number {
  const sliceBytes = Math.ceil(cut.sliceBytes / shareOf(cut))
  const wideBytes = wideSlices * sliceBytes
  return cut.isWide === true && byteCount <= wideSlicesMax * wideBytes ? wideBytes : sliceBytes
}

/** Small enough to look into, and with nothing for this replica. */
function isForOthers(payload: Payload, { view }: Cut, primaryKey: string | null): boolean {
  return view !== null && payload.kind === 'inline' && !touches(payload.bytes, view, primaryKey)
}

/** How many of them a replica of a spread index gets shows only when they are sent. */
function documents(parts: readonly Part[], count: number, { view }: Cut): Delivery {
  return { kind: 'send', parts, isAlone: false, documents: view === null ? count : 0 }
}

function alone(part: Part): Delivery {
  return { kind: 'send', parts: [part], isAlone: true, documents: 0 }
}

/** What a part takes from the node's window. */
export function partByteCount(part: Part): number {
  if (part.kind === 'put') return part.byteCount
  return part.kind === 'delete' ? payloadByteCount(part.payload) : 0
}

export function payloadByteCount(payload: Payload): number {
  return payload.kind === 'inline' ? payload.bytes.byteLength : payload.byteCount
}

/** Parts that the engine cannot mark (NF-40). */
export function isMarked(part: Part): part is Extract<Part, { readonly kind: 'put' | 'delete' | 'clear' }> {
  return part.kind === 'put' || part.kind === 'delete' || part.kind === 'clear'
}

/** The engine's task type of each part, by which unmarked tasks are recognised. */
export const taskTypeOf: Record<Part['kind'], string> = {
  put: 'documentAdditionOrUpdate',
  delete: 'documentDeletion',
  clear: 'documentDeletion',
  settings: 'settingsUpdate',
  'create-index': 'indexCreation',
  'update-index': 'indexUpdate',
  'delete-index': 'indexDeletion',
  'compact-index': 'indexCompaction',
}
