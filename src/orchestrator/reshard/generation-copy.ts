/**
 * Fills a new generation of an index from a spread one while writes go on: shard by shard of the old one, documents are read
 * by id, get the shard that they have in the new one, and go to every replica that holds it. Each is read once, however many
 * copies there will be. Places in the order are kept. What is written meanwhile the new lanes deliver again (NF-20).
 *
 * Memory: the ids of one old shard, two pages, and `heldLength` of documents that wait for a full request; for a plain
 * generation the ids and places of all documents.
 */
import { shardField, shardText } from '../../api/reserved-fields.ts'
import { once } from '../../lib/byte-stream.ts'
import { joinMembers, splitMembers } from '../../lib/json-cut.ts'
import { idOfLine } from '../../replication/shard-lines.ts'
import { shardClause } from '../../search/shard-clause.ts'
import type { Spread } from '../../store/catalogue.ts'
import { shardOfKey } from '../../topology/rendezvous.ts'
import type { Place, StepContext } from '../moves/move-context.ts'
import { listIds, must, pageCount, readPages, throttle } from '../moves/streamed-copy.ts'
import type { GenerationLeg } from './generation-side.ts'

/** A request to a node closes when it has this many characters (NF-18). */
const putLength = 4 * 1024 * 1024
/** Of all replicas together. */
const heldLength = 32 * 1024 * 1024

export interface GenerationSource {
  readonly spread: Spread
  /** They hold every shard once. */
  readonly legs: readonly GenerationLeg[]
}

export interface GenerationTarget {
  readonly spread: Spread
  readonly places: readonly Place[]
}

/** Twice: safe; an old shard that was not finished is copied again, which comes to the same. */
export async function copyGeneration(
  context: StepContext,
  source: GenerationSource,
  target: GenerationTarget,
  primaryKey: string,
): Promise<void> {
  const { move, keep, clock } = context
  const owners = Array.from({ length: target.spread.shards }, (_, shard) =>
    target.places.filter(({ replica }) => replica.shards.includes(shard)),
  )
  const fan = new Fan(context, primaryKey)
  const startedAt = clock.monotonic()
  let documents = move.progress.documents ?? 0
  const before = move.progress.bytes ?? 0
  const all = source.legs.flatMap(({ place, shards }) => shards.map((shard) => ({ place, shard })))
  all.sort((a, b) => a.shard - b.shard)
  for (const { place, shard } of all.slice(move.progress.shardsCopied ?? 0)) {
    const filter = shardClause({ shards: [shard], isWhole: false }, source.spread.shards)
    const ids = await listIds(context, place, primaryKey, filter)
    for await (const texts of readPages(context, [{ place, ids }])) {
      for (const text of texts) {
        const own = shardOfKey(idOfLine(text, primaryKey), target.spread.shards)
        const marked = withShard(text, own)
        for (const owner of owners[own] ?? []) fan.add(owner, marked)
      }
      await fan.sendFull()
      documents += texts.length
      await keep({ documents, bytes: before + fan.bytes })
      await throttle(context, fan.bytes, clock.monotonic() - startedAt)
    }
    await fan.sendAll()
    await keep({ documents, bytes: before + fan.bytes, shardsCopied: shard + 1 })
  }
}

/** Fills a plain generation. @param texts  without what is ours, in their order. */
export async function copyPlain(
  context: StepContext,
  texts: AsyncIterable<string>,
  target: Place,
  primaryKey: string,
): Promise<void> {
  const { keep, clock } = context
  const there = new Set(await listIds(context, target, primaryKey))
  const fan = new Fan(context, primaryKey)
  const startedAt = clock.monotonic()
  let documents = 0
  for await (const text of texts) {
    documents += 1
    if (!there.has(idOfLine(text, primaryKey))) fan.add(target, text)
    if (documents % pageCount !== 0) continue
    await fan.sendFull()
    await keep({ documents, bytes: fan.bytes })
    await throttle(context, fan.bytes, clock.monotonic() - startedAt)
  }
  await fan.sendAll()
  await keep({ documents, bytes: fan.bytes })
}

const shardStart = `{"${shardField}":"`

function withShard(text: string, shard: number): string {
  const own = shardText(shard)
  // Lanes write it first, in texts of one length.
  if (text.startsWith(shardStart)) return `${shardStart}${own}${text.slice(shardStart.length + own.length)}`
  const members = splitMembers(text)
  members.set(shardField, JSON.stringify(own))
  return joinMembers(members)
}

/** Documents on their way to many replicas: one request at a time to each. */
class Fan {
  readonly #context: StepContext
  readonly #primaryKey: string
  readonly #waiting = new Map<Place, { texts: string[]; length: number }>()
  readonly #sending = new Map<Place, Promise<void>>()
  #length = 0
  bytes = 0

  constructor(context: StepContext, primaryKey: string) {
    this.#context = context
    this.#primaryKey = primaryKey
  }

  add(place: Place, text: string): void {
    const waiting = this.#waiting.get(place) ?? { texts: [], length: 0 }
    this.#waiting.set(place, waiting)
    waiting.texts.push(text)
    waiting.length += text.length
    this.#length += text.length
  }

  async sendFull(): Promise<void> {
    const byLength = [...this.#waiting].sort(([, a], [, b]) => b.length - a.length)
    for (const [place, { length }] of byLength) {
      if (length < putLength && this.#length < heldLength) return
      await this.#send(place)
    }
  }

  async sendAll(): Promise<void> {
    for (const place of [...this.#waiting.keys()]) await this.#send(place)
    await Promise.all(this.#sending.values())
  }

  /** Resolves when the request before it has ended. */
  async #send(place: Place): Promise<void> {
    const waiting = this.#waiting.get(place)
    if (waiting === undefined) return
    await this.#sending.get(place)
    this.#waiting.delete(place)
    this.#length -= waiting.length
    const sending = this.#put(place, Buffer.from(`${waiting.texts.join('\n')}\n`))
    // A failure shows when the next request, or the end, waits for it.
    sending.catch(() => undefined)
    this.#sending.set(place, sending)
  }

  async #put(place: Place, body: Uint8Array): Promise<void> {
    const { move, signal } = this.#context
    const options = { merge: false, primaryKey: this.#primaryKey, mark: `fjmove:${move.id}` }
    const reply = await place.engine.putDocuments(place.replica.physicalUid, options, once(body), signal)
    await must(this.#context, place, 'documents', reply)
    this.bytes += body.byteLength
  }
}
