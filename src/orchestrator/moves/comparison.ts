/**
 * Compares two replicas of an index while both are written to (P-30): settings, and every document whole, with its vectors.
 *
 * Two replicas are never read at one moment, so that a document may differ because one of them is ahead. What differs is
 * looked at again in an order that decides: the source, the target once it has everything that the source may have had, the
 * source again once it has everything that the target may have had. A source that shows the same both times shows what the
 * target must show.
 *
 * Memory: the ids of both, and a page of each.
 */
import { createHash } from 'node:crypto'
import type { IndexStanding } from '../../journal/ports.ts'
import { canonicalJson, isObject, type Json } from '../../lib/json.ts'
import { canonicalText, joinMembers, splitMembers } from '../../lib/json-cut.ts'
import { documentId } from '../../replication/document-id.ts'
import type { IndexId } from '../../store/catalogue.ts'
import { answered, type MoveDeps, type Place, replicaOf } from './move-context.ts'
import { listIds, readDocuments } from './streamed-copy.ts'

export interface Comparison {
  readonly documents: number
  /** Ids whose documents differ; at most `differingMax`. */
  readonly differing: readonly string[]
  readonly settingsDiffer: boolean
  /** Documents that were written whenever they were looked at. */
  readonly unsettled: number
}

export const differingMax = 100

export interface ComparisonContext extends Pick<MoveDeps, 'replicas' | 'clock'> {
  readonly index: IndexId
  readonly signal: AbortSignal
  /** Only documents that it finds are compared; null = all. */
  readonly filter: string | null
}

/** One of the two that are compared. */
export interface Side {
  /** As the node shows them; null = they are not compared. */
  settings(): Promise<string | null>
  /** Ids of all its documents. */
  ids(): Promise<readonly string[]>
  /** Those documents of it, as JSON texts without what may differ. */
  documents(ids: readonly string[]): Promise<readonly string[]>
  /** Resolves when it holds everything that is appended by now. */
  holdsHead(): Promise<void>
}

const pageCount = 1_000
const roundsMax = 20
const waitMs = 20
/** For a replica to take in what is appended. */
const catchUpMsMax = 60_000

type Digests = ReadonlyMap<string, string>

/** @param onPage  told how many documents were compared so far. */
export async function compareReplicas(
  context: ComparisonContext,
  source: Place,
  target: Place,
  primaryKey: string | null,
  onPage: (compared: number) => Promise<void>,
): Promise<Comparison> {
  const sideOf = (place: Place): Side => ({
    settings: () => settingsOf(context, place),
    ids: async () => (primaryKey === null ? [] : listIds(context, place, primaryKey, context.filter)),
    documents: (ids) => readDocuments(context, place, ids),
    holdsHead: () => holdsHead(context, place),
  })
  return compareSides(sideOf(source), sideOf(target), primaryKey, onPage)
}

export async function compareSides(
  source: Side,
  target: Side,
  primaryKey: string | null,
  onPage: (compared: number) => Promise<void>,
): Promise<Comparison> {
  const settingsDiffer = await haveOtherSettings(source, target)
  if (primaryKey === null) return { documents: 0, differing: [], settingsDiffer, unsettled: 0 }
  const pair: Pair = { source, target, primaryKey }
  const ids = [...new Set([...(await source.ids()), ...(await target.ids())])]
  let suspects: string[] = []
  for (let start = 0; start < ids.length; start += pageCount) {
    const page = ids.slice(start, start + pageCount)
    const [here, there] = await Promise.all([digestsOf(pair, source, page), digestsOf(pair, target, page)])
    suspects.push(...page.filter((id) => here.get(id) !== there.get(id)))
    await onPage(Math.min(ids.length, start + pageCount))
  }
  const differing: string[] = []
  for (let round = 0; round < roundsMax && suspects.length > 0 && differing.length < differingMax; round += 1) {
    const open: string[] = []
    for (let start = 0; start < suspects.length; start += pageCount) {
      const verdict = await settle(pair, suspects.slice(start, start + pageCount))
      differing.push(...verdict.differing)
      open.push(...verdict.open)
    }
    suspects = open
  }
  return {
    documents: ids.length,
    differing: differing.slice(0, differingMax),
    settingsDiffer,
    unsettled: suspects.length,
  }
}

/** In the order that decides, as for documents. Settings that change at every look are left to the lanes. */
async function haveOtherSettings(source: Side, target: Side): Promise<boolean> {
  let here = await source.settings()
  if (here === null || here === (await target.settings())) return false
  for (let round = 0; round < roundsMax; round += 1) {
    await target.holdsHead()
    const there = await target.settings()
    await source.holdsHead()
    const after = await source.settings()
    if (after === there) return false
    if (after === here) return there !== null
    here = after
  }
  return false
}

interface Pair {
  readonly source: Side
  readonly target: Side
  readonly primaryKey: string
}

async function settle(
  pair: Pair,
  ids: readonly string[],
): Promise<{ readonly differing: readonly string[]; readonly open: readonly string[] }> {
  const { source, target } = pair
  const before = await digestsOf(pair, source, ids)
  await target.holdsHead()
  const there = await digestsOf(pair, target, ids)
  await source.holdsHead()
  const after = await digestsOf(pair, source, ids)
  const steady = ids.filter((id) => before.get(id) === after.get(id))
  return {
    differing: steady.filter((id) => there.get(id) !== before.get(id)),
    open: ids.filter((id) => before.get(id) !== after.get(id) && there.get(id) !== after.get(id)),
  }
}

/** Waits until the replica holds everything that is appended by now. */
export async function holdsHead(context: ComparisonContext, { replica }: Place): Promise<void> {
  const { replicas, index, clock, signal } = context
  const standing = await replicas.standing(index)
  const head = standing?.head ?? 0
  const deadline = clock.monotonic() + catchUpMsMax
  for (let now: IndexStanding | undefined = standing; ; now = await replicas.standing(index)) {
    const own = now && replicaOf(now, replica)
    if (own === undefined || own.revision !== replica.revision)
      throw new Error(`the replica on ${replica.node} is gone`)
    if (own.applied >= head) return
    if (clock.monotonic() > deadline) throw new Error(`${replica.node} does not get to position ${head}`)
    await clock.sleep(waitMs, signal)
  }
}

/** By id; documents that are not there are left out. */
async function digestsOf({ primaryKey }: Pair, side: Side, ids: readonly string[]): Promise<Digests> {
  const texts = await side.documents(ids)
  return new Map(
    texts.map((text) => {
      const id = documentId(JSON.parse(text), primaryKey) ?? ''
      return [id, createHash('sha256').update(comparableText(text)).digest('base64')]
    }),
  )
}

/** Engines hold vectors as numbers of 32 bits, and write the same one in other digits. All else is compared digit by digit. */
function comparableText(text: string): string {
  if (!text.includes('"_vectors"')) return canonicalText(text)
  const members = splitMembers(text)
  const vectors = members.get('_vectors')
  if (vectors !== undefined) members.set('_vectors', canonicalJson(rounded(JSON.parse(vectors) as Json)))
  return canonicalText(joinMembers(members))
}

function rounded(value: Json): Json {
  if (typeof value === 'number') return Math.fround(value)
  if (Array.isArray(value)) return value.map(rounded)
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, rounded(one)]))
}

/** As the node shows them: secrets are masked, which the journal gave to both. */
export async function settingsOf(
  { signal }: { readonly signal: AbortSignal },
  { engine, replica }: Place,
): Promise<string> {
  return canonicalJson(answered('settings', await engine.settings(replica.physicalUid, signal)))
}
