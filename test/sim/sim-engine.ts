/**
 * The `Engine` port onto a simulated node, over a network that delays, loses requests and answers, and sometimes delivers a
 * request long after its sender gave up (NF-43), or once more although it was answered.
 */
import type { Engine, EngineReply, EngineTask } from '../../src/engine/engine.ts'
import { noSnapshots } from '../../src/engine/engine-snapshots.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { Random } from '../../src/lib/random.ts'
import { linesOf } from '../../src/replication/ndjson.ts'
import * as rules from './document-rules.ts'
import type { Scheduler } from './scheduler.ts'
import { isOpen, type SimNode, type TaskBody } from './sim-node.ts'
import type { SimProcess } from './sim-process.ts'

export interface NetworkFaults {
  lostRequest: number
  lostReply: number
  late: number
  /** A write arrives a second time, long after it was answered. */
  repeated: number
  /** Late and repeated requests that have not arrived yet. */
  underway: number
}

/** Longer than it takes to notice another disk. */
const lateMsMax = 15_000

export function createSimEngine(options: {
  readonly node: SimNode
  readonly scheduler: Scheduler
  readonly random: Random
  /** A stream of its own: a run without repeated requests is what it was before there were any. */
  readonly hardships: Random
  readonly faults: NetworkFaults
  /** Who calls. */
  readonly process: SimProcess
}): Engine {
  const { node, scheduler, random, hardships, faults, process } = options

  /** Carries a request to the node and its answer back. `execute` runs at the node, or never. */
  function call<T>(isRead: boolean, signal: AbortSignal, execute: () => EngineReply<T>): Promise<EngineReply<T>> {
    return new Promise((resolve) => {
      if (process.isDead) return
      let isOver = false
      const end = (reply: EngineReply<T>) =>
        process.deliver(() => {
          if (isOver) return
          isOver = true
          signal.removeEventListener('abort', onAbort)
          resolve(reply)
        })
      const onAbort = () => end(silent)
      const silent: EngineReply<T> = { kind: isRead ? 'failed' : 'unknown', reason: 'no answer' }
      if (signal.aborted) {
        resolve({ kind: 'failed', reason: 'aborted' })
        return
      }
      signal.addEventListener('abort', onAbort, { once: true })
      const luck = random.float()
      const there = (1 + random.integer(4)) * node.slowness
      const back = (1 + random.integer(4)) * node.slowness
      const link = process.links.get(node.id)
      const repeat = () => {
        faults.underway -= 1
        if (node.isStopped) node.whenResumed(() => void execute())
        else if (node.isUp) execute()
      }
      if (!isRead && faults.repeated > 0 && hardships.float() < faults.repeated) {
        faults.underway += 1
        scheduler.after(200 + hardships.integer(lateMsMax), repeat)
      }
      const run = () => {
        if (node.isStopped) return node.whenResumed(run)
        if (!node.isUp) return end({ kind: 'failed', reason: 'connection refused' })
        const reply = execute()
        if (link === 'deaf') return process.noteUnanswered(() => end(silent))
        if (luck > 1 - faults.lostReply) scheduler.after(back, () => end(silent))
        else scheduler.after(back, () => end(reply))
      }
      if (link === 'cut') return process.noteUnanswered(() => end(silent))
      if (luck < faults.lostRequest) {
        scheduler.after(there, () => end(silent))
        return
      }
      if (luck < faults.lostRequest + faults.late) {
        scheduler.after(there, () => end(silent))
        faults.underway += 1
        scheduler.after(200 + random.integer(lateMsMax), () => {
          faults.underway -= 1
          run()
        })
        return
      }
      scheduler.after(there, run)
    })
  }

  const write = (uid: string, body: TaskBody, mark: string | null, signal: AbortSignal) =>
    call<number>(false, signal, () => ({ kind: 'answered', value: node.register(uid, body, mark) }))
  const read = <T>(signal: AbortSignal, execute: () => T) =>
    call<T>(true, signal, () => ({ kind: 'answered', value: execute() }))
  const indexOf = (uid: string) => node.disk.indexes.get(uid)

  const fetch = (uid: string, query: Parameters<Engine['fetchDocuments']>[1], signal: AbortSignal) =>
    call<{ readonly results: readonly JsonObject[]; readonly total: number }>(true, signal, () => {
      const index = indexOf(uid)
      if (index === undefined) return { kind: 'refused', status: 404, error: rules.refusal('index_not_found', uid) }
      let ids: string[] | undefined
      if (query.filter !== undefined) {
        const found = rules.matching(index, query.filter)
        if (!Array.isArray(found)) return { kind: 'refused', status: 400, error: found }
        ids = found
      }
      const wanted = query.ids && new Set(query.ids)
      const chosen = (ids ?? [...index.documents.keys()]).filter((id) => wanted?.has(id) ?? true)
      const page = chosen.slice(query.offset ?? 0, (query.offset ?? 0) + query.limit)
      return {
        kind: 'answered',
        value: { results: page.map((id) => index.documents.get(id)!), total: chosen.length },
      }
    })

  return {
    capabilities: { isRemote: false, waits: false },
    snapshots: noSnapshots,
    health: (signal) => read(signal, () => 'available' as const),
    version: (signal) => read(signal, () => '1.50.0'),
    createIndex: (uid, primaryKey, signal) => write(uid, { kind: 'create', primaryKey }, null, signal),
    updateIndex: (uid, primaryKey, signal) => write(uid, { kind: 'update', primaryKey }, null, signal),
    deleteIndex: (uid, signal) => write(uid, { kind: 'drop' }, null, signal),
    compactIndex: (uid, signal) => write(uid, { kind: 'delete', ids: [] }, null, signal),
    async putDocuments(uid, { merge, primaryKey, mark }, chunks, signal) {
      const parts: Uint8Array[] = []
      try {
        for await (const chunk of chunks) parts.push(chunk)
      } catch (error) {
        return { kind: 'failed', reason: String(error) }
      }
      const lines = Buffer.concat(parts).toString().split('\n').filter(Boolean)
      const documents = lines.map((line) => JSON.parse(line) as JsonObject)
      return write(uid, { kind: 'put', documents, merge, primaryKey }, mark, signal)
    },
    async deleteDocuments(uid, lines, mark, signal) {
      const ids: string[] = []
      if (Symbol.asyncIterator in lines) for await (const line of linesOf(lines)) ids.push(JSON.parse(line))
      return write(uid, { kind: 'delete', ids }, mark, signal)
    },
    clearDocuments: (uid, mark, signal) => write(uid, { kind: 'clear' }, mark, signal),
    editDocuments: (uid, { filter }, mark, signal) => write(uid, { kind: 'edit', filter }, mark, signal),
    applySettings: (uid, settings, signal) => write(uid, { kind: 'settings', settings }, null, signal),
    tasks: (uids, signal, { endedOnly = false } = {}) =>
      read(signal, () =>
        uids.flatMap((uid) => {
          if (node.forgetChance > 0 && hardships.float() < node.forgetChance) return []
          const task = node.row(uid)
          return task === undefined || (endedOnly && isOpen(task)) ? [] : [task]
        }),
      ),
    newestTasks: (uid, limit, from, signal) =>
      read(signal, (): readonly EngineTask[] => {
        const found: EngineTask[] = []
        for (const task of node.newestRows(from, uid)) {
          found.push(task)
          if (found.length === limit) break
        }
        return found
      }),
    endedTasks: (from, limit, signal) =>
      read(signal, () => {
        const ended = node.endedRows()
        return { tasks: ended.filter(({ uid }) => uid >= from).slice(0, limit), total: ended.length }
      }),
    deleteTasks: (uids, signal) => write('', { kind: 'forget', uids }, null, signal),
    cancelTasks: (uid, signal) => write(uid, { kind: 'cancel', uid }, null, signal),
    fetchDocuments: fetch,
    fetchDocumentTexts: async (uid, query, signal) => {
      const reply = await fetch(uid, query, signal)
      return reply.kind === 'answered'
        ? { kind: 'answered', value: reply.value.results.map((document) => JSON.stringify(document)) }
        : reply
    },
    settings: (uid, signal) => read(signal, () => indexOf(uid)?.settings ?? {}),
    indexes: (signal) =>
      read(signal, () =>
        [...node.disk.indexes].map(([uid, index]) => ({ uid, primaryKey: index.primaryKey, createdAt: '' })),
      ),
    indexStats: (uid, signal) => read(signal, () => ({ numberOfDocuments: indexOf(uid)?.documents.size ?? 0 })),
    readMarker: (signal) => read(signal, () => node.disk.marker),
    writeMarker: (name, description, signal) =>
      read(signal, () => {
        node.disk.marker = { name, description, createdAt: node.disk.marker?.createdAt ?? 'once' }
        return 'written' as const
      }),
  }
}
