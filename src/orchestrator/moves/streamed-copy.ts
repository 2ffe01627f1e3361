/**
 * Copies an index from node to node while writes go on (NF-51, P-28): settings from the journal, then the list of ids in one
 * request, then pages of documents by id in the order of the source, vectors included. What is written meanwhile the new lane
 * delivers again from `from` on; puts, merges and deletions by id come to the same however often they are repeated (NF-20).
 *
 * Memory: the list of ids, and two pages.
 */
import { once } from '../../lib/byte-stream.ts'
import type { JsonObject } from '../../lib/json.ts'
import { documentId } from '../../replication/document-id.ts'
import { nodeSettings } from '../../replication/node-settings.ts'
import type { Spread } from '../../store/catalogue.ts'
import { answered, ended, MoveFailure, type Place, type StepContext } from './move-context.ts'

/** Documents per request to the source (NF-50). */
export const pageCount = 1_000
/** A request to the target closes when it has this many bytes (NF-18). */
const putBytes = 4 * 1024 * 1024
const listLimit = 2 ** 32 - 1

/** The ids of all documents, or of those that a filter finds, in the order of the index. */
export async function listIds(
  { signal }: { readonly signal: AbortSignal },
  { engine, replica }: Place,
  primaryKey: string,
  filter: string | null = null,
): Promise<readonly string[]> {
  const query = { ...(filter === null ? {} : { filter }), fields: [primaryKey], limit: listLimit }
  const { results } = answered('the list of ids', await engine.fetchDocuments(replica.physicalUid, query, signal))
  return results.flatMap((document) => documentId(document, primaryKey) ?? [])
}

/** JSON texts, each with every digit and with its vectors. */
export async function readDocuments(
  { signal }: { readonly signal: AbortSignal },
  { engine, replica }: Place,
  ids: readonly string[],
): Promise<readonly string[]> {
  if (ids.length === 0) return []
  const query = { ids, offset: 0, limit: ids.length }
  return answered('documents', await engine.fetchDocumentTexts(replica.physicalUid, query, signal))
}

/** Of one replica, or of a part of it. */
export interface DocumentList {
  readonly place: Place
  readonly ids: readonly string[]
}

/** Documents page by page, in the order of their lists. The next page is read while one is worked on. */
export async function* readPages(
  context: { readonly signal: AbortSignal },
  lists: readonly DocumentList[],
): AsyncIterable<readonly string[]> {
  const pages = lists.flatMap(({ place, ids }) =>
    Array.from({ length: Math.ceil(ids.length / pageCount) }, (_, page) => ({
      place,
      ids: ids.slice(page * pageCount, (page + 1) * pageCount),
    })),
  )
  const read = (at: number) => {
    const page = pages[at]
    return page && readDocuments(context, page.place, page.ids)
  }
  let next = read(0)
  for (let at = 1; next !== undefined; at += 1) {
    const found = await next
    next = read(at)
    // A failure shows at its turn; until then nobody waits for it.
    next?.catch(() => undefined)
    yield found
  }
}

/** What is copied from one replica. */
export interface CopySource {
  readonly place: Place
  /** Finds its documents; null = all of them. */
  readonly filter: string | null
}

/**
 * Twice: safe; what is on the target already is left out, since the lane brings what happened to it meanwhile.
 *
 * @returns `lost` = the index that was being filled is gone: an older deletion of it came late.
 * @throws MoveFailure when the target refuses what the source holds.
 */
export async function copyStreamed(
  context: StepContext,
  sources: readonly CopySource[],
  target: Place,
): Promise<'done' | 'lost'> {
  const { journal, move, keep, replicas } = context
  const known = move.progress
  if (known.from === undefined) {
    const { completed, settings } = await journal.completedSettings(move.index)
    const standing = await replicas.standing(move.index)
    await createCopied(context, target, standing?.spread ?? null, standing?.primaryKey ?? null, settings)
    await keep({ from: completed, documents: 0, bytes: 0, copyStartedAt: context.clock.now() })
  }
  const primaryKey = (await replicas.standing(move.index))?.primaryKey ?? null
  if (await isDeleted(context, target)) return 'lost'
  if (primaryKey !== null) await copyDocuments(context, sources, target, primaryKey)
  const after = await replicas.standing(move.index)
  await keep({ trueFrom: after?.head ?? 0 })
  return 'done'
}

/** Whether the index that is being filled is gone: a deletion of what stood there before came late (NF-43). */
export async function isDeleted({ signal }: StepContext, { engine, replica }: Place): Promise<boolean> {
  const found = await engine.fetchDocuments(replica.physicalUid, { limit: 0 }, signal)
  return found.kind === 'refused' && found.error.code === 'index_not_found'
}

/** The index that is filled, with settings as its lane would have told them. Twice: safe. @param settings  the client's. */
export async function createCopied(
  context: StepContext,
  target: Place,
  spread: Spread | null,
  primaryKey: string | null,
  { foreignKeys: _keys, ...settings }: JsonObject,
): Promise<void> {
  const { engine, replica } = target
  const { signal } = context
  await must(context, target, 'the index', await engine.createIndex(replica.physicalUid, primaryKey, signal))
  const told = spread === null ? settings : nodeSettings(wholeSettings(settings))
  if (Object.keys(told).length === 0) return
  await must(context, target, 'the settings', await engine.applySettings(replica.physicalUid, told, signal))
}

/** A spread index starts with all that its nodes are told, whatever the client has set. */
function wholeSettings(settings: JsonObject): JsonObject {
  const whole = { filterableAttributes: null, sortableAttributes: null, rankingRules: null, faceting: null }
  return { ...whole, ...settings }
}

async function copyDocuments(
  context: StepContext,
  sources: readonly CopySource[],
  target: Place,
  primaryKey: string,
): Promise<void> {
  const { move, keep, clock, signal } = context
  const there = new Set(await listIds(context, target, primaryKey))
  const lists: DocumentList[] = []
  for (const { place, filter } of sources) {
    const ids = await listIds(context, place, primaryKey, filter)
    lists.push({ place, ids: ids.filter((id) => !there.has(id)) })
  }
  let documents = there.size
  let bytes = move.progress.bytes ?? 0
  await keep({ documents, documentCount: lists.reduce((sum, { ids }) => sum + ids.length, documents) })
  const startedAt = clock.monotonic()
  let sent = 0
  for await (const batch of batches(readPages(context, lists))) {
    const options = { merge: false, primaryKey, mark: `fjmove:${move.id}` }
    const reply = await target.engine.putDocuments(target.replica.physicalUid, options, once(batch.body), signal)
    await must(context, target, 'documents', reply)
    documents += batch.count
    bytes += batch.body.byteLength
    sent += batch.body.byteLength
    await keep({ documents, bytes })
    await throttle(context, sent, clock.monotonic() - startedAt)
  }
}

interface Batch {
  readonly body: Uint8Array
  readonly count: number
}

async function* batches(pages: AsyncIterable<readonly string[]>): AsyncIterable<Batch> {
  let texts: string[] = []
  let size = 0
  for await (const page of pages) {
    for (const text of page) {
      texts.push(text)
      size += text.length
      if (size < putBytes) continue
      yield batchOf(texts)
      texts = []
      size = 0
    }
  }
  if (texts.length > 0) yield batchOf(texts)
}

function batchOf(texts: readonly string[]): Batch {
  return { body: Buffer.from(`${texts.join('\n')}\n`), count: texts.length }
}

/** Waits until the bytes so far fit the rate. */
export async function throttle({ move, clock, signal }: StepContext, bytes: number, tookMs: number): Promise<void> {
  const { bytesPerSecond } = move.options
  if (bytesPerSecond === null) return
  const due = (bytes / bytesPerSecond) * 1_000
  if (due > tookMs) await clock.sleep(due - tookMs, signal)
}

/** Waits for a task of the copy, which must succeed. */
export async function must(
  context: StepContext,
  { engine, replica }: Place,
  what: string,
  reply: Parameters<typeof answered<number>>[1],
): Promise<void> {
  if (reply.kind === 'refused' && reply.status !== 429) {
    throw new MoveFailure(`${replica.node} refuses ${what}: ${reply.error.message}`)
  }
  const task = await ended(context, engine, answered(what, reply))
  if (task.status === 'succeeded' || task.error?.code === 'index_already_exists') return
  if (task.error?.type === 'internal') throw new Error(`${replica.node} could not take ${what}: ${task.error.message}`)
  throw new MoveFailure(`${replica.node} refuses ${what}: ${task.error?.message ?? task.status}`)
}
