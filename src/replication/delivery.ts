/** What a lane does with one change: skip it, resolve it first, or send it in parts. Pure. */

import type { ErrorBody } from '../api/errors.ts'
import type { Payload, Resolution } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { JsonObject } from '../lib/json.ts'
import { sliceCount } from './payload-slices.ts'

/** One engine task. Document parts carry the mark themselves; the others are followed by an empty mark (NF-41). */
export type Part =
  /** The `slice`-th of the payload's slices: a long payload must not hold up the other indexes of the node. */
  | {
      readonly kind: 'put'
      readonly merge: boolean
      readonly payload: Payload
      readonly slice: number
      readonly byteCount: number
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

/** @param sliceBytes  about how many bytes of documents go out at once. */
export function planDelivery({ change, settings }: LaneChange, sliceBytes: number): Delivery {
  const isOver = change.status === 'failed' || change.status === 'canceled'
  if (isOver) return { kind: 'skip', ends: null }
  if (change.refusal !== null) return { kind: 'skip', ends: { error: change.refusal } }
  if (change.resolution !== null) return planResolved(change.resolution, sliceBytes)
  const { operation, payload } = change
  if (change.status === 'succeeded' && isDropped(change)) return { kind: 'lost' }
  switch (operation.kind) {
    case 'documents-put': {
      if (operation.received === 0 || payload === null) return nothing
      if (operation.skipCreation) return { kind: 'resolve' }
      return documents(puts(payload, operation.merge, sliceBytes), operation.distinct)
    }
    case 'documents-delete':
      return operation.provided === 0 || payload === null ? nothing : documents([{ kind: 'delete', payload }], 0)
    case 'documents-delete-by-filter':
    case 'documents-edit':
      return { kind: 'resolve' }
    case 'documents-clear':
      return alone({ kind: 'clear' })
    case 'settings':
      return alone({ kind: 'settings', settings: withoutForeignKeys(settings ?? operation.settings) })
    case 'index-create':
      return alone({ kind: 'create-index', primaryKey: operation.primaryKey })
    case 'index-update':
      // A rename is a pointer in the store and never reaches a node.
      return operation.primaryKey === null ? nothing : alone({ kind: 'update-index', primaryKey: operation.primaryKey })
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
function withoutForeignKeys({ foreignKeys: _keys, ...settings }: JsonObject): JsonObject {
  return settings
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

function planResolved(resolution: Resolution, sliceBytes: number): Delivery {
  if (resolution.error !== null) return { kind: 'skip', ends: { error: resolution.error } }
  const parts: Part[] = resolution.puts === null ? [] : puts(resolution.puts, resolution.merge, sliceBytes)
  if (resolution.deletes !== null) parts.push({ kind: 'delete', payload: resolution.deletes })
  return parts.length === 0 ? nothing : documents(parts, resolution.putCount)
}

function puts(payload: Payload, merge: boolean, sliceBytes: number): Part[] {
  const byteCount = payloadByteCount(payload)
  return Array.from({ length: sliceCount(byteCount, sliceBytes) }, (_, slice) => ({
    kind: 'put',
    merge,
    payload,
    slice,
    byteCount: Math.min(sliceBytes, byteCount - slice * sliceBytes),
  }))
}

function documents(parts: readonly Part[], count: number): Delivery {
  return { kind: 'send', parts, isAlone: false, documents: count }
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
