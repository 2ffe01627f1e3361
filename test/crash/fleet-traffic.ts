/**
 * Writes and searches of a client while things happen to a fleet, and what must be there afterwards.
 *
 * Each index holds anchors, documents that no write touches: every search for them must find all of them. What else it must
 * hold is the fold of the writes that are in the list of tasks, in its order.
 */
import assert from 'node:assert/strict'
import type { Task } from 'meilisearch'
import { reservedFields, shardField, shardText } from '../../src/api/reserved-fields.ts'
import type { Random } from '../../src/lib/random.ts'
import type { PlacementState } from '../../src/store/catalogue.ts'
import { shardOfKey } from '../../src/topology/rendezvous.ts'
import type { Fleet, HeldDocument } from './fleet.ts'
import type { FleetClient, Outcome } from './fleet-client.ts'
import { apply, type Contents, type Document, randomWrite, type Write } from './model.ts'

const anchorCount = 48
export const anchorFrom = 100_000
const anchorGroup = 99
const mix = { idMax: 600, documentsMax: 8, clears: false }
/** Between two requests of one loop, so that the machine has time for what the requests cause. */
const writePauseMs = Number(process.env.FLEET_WRITE_PAUSE_MS ?? 60)
const searchPauseMs = 20
/** As a client that watches its tasks: it waits while more of them than these have not ended. */
const openTasksMax = 60
const openPollMs = 250
/** Writes between two looks. */
const openLookEvery = 10
/** Whatever has not come any further for so long is stuck, however busy the machine is. */
const stuckMsMax = 90_000
/** It goes round in circles. */
const courseMsMax = 600_000

const anchors: readonly Document[] = Array.from({ length: anchorCount }, (_, number) => ({
  id: anchorFrom + number,
  group: anchorGroup,
  text: `anchor ${number}`,
}))

export interface Failure {
  readonly index: string
  readonly atMs: number
  readonly tookMs: number
  readonly what: string
}

export class Traffic {
  readonly searches = { answered: 0, slowestMs: 0 }
  readonly failures: Failure[] = []
  readonly refusals: Failure[] = []
  /** Answers in which an anchor is missing, or a document is there twice. */
  readonly gaps: Failure[] = []
  readonly acknowledged = new Map<string, number>()
  readonly #sent = new Map<string, Write>()
  readonly #client: FleetClient
  readonly #indexes: readonly string[]
  readonly #startedAt = performance.now()
  #serial = 0

  constructor(client: FleetClient, indexes: readonly string[]) {
    this.#client = client
    this.#indexes = indexes
  }

  /** Puts settings and anchors, and waits until they can be found. */
  async prepare(): Promise<void> {
    for (const index of this.#indexes) {
      answered(await this.#client.settings(index, { filterableAttributes: ['group'], searchableAttributes: ['text'] }))
      answered(await this.#write({ kind: 'put', index, documents: anchors }))
    }
    await this.settled()
  }

  /**
   * Writers and as many readers until `signal` is aborted.
   * @param indexes  which of them; default all.
   */
  async run(random: () => Random, signal: AbortSignal, indexes = this.#indexes, writers = 2): Promise<void> {
    const loops = Array.from({ length: writers }).flatMap(() => [
      this.#writes(random(), signal, indexes),
      this.#searches(random(), signal, indexes),
    ])
    await Promise.all(loops)
  }

  async #writes(random: Random, signal: AbortSignal, indexes: readonly string[]): Promise<void> {
    while (!signal.aborted) {
      const write = randomWrite(random, indexes, this.#serial, mix)
      this.#serial += 1
      await this.#write(write)
      await pause(writePauseMs)
      if (this.#serial % openLookEvery !== 0) continue
      while (!signal.aborted && (await this.#openTasks()) > openTasksMax) await pause(openPollMs)
    }
  }

  async #openTasks(): Promise<number> {
    const outcome = await this.#client.tasks({ statuses: ['enqueued', 'processing'], limit: 1 })
    return outcome.kind === 'answered' ? outcome.value.total : 0
  }

  /** One more write, from outside of the loops. */
  async writeOne(random: Random, index: string): Promise<number> {
    this.#serial += 1
    return answered(await this.#write(randomWrite(random, [index], this.#serial, mix)))
  }

  async #write(write: Write): Promise<Outcome<number>> {
    const tag = `w${this.#sent.size}`
    this.#sent.set(tag, write)
    const at = performance.now()
    const outcome = await this.#client.write(write, tag)
    if (outcome.kind === 'answered') this.acknowledged.set(tag, outcome.value)
    else if (outcome.kind === 'refused') this.refusals.push(this.#failure(write.index, at, outcome))
    return outcome
  }

  async #searches(random: Random, signal: AbortSignal, indexes: readonly string[]): Promise<void> {
    while (!signal.aborted) {
      const index = indexes[random.integer(indexes.length)]!
      const byFilter = random.integer(2) === 0
      const params = { limit: 200, ...(byFilter ? { filter: `group = ${anchorGroup}` } : {}) }
      const at = performance.now()
      const outcome = await this.#client.search(index, byFilter ? '' : 'anchor', params)
      if (outcome.kind === 'answered') {
        this.searches.answered += 1
        this.searches.slowestMs = Math.max(this.searches.slowestMs, performance.now() - at)
        const ids = outcome.value.hits.map(({ id }) => id)
        if (ids.length !== anchorCount || new Set(ids).size !== anchorCount)
          this.gaps.push(this.#failure(index, at, { reason: `${ids.length} of ${anchorCount}: ${ids.join()}` }))
      } else this.failures.push(this.#failure(index, at, outcome))
      await pause(searchPauseMs)
    }
  }

  #failure(index: string, at: number, what: object): Failure {
    const atMs = Math.round(at - this.#startedAt)
    return { index, atMs, tookMs: Math.round(performance.now() - at), what: JSON.stringify(what) }
  }

  /** All tasks, oldest first, once each has ended. */
  async settled(): Promise<readonly Task[]> {
    const course = new Course()
    for (;;) {
      const open = answered(await this.#client.tasks({ statuses: ['enqueued', 'processing'], limit: 5 }))
      if (open.total === 0) break
      course.note(-open.total, () => `tasks do not end: ${JSON.stringify(open.results)}`)
      await pause(100)
    }
    return answered(await this.#client.tasks({ limit: 1_000_000, reverse: true })).results
  }

  /** What each index must hold; checks on the way that tasks have ended as they must, and that none is missing or doubled. */
  async expected(): Promise<ReadonlyMap<string, Contents>> {
    const tasks = await this.settled()
    const tagged = tasks.filter(({ customMetadata }) => customMetadata !== undefined)
    const byTag = new Map(tagged.map((task) => [task.customMetadata!, task]))
    assert.equal(byTag.size, tagged.length, 'a write is there twice')
    for (const [tag, uid] of this.acknowledged)
      assert.equal(byTag.get(tag)?.uid, uid, `${tag} was acknowledged and is gone`)
    const contents = new Map<string, Contents>(this.#indexes.map((index) => [index, new Map()]))
    for (const task of tasks) {
      const write = task.customMetadata === undefined ? undefined : this.#sent.get(task.customMetadata)
      assert.equal(task.status, write?.kind === 'bad' ? 'failed' : 'succeeded', JSON.stringify(task))
      if (write !== undefined) apply(contents.get(write.index)!, write)
    }
    return contents
  }
}

/** How far something has come: it must go on, and not for ever. */
export class Course {
  readonly #begunAt = performance.now()
  #last = Number.NEGATIVE_INFINITY
  #roseAt = performance.now()

  /** @param reached  a number that rises; it may fall when something begins anew. */
  note(reached: number, told: () => string): void {
    const now = performance.now()
    if (reached > this.#last) this.#roseAt = now
    this.#last = reached
    assert.ok(now - this.#roseAt < stuckMsMax && now - this.#begunAt < courseMsMax, told())
  }
}

export const appliedBy = (replicas: readonly { readonly applied: number }[]): number =>
  replicas.reduce((sum, { applied }) => sum + applied, 0)

/**
 * Waits until every replica has got as far as the journal, then compares each with the others and with the model.
 *
 * @param states  in which replicas may be.
 */
export async function assertReplicasHold(
  fleet: Fleet,
  uid: string,
  contents: Contents,
  states: readonly PlacementState[] = ['active'],
): Promise<void> {
  const course = new Course()
  let view = await fleet.show(uid)
  while (view.replicas.some(({ lag, state }) => lag > 0 || !states.includes(state))) {
    const behind = view.replicas
    course.note(appliedBy(behind), () => `replicas stay behind: ${JSON.stringify(behind)}`)
    await pause(200)
    view = await fleet.show(uid)
  }
  const shards = view.spread?.shards ?? 1
  const shardOf = ({ id }: { readonly id: number }) => (view.spread === null ? 0 : shardOfKey(String(id), shards))
  const model = [...contents.values()].sort((left, right) => left.id - right.id)
  const seen = new Map<number, { readonly node: string; readonly text: string }>()
  for (const replica of view.replicas) {
    const node = fleet.nodes.find(({ id }) => id === replica.node)!
    const held = await fleet.documentsOn(node, replica.physicalUid)
    const where = `${uid} on ${node.id}`
    assert.deepEqual(
      held.map(withoutReserved).map(canonical),
      model.filter((document) => replica.shards.includes(shardOf(document))).map(canonical),
      where,
    )
    for (const shard of replica.shards) {
      const own = held.filter((document) => shardOf(document) === shard)
      if (view.spread !== null)
        for (const document of own) assert.equal(document[shardField], shardText(shard), `${where}: ${document.id}`)
      // With what we add to documents: their order must be the same wherever they are read.
      const text = own.map(canonical).join('\n')
      const other = seen.get(shard)
      if (other === undefined) seen.set(shard, { node: node.id, text })
      else assert.equal(text, other.text, `shard ${shard} of ${uid} differs between ${node.id} and ${other.node}`)
    }
  }
  assert.equal(seen.size, shards, 'every shard has a replica')
}

function withoutReserved(document: HeldDocument): HeldDocument {
  const fields = Object.entries(document).filter(([name]) => !reservedFields.includes(name))
  return { ...Object.fromEntries(fields), id: document.id }
}

/** The same text for the same document, in whatever order its fields are. */
function canonical(document: HeldDocument): string {
  return JSON.stringify(Object.entries(document).sort(([left], [right]) => (left < right ? -1 : 1)))
}

export function answered<T>(outcome: Outcome<T>): T {
  assert.equal(outcome.kind, 'answered', JSON.stringify(outcome))
  assert.ok(outcome.kind === 'answered')
  return outcome.value
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
