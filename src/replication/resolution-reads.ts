/** How a resolution reads the node, and how it is cut short. */
import type { ErrorBody } from '../api/errors.ts'
import { andFilters } from '../api/filter.ts'
import type { Engine, EngineReply, EngineTask } from '../engine/engine.ts'
import type { Resolution } from '../journal/change.ts'
import type { LaneJournal } from '../journal/ports.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { disguise } from '../search/reserved-names.ts'
import { shardClause } from '../search/shard-clause.ts'

/** Ends a resolution without a result: the node did not answer. The lane tries again later. */
export class ResolutionInterrupted extends Error {
  override readonly name = 'ResolutionInterrupted'
}

/** The index is not on the node. */
export class IndexMissing extends ResolutionInterrupted {}

export interface ResolutionDeps {
  readonly engine: Engine
  readonly journal: Pick<LaneJournal, 'open' | 'stage'>
  readonly physicalUid: string
  /** Name of an index on the node that nobody else uses. */
  readonly scratchUid: string
  /** The shards of a spread index that are asked about, of how many; null = all of a plain one. */
  readonly scope: { readonly shards: readonly number[]; readonly of: number } | null
  /** The first try was cut short: an `internal` error is believed now (NF-21). */
  readonly isSecondTry: boolean
  /** One call, with its deadline. */
  readonly ask: <T>(call: (signal: AbortSignal) => Promise<EngineReply<T>>) => Promise<EngineReply<T>>
  /** Sends a task and waits for its end. */
  readonly run: (send: (signal: AbortSignal) => Promise<EngineReply<number>>) => Promise<EngineReply<EngineTask>>
}

export const emptyResolution: Resolution = {
  puts: null,
  merge: false,
  deletes: null,
  putCount: 0,
  deleteCount: 0,
  error: null,
}

export type Page =
  | { readonly kind: 'page'; readonly results: readonly JsonObject[] }
  | { readonly kind: 'refused'; readonly error: ErrorBody; readonly results: readonly [] }

/** One page of documents of the asked shards. @throws ResolutionInterrupted when the node does not answer. */
export async function pageOf(deps: ResolutionDeps, query: Parameters<Engine['fetchDocuments']>[1]): Promise<Page> {
  const ask = (scoped: typeof query) =>
    deps.ask((signal) => deps.engine.fetchDocuments(deps.physicalUid, scoped, signal)).then(reading)
  const read = await ask(query.ids === undefined ? inScope(deps, query) : query)
  if (!('error' in read)) return { kind: 'page', results: read.value.results }
  // Without our condition, whose text would move the places that messages name.
  const plain = deps.scope === null ? read : await ask(withoutReserved(query))
  return { ...('error' in plain ? plain : read), results: [] }
}

function inScope<Q extends { readonly filter?: Json }>({ scope }: ResolutionDeps, query: Q): Q {
  if (scope === null) return query
  const own = withoutReserved(query)
  const clause = shardClause({ shards: scope.shards, isWhole: false }, scope.of)
  return clause === null ? own : { ...own, filter: andFilters(own.filter ?? null, clause) }
}

/** For clients there are no reserved fields: a condition on one finds what nobody has. */
function withoutReserved<Q extends { readonly filter?: Json }>(query: Q): Q {
  return query.filter === undefined ? query : { ...query, filter: disguise(query.filter) }
}

export type TextPage =
  | { readonly kind: 'page'; readonly texts: readonly string[] }
  | { readonly kind: 'refused'; readonly error: ErrorBody }

/** One page of documents as they are written. @throws ResolutionInterrupted when the node does not answer. */
export async function textsOf(
  deps: ResolutionDeps,
  uid: string,
  query: Parameters<Engine['fetchDocumentTexts']>[1],
): Promise<TextPage> {
  const scoped = uid === deps.physicalUid ? inScope(deps, query) : query
  const read = reading(await deps.ask((signal) => deps.engine.fetchDocumentTexts(uid, scoped, signal)))
  return 'error' in read ? read : { kind: 'page', texts: read.value }
}

function reading<T>(
  reply: EngineReply<T>,
): { readonly value: T } | { readonly kind: 'refused'; readonly error: ErrorBody } {
  if (reply.kind === 'answered') return { value: reply.value }
  if (reply.kind === 'refused' && reply.error.code !== 'index_not_found') return { kind: 'refused', error: reply.error }
  if (reply.kind === 'refused') throw new IndexMissing(reply.error.message)
  throw new ResolutionInterrupted(reply.reason)
}
