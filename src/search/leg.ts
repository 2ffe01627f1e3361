/** One request of a read to one node, and the port through which legs are asked. */
import type { ErrorBody } from '../api/errors.ts'
import type { IndexSettings } from '../api/index-settings.ts'
import type { SearchRule } from '../api/search-rule.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { Narrow } from './narrowing.ts'

/** A replica that answers for some shards of an index. */
export interface Target {
  /** The caller's name of the replica; the same in every leg that goes to it. */
  readonly id: string
  /** Shards that it is asked for, ascending; `[0]` for a plain index. */
  readonly shards: readonly number[]
  /** It holds exactly these shards, so that no clause has to name them. */
  readonly isWhole: boolean
}

/** One replica for each shard of an index: each shard stands in one target. */
export type Coverage = readonly Target[]

/** An index as a read sees it. */
export interface SearchedIndex {
  /** The name that the client uses. */
  readonly uid: string
  /** The client's settings, complete (`completeSettings`): without what nodes are given in addition. */
  readonly settings: IndexSettings
  readonly primaryKey: string | null
  readonly coverage: Coverage
  /** null = plain: one target, nothing reserved in its documents. */
  readonly spread: { readonly shards: number } | null
  /** Dynamic search rules that may change its searches now, as nodes are told: their actions name no index. */
  readonly rules: readonly SearchRule[]
  /** `NumberedRules.positions`; empty in plain indexes, whose rules have their own positions. */
  readonly pinPositions: readonly number[]
}

export interface Leg {
  /** `Target.id`. */
  readonly target: string
  readonly method: 'GET' | 'POST'
  /** With the client's name of the index: `/indexes/books/search`. Names in bodies are the client's, too. */
  readonly path: string
  readonly body: JsonObject | null
  /** `SearchedIndex.rules`, for a search that follows them. */
  readonly rules?: readonly SearchRule[]
}

/** Any status below 500. */
export interface LegReply {
  readonly status: number
  /** JSON. */
  readonly body: string
}

/**
 * Sends a leg to its target, or to another replica of the same shards; puts physical names for the client's, and takes
 * them out of errors again. Throws when no replica answers.
 */
export type Ask = (leg: Leg, signal: AbortSignal) => Promise<LegReply>

export interface ReadOptions {
  readonly ask: Ask
  readonly signal: AbortSignal
  /** `createNarrowing()`, one for all reads. */
  readonly narrow: Narrow
  /** A fresh id: of the request, and of each query when metadata is asked for. */
  readonly newUid: () => string
  /** Answers carry `metadata` (M-A1). */
  readonly withMetadata: boolean
}

/** A node refused what the client asked for: its own words. */
export class RefusedByNode extends Error {
  override readonly name = 'RefusedByNode'
  readonly status: number
  readonly body: ErrorBody

  constructor(status: number, body: ErrorBody) {
    super(body.message)
    this.status = status
    this.body = body
  }
}

/** Nodes do not agree with what is known of them: another read a moment later may find it mended. */
export class NodesDisagree extends Error {
  override readonly name = 'NodesDisagree'
}

export function readJson(text: string): JsonObject {
  const value = JSON.parse(text) as Json
  if (!isObject(value)) throw new NodesDisagree('an answer that is no object')
  return value
}

export function indexPath(index: SearchedIndex, tail: string): string {
  return `/indexes/${encodeURIComponent(index.uid)}${tail}`
}
