/**
 * Every document of an index once, in the order of the index, from one replica of each of its shards: for archives and
 * exports.
 */
import { reservedFields, sequenceField } from '../api/reserved-fields.ts'
import type { Engine, EngineReply } from '../engine/engine.ts'
import type { Json } from '../lib/json.ts'
import { joinMembers, splitMembers } from '../lib/json-cut.ts'
import { documentId } from '../replication/document-id.ts'
import { sequenceOf } from '../search/hit.ts'
import { mergeLists } from '../search/merge-order.ts'
import { shardClause } from '../search/shard-clause.ts'
import type { ReadReplica } from '../store/backups.ts'
import type { IndexEntry, Node, Placement } from '../store/catalogue.ts'
import type { RouteTable } from '../topology/route-table.ts'
import { coverShards } from '../upstream/covering-set.ts'
import { readableReplicas } from '../upstream/readable-replicas.ts'
import { WorkFailure } from './work-failure.ts'

/** Documents read from a node per request (NF-50). */
export const documentsPerPage = 1000

export interface DocumentSource {
  readonly table: Pick<RouteTable, 'node'>
  readonly engineOf: (node: Node) => Engine
}

/** What is read: an index and its replicas, as the route table has them. */
export interface ReadIndex {
  readonly index: Pick<IndexEntry, 'uid' | 'primaryKey' | 'spread'>
  readonly placements: readonly Placement[]
}

export function sourceOf({ node, physicalUid, revision, diskEpoch }: ReadReplica): ReadReplica {
  return { node, physicalUid, revision, diskEpoch }
}

export function isSame(one: ReadReplica, other: ReadReplica): boolean {
  return one.node === other.node && one.physicalUid === other.physicalUid
}

/** A replica that was built anew while it was read may have shown less than there is. */
export function isUndisturbed(sources: readonly ReadReplica[], now: readonly ReadReplica[]): boolean {
  return sources.every((was) => {
    const is = now.find((replica) => isSame(was, replica))
    return is === undefined || (is.revision === was.revision && is.diskEpoch === was.diskEpoch)
  })
}

/** A replica, and the shards that are read of it. */
interface Leg {
  readonly engine: Engine
  readonly uid: string
  readonly clause: string | null
}

interface Placed {
  /** Place in the index; empty in plain ones, whose one leg lists in order. */
  readonly sequence: string
}

interface Listed extends Placed {
  readonly id: string
  readonly leg: Leg
}

/**
 * The list of ids in one request to each node, then pages by id, so that writes meanwhile make no document be skipped
 * (NF-12, NF-51). A document changed meanwhile is read as it is then. JSON texts, so that numbers keep every digit.
 *
 * @param without  ids of documents that are left out.
 * @param listed  told how many documents there are to read.
 * @throws WorkFailure when a shard has no replica, or a node does not answer.
 */
export async function* documentsOf(
  source: DocumentSource,
  route: ReadIndex,
  signal: AbortSignal,
  {
    without,
    listed: tell,
  }: { readonly without?: ReadonlySet<string>; readonly listed?: (count: number) => Promise<void> } = {},
): AsyncIterable<string> {
  const { uid, primaryKey } = route.index
  const legs = legsOf(source, route)
  if (primaryKey === null) return
  const fields = route.index.spread === null ? [primaryKey] : [primaryKey, sequenceField]
  const lists: Listed[][] = []
  for (const leg of legs) {
    const filter = leg.clause === null ? {} : { filter: leg.clause }
    const query = { ...filter, fields, limit: 2 ** 32 - 1 }
    const { results } = answered(uid, await leg.engine.fetchDocuments(leg.uid, query, signal))
    lists.push(
      results.flatMap((document) => {
        const id = documentId(document, primaryKey)
        return id === undefined || without?.has(id) === true
          ? []
          : [{ id, leg, sequence: textOf(document[sequenceField]) }]
      }),
    )
  }
  const listed = mergeLists(lists, comparePlaces)
  await tell?.(listed.length)
  for (let start = 0; start < listed.length; start += documentsPerPage) {
    yield* await readPage(uid, listed.slice(start, start + documentsPerPage), signal)
  }
}

function legsOf({ table, engineOf }: DocumentSource, { index, placements }: ReadIndex): readonly Leg[] {
  const shardCount = index.spread?.shards ?? 1
  const replicas = readableReplicas(placements, (id) => table.node(id))
  const shards = Array.from({ length: shardCount }, (_, shard) => shard)
  const { legs, missing } = coverShards(replicas, shards, { standing: () => 'good', cost: () => 1, turn: 0 })
  if (missing.length > 0) throw new WorkFailure(`Index \`${index.uid}\` is not available.`)
  return legs.map(({ replica, ...leg }) => ({
    engine: engineOf(table.node(replica.node)!),
    uid: replica.physicalUid,
    clause: shardClause(leg, shardCount),
  }))
}

async function readPage(uid: string, page: readonly Listed[], signal: AbortSignal): Promise<readonly string[]> {
  const lists: (Placed & { readonly text: string })[][] = []
  for (const leg of new Set(page.map((each) => each.leg))) {
    const ids = page.flatMap((each) => (each.leg === leg ? [each.id] : []))
    const query = { ids, offset: 0, limit: documentsPerPage }
    const texts = answered(uid, await leg.engine.fetchDocumentTexts(leg.uid, query, signal))
    lists.push(texts.map((text) => ({ text, sequence: sequenceOf(text) })))
  }
  return mergeLists(lists, comparePlaces).map(({ text }) => clientDocument(text))
}

const comparePlaces = (a: Placed, b: Placed): number => (a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0)
const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '')

function answered<T>(uid: string, reply: EngineReply<T>): T {
  if (reply.kind === 'answered') return reply.value
  throw new WorkFailure(`The documents of index \`${uid}\` could not be read.`, { cause: reply })
}

/** Without what is ours, and without vectors where there are none. */
function clientDocument(text: string): string {
  const vectorsMayBeEmpty = text.includes('"_vectors"')
  if (!vectorsMayBeEmpty && !text.includes('"_miroir_')) return text
  const members = splitMembers(text)
  for (const name of reservedFields) members.delete(name)
  const vectors = members.get('_vectors')
  if (vectors !== undefined && (!vectors.startsWith('{') || vectors === '{}')) members.delete('_vectors')
  return joinMembers(members)
}
