/**
 * What must be there: every index folded from what was acknowledged, change by change, one after the other; looked at
 * whenever something completes, at random moments, and in the end.
 */
import { sequenceField, sequenceText, shardField, shardText } from '../../src/api/reserved-fields.ts'
import type { Change } from '../../src/journal/change.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { Placement, Spread } from '../../src/store/catalogue.ts'
import { isInSync } from '../../src/topology/placement-states.ts'
import { shardOfKey } from '../../src/topology/rendezvous.ts'
import { coverShards } from '../../src/upstream/covering-set.ts'
import { type ReadableReplica, readableReplicas } from '../../src/upstream/readable-replicas.ts'
import * as rules from './document-rules.ts'
import type { SimNode } from './sim-node.ts'
import type { SimStore } from './sim-store.ts'

interface ModelIndex {
  readonly id: string
  readonly spread: Spread | null
  /** Task numbers, by position from 1. */
  readonly tasks: number[]
  /** As of `folded`: all before it has ended. */
  readonly state: rules.IndexState
  folded: number
  isGone: boolean
  /** Documents that a failed change named: some of it may be on a node until it is built anew. */
  readonly tainted: Set<string>
  readonly physical: Map<string, string>
  /** Where documents stand that keep the place of their first insertion. */
  readonly places: Map<string, string>
}

const rankOf: Record<Change['status'], number> = { enqueued: 0, processing: 1, succeeded: 2, failed: 2, canceled: 2 }

export class Model {
  readonly #store: SimStore
  readonly #nodes: ReadonlyMap<string, SimNode>
  readonly #indexes = new Map<string, ModelIndex>()
  readonly #statuses = new Map<number, Change['status']>()
  readonly found: string[] = []
  /** Old requests may lie over newer ones until the lane has repeated them. */
  #mayLookBack: boolean
  #turn = 0
  /** Its routes may be old ones. */
  gateway: { readonly placements: readonly Placement[] } | undefined
  /** How often documents were compared. */
  readCount = 0

  constructor(store: SimStore, nodes: ReadonlyMap<string, SimNode>, mayLookBack: boolean) {
    this.#store = store
    this.#nodes = nodes
    this.#mayLookBack = mayLookBack
  }

  /** @param spread  as the index that it created lies. */
  async appended(change: Change, spread: Spread | null): Promise<void> {
    this.#statuses.set(change.task, change.status)
    const { index: id, position, task } = change
    if (id === null) return
    const index = this.#indexes.get(id) ?? this.#create(id, spread)
    index.tasks.push(task)
    if (position !== index.tasks.length) this.#note(`${id}: position ${position} follows ${index.tasks.length - 1}`)
    for (const { index: owner, node, physicalUid } of await this.#store.placementsBehind()) {
      this.#indexes.get(owner)?.physical.set(node, physicalUid)
    }
  }

  #create(id: string, spread: Spread | null): ModelIndex {
    const index: ModelIndex = {
      id,
      spread,
      tasks: [],
      state: rules.emptyIndex(null),
      folded: 0,
      isGone: false,
      tainted: new Set(),
      physical: new Map(),
      places: new Map(),
    }
    this.#indexes.set(id, index)
    return index
  }

  #note(text: string): void {
    if (this.found.length < 20) this.found.push(text)
  }

  /** Takes over what has ended since, and reads the indexes where something has. */
  async look(isEverything: boolean): Promise<void> {
    for (const [task, before] of this.#statuses) {
      if (rankOf[before] === 2) continue
      const { status } = await this.#store.change(task)
      // I6
      if (rankOf[status] < rankOf[before]) this.#note(`task ${task} was ${before} and is ${status}`)
      this.#statuses.set(task, status)
    }
    let placements: readonly Placement[] | undefined
    for (const index of this.#indexes.values()) {
      const before = index.folded
      const isAppendDone = index.tasks.length > index.folded
      if (isAppendDone) await this.#fold(index)
      if (index.isGone || (index.folded === before && !isEverything)) continue
      placements ??= await this.#store.placements()
      const own = placements.filter((placement) => placement.index === index.id)
      this.#checkServed(index, own)
      await this.#read(index, own)
    }
  }

  async #fold(index: ModelIndex): Promise<void> {
    while (index.folded < index.tasks.length) {
      const task = index.tasks[index.folded]!
      if (rankOf[this.#statuses.get(task)!] < 2) return
      const change = await this.#store.change(task)
      index.folded += 1
      const name = `${index.id}:${change.position} ${change.operation.kind} (task ${task})`
      const before = rules.copyIndex(index.state)
      const expected = fold(index.state, change)
      foldPlaces(index, change)
      if (change.status !== expected.status)
        this.#note(`${name} is ${change.status} (${change.error?.code}), not ${expected.status}`)
      if (change.status === 'failed')
        for (const id of touched(change, before) ?? before.documents.keys()) index.tainted.add(id)
      if (change.status === 'succeeded')
        checkDetails(change, expected.removed, (text) => this.#note(`${name}: ${text}`))
      if (change.status === 'succeeded') {
        if (
          change.startedAt === null ||
          change.finishedAt === null ||
          change.enqueuedAt > change.startedAt ||
          change.startedAt > change.finishedAt
        )
          this.#note(`${name}: its times are out of order`)
      }
      if (change.operation.kind === 'index-delete' && change.status === 'succeeded') index.isGone = true
    }
  }

  /**
   * I5: what the in-sync set holds whole is read, from the old or from the new placement; and nothing is taken off a node that a
   * gateway reads it from.
   */
  #checkServed({ id, folded }: ModelIndex, placements: readonly Placement[]): void {
    if (placements.length === 0) return
    const nodeOf = (node: string) => this.#store.nodes.get(node)
    const read = new Set(readableReplicas(placements, nodeOf).flatMap(({ shards }) => shards))
    const whole = placements.filter((placement) => isInSync(placement) && placement.applied >= folded)
    for (const { node, shards, state } of whole) {
      const missing = shards.filter((shard) => !read.has(shard))
      if (missing.length > 0)
        this.#note(`${id}: nobody is read for the shards ${missing}, which ${node} (${state}) holds`)
    }
    const routes = this.gateway?.placements.filter(({ index }) => index === id) ?? []
    for (const { node, physicalUid } of readableReplicas(routes, nodeOf)) {
      const now = placements.find((placement) => placement.node === node && placement.physicalUid === physicalUid)
      if (now === undefined || now.state === 'leaving')
        this.#note(`${id}: a gateway reads it from ${node}, which gives it up`)
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
    if (answered.join() !== shards.join()) this.#note(`${index.id}: a read answers the shards ${answered}`)
    for (const shard of missing) {
      if (replicas.some((replica) => isAsked(replica.node) && replica.shards.includes(shard)))
        this.#note(`${index.id}: a read misses shard ${shard}, which is there`)
    }
    for (const { replica, shards: asked } of legs) {
      if (asked.some((shard) => !replica.shards.includes(shard)))
        this.#note(`${index.id}: ${replica.node} is asked for ${asked}`)
    }
    if (this.#mayLookBack) return
    const open = await this.#openTouches(index)
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
      const [is, must] = [
        actual && rules.documentText(rules.clientPart(actual)),
        expected && rules.documentText(expected),
      ]
      if (is !== must) this.#note(`${index.id} on ${id}, completed ${index.folded}: a read sees ${is}, not ${must}`)
    }
  }

  /** Documents that changes touch which have not ended; `undefined` = any. */
  async #openTouches({ tasks, folded, state }: ModelIndex): Promise<ReadonlySet<string> | undefined> {
    const ids = new Set<string>()
    for (const task of tasks.slice(folded)) {
      const more = touched(await this.#store.change(task), state)
      if (more === undefined) return undefined
      for (const id of more) ids.add(id)
    }
    return ids
  }

  /** When all is delivered. @param mayLinger  deleted indexes may come back by an old disk or a late request. */
  async finish(mayLinger: boolean): Promise<readonly string[]> {
    await this.look(true)
    const placements = await this.#store.placements()
    for (const index of this.#indexes.values()) {
      if (index.folded < index.tasks.length) this.#note(`${index.id}: position ${index.folded + 1} has not ended`)
      const own = placements.filter((placement) => placement.index === index.id)
      if (index.isGone) {
        if (own.length > 0) this.#note(`${index.id} was deleted and is shown`)
        for (const [node, physicalUid] of index.physical) {
          const lingers = this.#nodes.get(node)?.disk.indexes.has(physicalUid)
          if (lingers && !mayLinger) this.#note(`${index.id} was deleted and is on ${node}`)
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
        this.#note(`${name} is not there`)
        continue
      }
      const isOurs = (key: string) => spread === null || shards.includes(shardOfKey(key, spread.shards))
      const expected = [...state.documents].filter(([key]) => isOurs(key))
      const texts = (documents: readonly (readonly [string, JsonObject])[]) =>
        documents
          .map(([, document]) => rules.documentText(rules.clientPart(document)))
          .sort()
          .join(' ')
      const [is, must] = [texts([...stored.documents]), texts(expected)]
      if (is !== must) this.#note(`${name} holds ${is}, not ${must}`)
      const settings =
        spread === null ? stored.settings : clientSettings(stored.settings, (text) => this.#note(`${name} ${text}`))
      const [isSet, mustSet] = [rules.documentText(settings), rules.documentText(state.settings)]
      if (isSet !== mustSet) this.#note(`${name} has the settings ${isSet}, not ${mustSet}`)
      if (spread !== null) this.#checkFields(name, spread, stored.documents, sequences)
      if (spread?.exactTies)
        for (const [key, document] of stored.documents) {
          const [stands, mustStand] = [document[sequenceField], index.places.get(key)]
          if (stands !== mustStand) this.#note(`${name}: document ${key} stands at ${stands}, not ${mustStand}`)
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
      if (shard !== shardText(shardOfKey(key, shards))) this.#note(`${name}: document ${key} is in shard ${shard}`)
      const known = sequences.get(`id ${key}`)
      if (known !== undefined && known !== sequence)
        this.#note(`${name}: document ${key} stands at ${sequence}, elsewhere at ${known}`)
      sequences.set(`id ${key}`, sequence)
      const other = sequences.get(`at ${sequence}`)
      if (other !== undefined && other !== key)
        this.#note(`${name}: documents ${key} and ${other} stand at ${sequence}`)
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

/** Ids that a change may touch; `undefined` = any. */
function touched(change: Change, state: rules.IndexState): readonly string[] | undefined {
  const { operation } = change
  switch (operation.kind) {
    case 'documents-put':
      return (linesOf(change) as JsonObject[]).map(({ id }) => String(id))
    case 'documents-delete':
      return linesOf(change) as string[]
    case 'documents-edit':
      if (change.status !== 'failed') return undefined
      return [...state.documents.keys()]
    case 'documents-delete-by-filter':
    case 'documents-clear':
    case 'index-delete':
      return change.status === 'failed' ? [] : undefined
    default:
      return []
  }
}

function checkDetails({ operation, details }: Change, removed: number, note: (text: string) => void): void {
  if (operation.kind !== 'documents-delete-by-filter' && operation.kind !== 'documents-edit') return
  const told = (details as JsonObject | null)?.deletedDocuments
  if (told !== removed) note(`deletedDocuments are ${told}, not ${removed}`)
}

interface Folded {
  readonly status: Change['status']
  readonly removed: number
}

/** Applies one change alone, as the order of the journal has it, and answers how it must end. */
function fold(state: rules.IndexState, change: Change): Folded {
  const done = { status: 'succeeded', removed: 0 } as const
  const failed = { status: 'failed', removed: 0 } as const
  if (change.status === 'canceled') return { status: 'canceled', removed: 0 }
  if (change.refusal !== null) return failed
  // Trouble that looks like a verdict, twice in a row and alone, is believed (NF-21); and so is one node alone.
  const { error } = change
  if (change.status === 'failed' && (error?.code === 'internal' || error?.message.endsWith('is odd'))) return failed
  const { operation } = change
  switch (operation.kind) {
    case 'documents-put': {
      let documents = linesOf(change) as JsonObject[]
      if (operation.skipCreation) documents = documents.filter(({ id }) => state.documents.has(String(id)))
      if (rules.lateRefusal(state, documents) !== undefined) return failed
      rules.put(state, documents, operation.merge)
      return done
    }
    case 'documents-delete':
      rules.remove(state, linesOf(change) as string[])
      return done
    case 'documents-delete-by-filter':
    case 'documents-edit': {
      const found = rules.matching(state, operation.filter)
      if (!Array.isArray(found)) return failed
      const before = state.documents.size
      if (operation.kind === 'documents-edit') {
        // What an edit came to is put again, and must be good under the settings of its position.
        const after = rules.copyIndex(state)
        rules.edit(after, found)
        const changed = [...after.documents.values()].filter((document) => found.includes(String(document.id)))
        if (rules.lateRefusal(state, changed) !== undefined) return failed
        rules.edit(state, found)
      } else rules.remove(state, found)
      return { status: 'succeeded', removed: before - state.documents.size }
    }
    case 'documents-clear':
    case 'index-delete':
      state.documents.clear()
      return done
    case 'settings':
      return rules.applySettings(state, operation.settings) === undefined ? done : failed
    default:
      return done
  }
}

/** A document stands where the first write put it that found none of its id. */
function foldPlaces({ places, state: { documents } }: ModelIndex, change: Change): void {
  for (const id of places.keys()) if (!documents.has(id)) places.delete(id)
  if (change.operation.kind !== 'documents-put') return
  for (const [line, { id }] of (linesOf(change) as JsonObject[]).entries()) {
    const key = String(id)
    if (documents.has(key) && !places.has(key)) places.set(key, sequenceText(change.position ?? 0, line))
  }
}

function linesOf({ payload }: Change): unknown[] {
  if (payload?.kind !== 'inline') return []
  return Buffer.from(payload.bytes)
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}
