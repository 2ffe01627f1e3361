/** The physical index of one lane: what the lane does to it beside delivering changes, and how it reads its tasks. */
import { sequenceField } from '../api/reserved-fields.ts'
import type { EngineTask } from '../engine/engine.ts'
import type { LaneProof } from '../journal/ports.ts'
import type { JsonObject } from '../lib/json.ts'
import { documentId } from './document-id.ts'
import { isDisturbed, lateTasksMax } from './late-requests.ts'
import { markText, parseMark } from './mark.ts'
import { bytesOf } from './ndjson.ts'
import { ask, type NodeSession, sendAndWait } from './node-session.ts'
import { windowTasksMax } from './send-window.ts'
import { sendEmptyMark } from './sending.ts'

/** Newest tasks read to find our marks; a lane has at most a window of them open. */
const markPage = 200
const markPagesMax = 20
const idsPerRemoval = 10_000
/** Tasks read around a failed change. */
const aroundMax = 2_000

const isUnmade: ReadonlySet<string> = new Set(['index_not_found', 'invalid_document_filter'])

export class IndexOnNode {
  readonly #session: NodeSession
  readonly #uid: string
  readonly #tag: string
  /** Newest task by which the index was made or configured, unless a proof that the store knows is newer; -1 = none. */
  #bare = -1

  constructor(session: NodeSession, uid: string, tag: string) {
    this.#session = session
    this.#uid = uid
    this.#tag = tag
  }

  /** It exists when this resolves. */
  async create(): Promise<void> {
    const { engine } = this.#session
    const reply = await sendAndWait(this.#session, (limit) => engine.createIndex(this.#uid, null, limit))
    if (reply.kind !== 'answered') throw new Error(`the index cannot be created: ${reply.kind}`)
    const { status, error, uid } = reply.value
    this.#bare = uid
    if (status === 'succeeded' || error?.code === 'index_already_exists') return
    throw new Error(`the index cannot be created: ${error?.code ?? status}`)
  }

  /** Where documents stand in the order, by id; those that are not there are left out. */
  async places(ids: readonly string[], primaryKey: string): Promise<ReadonlyMap<string, string>> {
    const { engine } = this.#session
    const query = { ids, fields: [primaryKey, sequenceField], limit: ids.length }
    const reply = await ask(this.#session, (signal) => engine.fetchDocuments(this.#uid, query, signal))
    if (reply.kind !== 'answered') throw new Error(`the places of documents cannot be read: ${reply.kind}`)
    return new Map(
      reply.value.results.flatMap((document) => {
        const place = document[sequenceField]
        return typeof place === 'string' ? [[documentId(document, primaryKey) ?? '', place] as const] : []
      }),
    )
  }

  async holdsDocuments(): Promise<boolean> {
    const { engine } = this.#session
    const reply = await ask(this.#session, (signal) => engine.fetchDocuments(this.#uid, { limit: 0 }, signal))
    return reply.kind === 'answered' && reply.value.total > 0
  }

  /** The settings hold when this resolves. */
  async configure(settings: JsonObject): Promise<void> {
    const { engine } = this.#session
    const reply = await sendAndWait(this.#session, (limit) => engine.applySettings(this.#uid, settings, limit))
    if (reply.kind === 'answered') this.#bare = reply.value.uid
    if (reply.kind === 'answered' && reply.value.status === 'succeeded') return
    throw new Error(`the index cannot be configured: ${reply.kind}`)
  }

  /** As the node shows them. */
  async settings(): Promise<JsonObject> {
    const { engine } = this.#session
    const reply = await ask(this.#session, (signal) => engine.settings(this.#uid, signal))
    if (reply.kind !== 'answered') throw new Error(`the settings cannot be read: ${reply.kind}`)
    return reply.value
  }

  /** Documents that a filter finds are gone when this resolves. Safe to repeat. */
  async remove(filter: string, primaryKey: string, applied: number): Promise<void> {
    const { engine } = this.#session
    const fields = { filter, fields: [primaryKey], limit: idsPerRemoval, offset: 0 }
    for (;;) {
      const reply = await ask(this.#session, (signal) => engine.fetchDocuments(this.#uid, fields, signal))
      // Not there, or without what a spread index has from its first change on: it is about to be made.
      if (reply.kind === 'refused' && isUnmade.has(reply.error.code)) return
      if (reply.kind !== 'answered') throw new Error(`documents cannot be listed: ${reply.kind}`)
      const ids = reply.value.results.flatMap((document) => documentId(document, primaryKey) ?? [])
      if (ids.length === 0) return
      // Part 0: it is none of a change.
      const mark = markText({ ...this.#markAt(applied), part: 0, parts: 0 })
      const ended = await sendAndWait(this.#session, (limit) =>
        engine.deleteDocuments(this.#uid, bytesOf(ids.map((id) => JSON.stringify(id))), mark, limit),
      )
      if (ended.kind !== 'answered' || ended.value.status !== 'succeeded')
        throw new Error(`documents stay: ${ended.kind === 'answered' ? ended.value.status : ended.kind}`)
    }
  }

  /** Everything that stands in the index's queue is ended when this resolves. */
  async settle(): Promise<void> {
    const { engine } = this.#session
    const reply = await sendAndWait(this.#session, (limit) => engine.cancelTasks(this.#uid, limit))
    if (reply.kind !== 'answered') throw new Error(`tasks cannot be cancelled: ${reply.kind}`)
  }

  /** As if the lane had delivered everything up to `applied` itself: what stood on the node before is told apart from it. */
  async beginAt(applied: number): Promise<LaneProof> {
    const { engine } = this.#session
    const mark = markText({ ...this.#markAt(applied), part: 1, parts: 1 })
    const reply = await sendAndWait(this.#session, (limit) => engine.deleteDocuments(this.#uid, [], mark, limit))
    if (reply.kind !== 'answered') throw new Error(`the index cannot be marked: ${reply.kind}`)
    return { task: reply.value.uid, mark }
  }

  #markAt(position: number) {
    return { epoch: this.#session.lease.epoch, position, from: position, tag: this.#tag }
  }

  /** It is gone when this resolves. */
  async drop(): Promise<void> {
    const { engine } = this.#session
    const reply = await sendAndWait(this.#session, (limit) => engine.deleteIndex(this.#uid, limit))
    if (reply.kind !== 'answered') throw new Error(`the index stays: ${reply.kind}`)
    const { status, error } = reply.value
    if (status === 'succeeded' || error?.code === 'index_not_found') return
    throw new Error(`the index stays: ${error?.code ?? status}`)
  }

  /** The mark of position 0: whoever finds it builds the index anew. */
  async announceRebuild(): Promise<void> {
    const mark = { epoch: this.#session.lease.epoch, position: 0, from: 0, tag: this.#tag, part: 1, parts: 1 }
    const begun = await sendEmptyMark(this.#session, this.#uid, mark)
    if (begun.kind !== 'answered') throw new Error(`the rebuild cannot begin: ${begun.kind}`)
    this.#session.watch.forget([begun.value])
  }

  /** Keeps what follows apart from an unmarked task (NF-24). Part 0 says that nothing of a change stands before it. */
  async separate(position: number): Promise<LaneProof | null> {
    const mark = { epoch: this.#session.lease.epoch, position, from: position, tag: this.#tag, part: 0, parts: 0 }
    const reply = await sendEmptyMark(this.#session, this.#uid, mark)
    if (reply.kind !== 'answered') return null
    this.#session.watch.forget([reply.value])
    return { task: reply.value, mark: markText(mark) }
  }

  /**
   * What tells the disk from an older one that does not hold the index as it is now: `newest`, or a mark behind what made the
   * index since. Without it, a copy of the disk from before the index was made would pass as ours as long as none of its
   * changes had reached the node.
   */
  async proof(position: number, newest: LaneProof | null): Promise<LaneProof | null> {
    if (this.#bare <= (newest?.task ?? -1)) return newest
    const proof = await this.separate(position)
    if (proof === null) throw new Error('the index cannot be marked')
    return proof
  }

  /** The store knows the proof. */
  noteProven({ task }: LaneProof): void {
    if (task > this.#bare) this.#bare = -1
  }

  /** The newest tasks, newest first, back to a mark of an applied position at least. */
  async newestTasks(applied: number): Promise<readonly EngineTask[]> {
    const { engine, ledger } = this.#session
    const tasks: EngineTask[] = []
    for (let page = 0; page < markPagesMax; page += 1) {
      const from = tasks.length === 0 ? undefined : tasks.at(-1)!.uid - 1
      if (from !== undefined && from < 0) break
      const reply = await ask(this.#session, (signal) => engine.newestTasks(this.#uid, markPage, from, signal))
      if (reply.kind !== 'answered') throw new Error(`tasks cannot be read: ${reply.kind}`)
      tasks.push(...reply.value)
      if (reply.value.length < markPage) break
      const marks = reply.value.map((task) => parseMark(task.customMetadata))
      if (marks.some((mark) => mark?.tag === this.#tag && mark.position <= applied)) break
    }
    if (tasks[0] !== undefined && tasks[0].uid > ledger.highest) ledger.observe(tasks[0].uid)
    return tasks
  }

  /** Whether something that came late lies over what is applied, in any life of the replica. */
  async isDisturbed(applied: number): Promise<boolean> {
    const { engine } = this.#session
    const reply = await ask(this.#session, (signal) => engine.newestTasks(this.#uid, lateTasksMax, undefined, signal))
    if (reply.kind !== 'answered') throw new Error(`tasks cannot be read: ${reply.kind}`)
    return isDisturbed(reply.value, applied)
  }

  /** The tasks that may have been in one batch with these. */
  async around(numbers: readonly number[]): Promise<readonly EngineTask[]> {
    const { engine } = this.#session
    const reach = 2 * windowTasksMax
    const from = numbers.at(-1)! + reach
    const limit = Math.min(aroundMax, from - numbers[0]! + reach)
    const reply = await ask(this.#session, (signal) => engine.newestTasks(this.#uid, limit, from, signal))
    if (reply.kind !== 'answered') throw new Error(`tasks cannot be read: ${reply.kind}`)
    return reply.value
  }
}
