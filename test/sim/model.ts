/**
 * What must be there: every index folded from what was acknowledged, change by change, one after the other; looked at
 * whenever something completes, at random moments, and in the end.
 */
import { sequenceField, shardField, shardText } from '../../src/api/reserved-fields.ts'
import type { Change } from '../../src/journal/change.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { Placement, Spread } from '../../src/store/catalogue.ts'
import { isInSync } from '../../src/topology/placement-states.ts'
import { shardOfKey } from '../../src/topology/rendezvous.ts'
import { coverShards } from '../../src/upstream/covering-set.ts'
import { type ReadableReplica, readableReplicas } from '../../src/upstream/readable-replicas.ts'
import * as rules from './document-rules.ts'
import { checkDetails, fold, foldPlaces, type ModelIndex, newModelIndex, touched } from './model-index.ts'
import type { SimNode } from './sim-node.ts'
import type { SimStore } from './sim-store.ts'

const rankOf: Record<Change['status'], number> = { enqueued: 0, processing: 1, succeeded: 2, failed: 2, canceled: 2 }

export class Model {
  readonly #store: SimStore
  readonly #nodes: ReadonlyMap<string, SimNode>
  readonly #indexes = new Map<string, ModelIndex>()
  /** Tasks that have not ended, as they were last. */
  readonly #open = new Map<number, Change['status']>()
  readonly found: string[] = []
  /** Old requests may lie over newer ones until the lane has repeated them. */
  #mayLookBack: boolean
  #turn = 0
  /** Its routes may be old ones. */
  gateway: { readonly placements: readonly Placement[] } | undefined
  /** How often documents were compared, on replicas and in merged answers. */
  readCount = 0
  answerCount = 0

  constructor(store: SimStore, nodes: ReadonlyMap<string, SimNode>, mayLookBack: boolean) {
    this.#store = store
    this.#nodes = nodes
    this.#mayLookBack = mayLookBack
  }

  /** @param spread  as the index that it created lies. */
  async appended(change: Change, spread: Spread | null): Promise<void> {
    // A refused one may have ended by then.
    if (rankOf[change.status] < 2) this.#open.set(change.task, change.status)
    const { index: id, position, task } = change
    if (id === null) return
    const index = this.#indexes.get(id) ?? this.#create(id, spread)
    index.tasks.push(task)
    if (position !== index.tasks.length) this.note(`${id}: position ${position} follows ${index.tasks.length - 1}`)
    for (const { index: owner, node, physicalUid } of await this.#store.placementsBehind()) {
      this.#indexes.get(owner)?.homes.set(`${node} ${physicalUid}`, { node, physicalUid })
    }
  }

  #create(id: string, spread: Spread | null): ModelIndex {
    const index = newModelIndex(id, spread)
    this.#indexes.set(id, index)
    return index
  }

  note(text: string): void {
    if (this.found.length < 20) this.found.push(text)
  }

  /** Takes over what has ended since, and reads the indexes where something has. */
  async look(isEverything: boolean): Promise<void> {
    for (const [task, before] of this.#open) {
      const { status } = await this.#store.change(task)
      // I6
      if (rankOf[status] < rankOf[before]) this.note(`task ${task} was ${before} and is ${status}`)
      if (rankOf[status] < 2) this.#open.set(task, status)
      else this.#open.delete(task)
    }
    let placements: readonly Placement[] | undefined
    for (const index of this.#indexes.values()) {
      const before = index.folded
      const isAppendDone = index.tasks.length > index.folded
      if (isAppendDone) await this.#fold(index)
      if (index.isGone || (index.folded === before && !isEverything)) continue
      placements ??= await this.#placements()
      const own = placements.filter((placement) => placement.index === index.id)
      await this.#checkServed(index, own)
      await this.#read(index, own)
    }
  }

  /** Takes over how indexes lie. */
  async #placements(): Promise<readonly Placement[]> {
    const { indexes, placements } = await this.#store.routes()
    for (const { id, spread } of indexes) {
      const index = this.#indexes.get(id)
      if (index !== undefined) index.spread = spread
    }
    return placements
  }

  async #fold(index: ModelIndex): Promise<void> {
    while (index.folded < index.tasks.length) {
      const task = index.tasks[index.folded]!
      if (this.#open.has(task)) return
      const change = await this.#store.change(task)
      index.folded += 1
      const name = `${index.id}:${change.position} ${change.operation.kind} (task ${task})`
      const before = rules.copyIndex(index.state)
      const expected = fold(index.state, change)
      foldPlaces(index, change)
      if (change.status !== expected.status)
        this.note(`${name} is ${change.status} (${change.error?.code}), not ${expected.status}`)
      if (change.status === 'failed')
        for (const id of touched(change, before) ?? before.documents.keys()) index.tainted.add(id)
      if (change.status === 'succeeded') checkDetails(change, expected.removed, (text) => this.note(`${name}: ${text}`))
      if (change.status === 'succeeded') {
        if (
          change.startedAt === null ||
          change.finishedAt === null ||
          change.enqueuedAt > change.startedAt ||
          change.startedAt > change.finishedAt
        )
          this.note(`${name}: its times are out of order`)
      }
      if (change.operation.kind === 'index-delete' && change.status === 'succeeded') index.isGone = true
    }
  }

  /**
   * I5: what the in-sync set holds whole is read, from the old or from the new placement; and nothing is taken off a node that a
   * gateway reads it from.
   */
  async #checkServed({ id, folded }: ModelIndex, placements: readonly Placement[]): Promise<void> {
    if (placements.length === 0) return
    const nodeOf = (node: string) => this.#store.nodes.get(node)
    const read = new Set(readableReplicas(placements, nodeOf).flatMap(({ shards }) => shards))
    const whole = placements.filter((placement) => isInSync(placement) && placement.applied >= folded)
    for (const { node, shards, state } of whole) {
      const missing = shards.filter((shard) => !read.has(shard))
      if (missing.length > 0)
        this.note(`${id}: nobody is read for the shards ${missing}, which ${node} (${state}) holds`)
    }
    const routes = this.gateway?.placements.filter(({ index }) => index === id) ?? []
    const all = await this.#store.replicas(id)
    for (const { node, physicalUid } of readableReplicas(routes, nodeOf)) {
      const now = all.find((placement) => placement.node === node && placement.physicalUid === physicalUid)
      if (now === undefined || now.state === 'leaving')
        this.note(`${id}: a gateway reads it from ${node}, which gives it up`)
    }
  }

  /** Of documents that no open change touches, every replica that may be read shows what is completed (I3, I6). */
  async #read(index: ModelIndex, placements: readonly Placement[]): Promise<void> {
    if (placements.length === 0) return
    const replicas = readableReplicas(placements, (id) => this.#store.nodes.get(id))
    const isAsked = (id: string) => this.#nodes.get(id)!.isUp && !this.#nodes.get(id)!.isStopped
    this.#turn += 1
    const shards = Array.from({ length: index.spread?.shards ?? 1 }, (_, shard) => shard)
    const { legs, missing } = coverShards(replicas, shards, {
      standing: (id) => (isAsked(id) ? 'good' : undefined),
      cost: () => 1,
      turn: this.#turn,
    })
    const answered = [...legs.flatMap((leg) => leg.shards), ...missing].sort((a, b) => a - b)
    if (answered.join() !== shards.join()) this.note(`${index.id}: a read answers the shards ${answered}`)
    for (const shard of missing) {
      if (replicas.some((replica) => isAsked(replica.node) && replica.shards.includes(shard)))
        this.note(`${index.id}: a read misses shard ${shard}, which is there`)
    }
    for (const { replica, shards: asked } of legs) {
      if (asked.some((shard) => !replica.shards.includes(shard)))
        this.note(`${index.id}: ${replica.node} is asked for ${asked}`)
    }
    if (this.#mayLookBack) return
    const open = await this.#touchedSince(index, index.folded)
    if (open === undefined) return
    for (const replica of replicas) if (isAsked(replica.node)) this.#compare(index, replica, open)
  }

  #compare(index: ModelIndex, { node: id, shards, physicalUid }: ReadableReplica, open: ReadonlySet<string>): void {
    const node = this.#nodes.get(id)!
    if (node.isDoubtful) return
    this.readCount += 1
    const stored = node.disk.indexes.get(physicalUid)?.documents ?? new Map<string, JsonObject>()
    const isOurs = (key: string) =>
      (index.spread === null || shards.includes(shardOfKey(key, index.spread.shards))) &&
      !open.has(key) &&
      !index.tainted.has(key)
    for (const key of new Set([...stored.keys(), ...index.state.documents.keys()])) {
      if (!isOurs(key)) continue
      const actual = stored.get(key)
      const expected = index.state.documents.get(key)
      const [is, must] = [actual && rules.clientText(actual), expected && rules.documentText(expected)]
      if (is !== must) this.note(`${index.id} on ${id}, completed ${index.folded}: a read sees ${is}, not ${must}`)
    }
  }

  /** Documents that changes behind a position touch; `undefined` = any. */
  async #touchedSince({ tasks, state }: ModelIndex, position: number): Promise<ReadonlySet<string> | undefined> {
    const ids = new Set<string>()
    for (const task of tasks.slice(position)) {
      const more = touched(await this.#store.change(task), state)
      if (more === undefined) return undefined
      for (const id of more) ids.add(id)
    }
    return ids
  }

  /** How far each index is complete. */
  completed(): ReadonlyMap<string, number> {
    return new Map([...this.#indexes].map(([id, { folded }]) => [id, folded]))
  }

  /**
   * I3, I6: an answer over all shards shows every document once, and of those that nothing has touched since `completed` what
   * must be there.
   *
   * @param isTrusted  nothing in between was lost with a disk. @param isSettled  nothing lies over anything any more.
   */
  async checkAnswer(
    id: string,
    {
      hits,
      total,
      completed,
      isTrusted,
      isSettled,
    }: {
      readonly hits: readonly JsonObject[]
      readonly total: number
      readonly completed: number
      readonly isTrusted: boolean
      readonly isSettled: boolean
    },
  ): Promise<void> {
    const index = this.#indexes.get(id)
    if (index === undefined || index.isGone) return
    const shown = new Map(hits.map((hit) => [String(hit.id), hit]))
    if (shown.size !== hits.length) this.note(`${id}: an answer shows a document twice: ${JSON.stringify(hits)}`)
    if (total !== hits.length) this.note(`${id}: an answer shows ${hits.length} documents of ${total}`)
    if (!isTrusted || (this.#mayLookBack && !isSettled)) return
    const moved = await this.#touchedSince(index, completed)
    if (index.isGone || moved === undefined) return
    this.answerCount += 1
    for (const key of new Set([...shown.keys(), ...index.state.documents.keys()])) {
      if (moved.has(key) || index.tainted.has(key)) continue
      const [is, must] = [shown.get(key), index.state.documents.get(key)].map((one) => one && rules.documentText(one))
      if (is !== must) this.note(`${id}, completed ${completed}: an answer shows ${is}, not ${must}`)
    }
  }

  /** When all is delivered. @param mayLinger  deleted indexes may come back by an old disk or a late request. */
  async finish(mayLinger: boolean): Promise<readonly string[]> {
    await this.look(true)
    const placements = await this.#placements()
    for (const index of this.#indexes.values()) {
      if (index.folded < index.tasks.length) this.note(`${index.id}: position ${index.folded + 1} has not ended`)
      const own = placements.filter((placement) => placement.index === index.id)
      if (index.isGone) {
        if (own.length > 0) this.note(`${index.id} was deleted and is shown`)
        for (const { node, physicalUid } of index.homes.values()) {
          const lingers = this.#nodes.get(node)?.disk.indexes.has(physicalUid)
          if (lingers && !mayLinger) this.note(`${index.id} was deleted and is on ${node}`)
        }
        continue
      }
      this.#checkReplicas(index, own)
    }
    return this.found
  }

  /** I2 */
  #checkReplicas(index: ModelIndex, placements: readonly Placement[]): void {
    const { state, spread } = index
    const sequences = new Map<string, string>()
    for (const { node: id, shards, physicalUid } of placements) {
      const name = `${index.id} on ${id}`
      const stored = this.#nodes.get(id)!.disk.indexes.get(physicalUid)
      if (stored === undefined) {
        this.note(`${name} is not there`)
        continue
      }
      const isOurs = (key: string) => spread === null || shards.includes(shardOfKey(key, spread.shards))
      const expected = [...state.documents].filter(([key]) => isOurs(key))
      const texts = (documents: readonly (readonly [string, JsonObject])[]) =>
        documents
          .map(([, document]) => rules.clientText(document))
          .sort()
          .join(' ')
      const [is, must] = [texts([...stored.documents]), texts(expected)]
      if (is !== must) this.note(`${name} holds ${is}, not ${must}`)
      const settings =
        spread === null ? stored.settings : clientSettings(stored.settings, (text) => this.note(`${name} ${text}`))
      const [isSet, mustSet] = [rules.documentText(settings), rules.documentText(state.settings)]
      if (isSet !== mustSet) this.note(`${name} has the settings ${isSet}, not ${mustSet}`)
      if (spread !== null) this.#checkFields(name, spread, stored.documents, sequences)
      if (spread?.exactTies)
        for (const [key, document] of stored.documents) {
          const [stands, mustStand] = [document[sequenceField], index.places.get(key)]
          if (stands !== mustStand) this.note(`${name}: document ${key} stands at ${stands}, not ${mustStand}`)
        }
    }
  }

  /** Equal on all replicas, and no two documents alike. */
  #checkFields(
    name: string,
    { shards }: Spread,
    documents: ReadonlyMap<string, JsonObject>,
    sequences: Map<string, string>,
  ): void {
    for (const [key, document] of documents) {
      const sequence = String(document[sequenceField])
      const shard = document[shardField]
      if (shard !== shardText(shardOfKey(key, shards))) this.note(`${name}: document ${key} is in shard ${shard}`)
      const known = sequences.get(`id ${key}`)
      if (known !== undefined && known !== sequence)
        this.note(`${name}: document ${key} stands at ${sequence}, elsewhere at ${known}`)
      sequences.set(`id ${key}`, sequence)
      const other = sequences.get(`at ${sequence}`)
      if (other !== undefined && other !== key) this.note(`${name}: documents ${key} and ${other} stand at ${sequence}`)
      sequences.set(`at ${sequence}`, key)
    }
  }
}

/** What nodes of spread indexes are told beside the client's settings is there, and taken off. */
function clientSettings(settings: JsonObject, note: (text: string) => void): JsonObject {
  const { filterableAttributes, sortableAttributes, rankingRules, faceting, ...told } = settings
  const filterable = Array.isArray(filterableAttributes) ? filterableAttributes : []
  if (!filterable.includes(shardField)) note('does not filter by shard')
  if (!Array.isArray(rankingRules) || rankingRules.at(-1) !== `${sequenceField}:asc`) note('does not end its rules')
  if (faceting === undefined) note('cuts facets')
  if (JSON.stringify(sortableAttributes) !== `["${sequenceField}"]`) note('does not sort by the sequence')
  const others = filterable.filter((name) => name !== shardField)
  return others.length === 0 ? told : { ...told, filterableAttributes: others }
}
