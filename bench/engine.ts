/**
 * The embedded engine beside a real Meilisearch over the same documents and queries, interleaved in one run: indexing,
 * searches by kind, searches while it indexes, opening, memory, and how long its main event loop is blocked.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Pool } from 'undici'
import type { JsonObject } from '../src/lib/json.ts'
import { freePort } from '../src/lib/loopback-port.ts'
import { type EngineSet, filmSet, payloadDocuments, shortSet } from './engine-sets.ts'
import { type Bench, until } from './parts.ts'
import { figuresOf, watchMemory } from './process-figures.ts'
import { call, ended, type SearchServer } from './search-server.ts'

export interface EngineBenchOptions {
  /** A real Meilisearch binary; absent = the embedded engine alone, without ratios. */
  readonly meilisearch?: string
  /** Of the generated set; 0 = the films alone. */
  readonly documents: number
  /** Of each kind. */
  readonly queries: number
  /** That all of it may take, about; a set that takes longer is indexed as far as two thirds of it allow. */
  readonly minutes: number
  /** `--max-indexing-memory` of both sides. */
  readonly indexingMemory: string
}

type SideName = 'embedded' | 'meilisearch'
type BySide<T> = Partial<Record<SideName, T>>

interface Times {
  readonly p50: number
  readonly p99: number
  /** Processor time of the server, per request. */
  readonly cpuMs: number
}

export interface SetResult {
  readonly set: string
  readonly documents: number
  readonly indexing: BySide<{
    readonly documentsPerSecond: number
    readonly documentsPerCpuSecond: number
    readonly anonymousMbMax: number
    readonly loopBlockedMsMax: number | null
  }>
  readonly indexingRatio: number | null
  readonly searches: readonly {
    readonly kind: string
    readonly times: BySide<Times>
    readonly p50Ratio: number | null
    readonly p99Ratio: number | null
    readonly cpuRatio: number | null
  }[]
  readonly whileIndexing: BySide<{ readonly idleP99: number; readonly busyP99: number; readonly ratio: number }>
  readonly restingMb: BySide<number>
  /** After a restart: until it answers; the first search of all, in another index; the first in this one; the next. */
  readonly open: {
    readonly healthMs: number
    readonly threadMs: number
    readonly openMs: number
    readonly nextMs: number
  }
  readonly loopBlockedMs: Readonly<Record<string, number>>
}

const launcher = join(import.meta.dirname, '..', 'bin', 'flapjack')
const watcher = join(import.meta.dirname, 'loop-watch.mjs')
const key = 'a-master-key-for-the-bench'
const uid = 'bench'
const small = 'small'
/** Payloads that one side takes before the other has its turn. */
const turnPayloads = 3
const warmUpQueries = 8
const pacedMs = 20
const restMs = 5_000

class Server implements SearchServer {
  readonly key = key
  readonly name: SideName
  readonly folder: string
  readonly #options: EngineBenchOptions
  #child: ChildProcess | undefined
  #url = ''
  #pool: Pool | undefined

  constructor(bench: Bench, name: SideName, options: EngineBenchOptions, set: string) {
    this.name = name
    this.folder = join(bench.folder, `${name}-${set}`.replaceAll(' ', '-'))
    this.#options = options
  }

  get url(): string {
    return this.#url
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Answers milliseconds until the server is there. */
  async start(): Promise<number> {
    const port = await freePort()
    this.#url = `http://127.0.0.1:${port}`
    const address = ['--http-addr', `127.0.0.1:${port}`, '--master-key', key]
    const common = ['--db-path', this.folder, ...address, '--max-indexing-memory', this.#options.indexingMemory]
    const startedAt = performance.now()
    const [command, args] =
      this.name === 'embedded'
        ? [process.execPath, ['--import', watcher, launcher, 'engine', ...common]]
        : [this.#options.meilisearch ?? '', [...common, '--no-analytics', '--log-level', 'ERROR']]
    this.#child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      cwd: join(this.folder, '..'),
      env: { ...process.env, LOOP_WATCH_FILE: `${this.folder}.loop` },
    })
    await until(`${this.#url}/health`, 60_000)
    const tookMs = performance.now() - startedAt
    this.#pool = new Pool(this.#url, { connections: 4 })
    return tookMs
  }

  async stop(): Promise<void> {
    await this.#pool?.destroy()
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }

  /** Milliseconds until the answer was read. */
  async search(query: JsonObject, index = uid): Promise<number> {
    const startedAt = performance.now()
    const { statusCode, body } = await this.#pool!.request({
      path: `/indexes/${index}/search`,
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(query),
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${this.name}: ${statusCode} ${text}`)
    return performance.now() - startedAt
  }

  /** Processor time of the main event loop's longest turn since the last call; null for a server that is not ours. */
  async loopBlockedMs(): Promise<number | null> {
    if (this.name !== 'embedded') return null
    const file = `${this.folder}.loop`
    rmSync(file, { force: true })
    process.kill(this.pid, 'SIGUSR2')
    for (;;) {
      await pause(20)
      try {
        return (JSON.parse(readFileSync(file, 'utf8')) as { cpuMs: number }).cpuMs
      } catch {}
    }
  }
}

export async function benchEngine(
  bench: Bench,
  options: EngineBenchOptions,
  say: (line: string) => void,
): Promise<readonly SetResult[]> {
  const sets = [filmSet(), ...(options.documents > 0 ? [shortSet(options.documents)] : [])]
  const results: SetResult[] = []
  for (const set of sets) results.push(await benchSet(bench, set, options, say))
  return results
}

async function benchSet(
  bench: Bench,
  set: EngineSet,
  options: EngineBenchOptions,
  say: (line: string) => void,
): Promise<SetResult> {
  const names: readonly SideName[] = options.meilisearch === undefined ? ['embedded'] : ['embedded', 'meilisearch']
  const sides = names.map((name) => new Server(bench, name, options, set.name))
  say(`\n${set.name}`)
  try {
    return await measureSet(sides, set, options, say)
  } finally {
    for (const side of sides) await side.stop()
  }
}

async function measureSet(
  sides: readonly Server[],
  set: EngineSet,
  options: EngineBenchOptions,
  say: (line: string) => void,
): Promise<SetResult> {
  const embedded = sides[0]!
  for (const side of sides) await side.start()
  for (const side of sides) {
    await send(side, 'POST', '/indexes', { uid, primaryKey: 'id' })
    await send(side, 'PATCH', `/indexes/${uid}/settings`, set.settings)
  }
  const loopBlockedMs: Record<string, number> = {}
  await embedded.loopBlockedMs()
  const { documents, ...indexing } = await index(sides, set, (options.minutes * 60_000 * 2) / 3, say)
  const indexingRatio = ratio(indexing.embedded?.documentsPerSecond, indexing.meilisearch?.documentsPerSecond)
  loopBlockedMs.indexing = indexing.embedded?.loopBlockedMsMax ?? 0
  await embedded.loopBlockedMs()

  const searches = await searchAll(sides, set, options.queries, say)
  loopBlockedMs.searching = (await embedded.loopBlockedMs()) ?? 0
  const whileIndexing: SetResult['whileIndexing'] = {}
  for (const side of sides) {
    whileIndexing[side.name] = await searchWhileIndexing(side, set)
    const { idleP99, busyP99, ratio: times } = whileIndexing[side.name]!
    say(`${side.name}: p99 while indexing ${ms(busyP99)}, idle ${ms(idleP99)}: ${times.toFixed(1)} times`)
  }
  loopBlockedMs['searching while indexing'] = (await embedded.loopBlockedMs()) ?? 0
  await pause(restMs)
  const restingMb: SetResult['restingMb'] = {}
  for (const side of sides) restingMb[side.name] = figuresOf(side.pid).anonymousMb
  say(sides.map((side) => `${side.name} holds ${Math.round(restingMb[side.name] ?? 0)} MB at rest`).join(', '))

  await send(embedded, 'POST', '/indexes', { uid: small, primaryKey: 'id' })
  await embedded.stop()
  const healthMs = await embedded.start()
  const query = Object.values(set.queries(1))[1]![0]!
  const threadMs = await embedded.search(query, small)
  const openMs = await embedded.search(query)
  const nextMs = await embedded.search(query)
  const open = { healthMs, threadMs, openMs, nextMs }
  say(
    `embedded: answers ${Math.round(healthMs)} ms after its start; the first search starts a thread, ${ms(threadMs)}; the first in this index opens it, ${ms(openMs)}; the next takes ${ms(nextMs)}`,
  )
  await embedded.loopBlockedMs()
  Object.assign(loopBlockedMs, await heavyTasks(embedded, set))
  say(
    `embedded: longest turn of the main event loop ${Object.entries(loopBlockedMs)
      .map(([name, most]) => `${Math.round(most)} ms (${name})`)
      .join(', ')}`,
  )
  return {
    set: set.name,
    documents,
    indexing,
    indexingRatio,
    searches,
    whileIndexing,
    restingMb,
    open,
    loopBlockedMs,
  }
}

async function index(
  sides: readonly Server[],
  set: EngineSet,
  msMax: number,
  say: (line: string) => void,
): Promise<SetResult['indexing'] & { readonly documents: number }> {
  const spent = new Map(sides.map((side) => [side, { wallMs: 0, cpuMs: 0, anonymousMbMax: 0, loop: 0 }]))
  const beganAt = performance.now()
  let documents = 0
  let shownAt = 0
  for (let first = 0; first < set.documents; first += turnPayloads * payloadDocuments) {
    const payloads: string[] = []
    for (let turn = 0; turn < turnPayloads; turn += 1) {
      const from = first + turn * payloadDocuments
      if (from < set.documents) payloads.push(set.payloads(from, Math.min(payloadDocuments, set.documents - from)))
    }
    for (const side of sides) {
      const sum = spent.get(side)!
      const memory = watchMemory(side.pid)
      const before = figuresOf(side.pid).cpuMs
      const startedAt = performance.now()
      let last = 0
      for (const payload of payloads) last = await put(side, payload)
      await ended(side, last)
      sum.wallMs += performance.now() - startedAt
      sum.cpuMs += figuresOf(side.pid).cpuMs - before
      sum.anonymousMbMax = Math.max(sum.anonymousMbMax, memory.stop())
      sum.loop = Math.max(sum.loop, (await side.loopBlockedMs()) ?? 0)
    }
    documents = Math.min(set.documents, first + turnPayloads * payloadDocuments)
    const spentMs = performance.now() - beganAt
    if (documents < set.documents && (documents - shownAt >= set.documents / 10 || spentMs > msMax)) {
      shownAt = documents
      const minutes = [spentMs, (spentMs / documents) * (set.documents - documents)].map((each) =>
        (each / 60_000).toFixed(1),
      )
      say(`${documents} of ${set.documents} documents after ${minutes[0]} minutes, the others take about ${minutes[1]}`)
    }
    if (spentMs > msMax && documents < set.documents) {
      say(`indexing ends here: more would not fit into the time (--minutes)`)
      break
    }
  }
  const result: SetResult['indexing'] = {}
  for (const [side, { wallMs, cpuMs, anonymousMbMax, loop }] of spent) {
    const [documentsPerSecond, documentsPerCpuSecond] = [(documents / wallMs) * 1000, (documents / cpuMs) * 1000]
    result[side.name] = {
      documentsPerSecond,
      documentsPerCpuSecond,
      anonymousMbMax,
      loopBlockedMsMax: side.name === 'embedded' ? loop : null,
    }
    say(
      `${side.name}: ${Math.round(documentsPerSecond)} documents/s, ${Math.round(documentsPerCpuSecond)} per second of processor time, at most ${Math.round(anonymousMbMax)} MB`,
    )
  }
  return { ...result, documents }
}

/** Query by query, first one side and then the other, turn about. */
async function searchAll(
  sides: readonly Server[],
  set: EngineSet,
  count: number,
  say: (line: string) => void,
): Promise<SetResult['searches']> {
  const kinds = set.queries(count + warmUpQueries)
  for (const queries of Object.values(kinds))
    for (const query of queries.slice(count)) for (const side of sides) await side.search(query)
  say(row('', ['p50 ms', 'p99 ms', 'cpu ms', 'Meili p50', 'p99', 'cpu', '× p50', '× p99', '× cpu']))
  const lines: SetResult['searches'][number][] = []
  const mixed = Object.values(kinds).flatMap((queries) => queries.slice(0, count >> 2))
  for (const [kind, all] of [...Object.entries(kinds), ['all kinds', mixed] as const]) {
    const times = await timesOf(sides, kind === 'all kinds' ? all : all.slice(0, count))
    const { embedded: ours, meilisearch: theirs } = times
    const ratios = [
      ratio(ours?.p50, theirs?.p50),
      ratio(ours?.p99, theirs?.p99),
      ratio(ours?.cpuMs, theirs?.cpuMs),
    ] as const
    lines.push({ kind, times, p50Ratio: ratios[0], p99Ratio: ratios[1], cpuRatio: ratios[2] })
    const cells = [ours?.p50, ours?.p99, ours?.cpuMs, theirs?.p50, theirs?.p99, theirs?.cpuMs, ...ratios]
    say(
      row(
        kind,
        cells.map((cell) => cell?.toFixed(2) ?? '-'),
      ),
    )
  }
  return lines
}

async function timesOf(sides: readonly Server[], queries: readonly JsonObject[]): Promise<BySide<Times>> {
  const taken = new Map(sides.map((side) => [side, [] as number[]]))
  const before = new Map(sides.map((side) => [side, figuresOf(side.pid).cpuMs]))
  for (const [turn, query] of queries.entries())
    for (const side of turn % 2 === 0 ? sides : [...sides].reverse()) taken.get(side)!.push(await side.search(query))
  const times: BySide<Times> = {}
  for (const [side, all] of taken)
    times[side.name] = {
      p50: percentile(all, 0.5),
      p99: percentile(all, 0.99),
      cpuMs: (figuresOf(side.pid).cpuMs - before.get(side)!) / queries.length,
    }
  return times
}

/** The same queries at the same pace, first idle, then while documents are put that are new to the index. */
async function searchWhileIndexing(
  side: Server,
  set: EngineSet,
): Promise<{ idleP99: number; busyP99: number; ratio: number }> {
  const queries = Object.values(set.queries(12)).flat()
  const paced = async (until: () => boolean): Promise<number[]> => {
    const taken: number[] = []
    for (let turn = 0; !until() || taken.length < queries.length; turn += 1) {
      taken.push(await side.search(queries[(turn * 7) % queries.length]!))
      await pause(pacedMs)
    }
    return taken
  }
  const idle = await paced(() => true)
  let isDone = false
  const busy = paced(() => isDone)
  const count = Math.min(set.documents, 5 * payloadDocuments)
  let last = 0
  for (let first = 0; first < count; first += payloadDocuments) {
    const payload = set.payloads(first, Math.min(payloadDocuments, count - first))
    // As others of the same kind: ids behind all that the index has.
    last = await put(
      side,
      payload.replaceAll(/^\{"id":(\d+)/gm, (_, id: string) => `{"id":${Number(id) + set.documents + 1}`),
    )
  }
  await ended(side, last)
  isDone = true
  const [idleP99, busyP99] = [percentile(idle, 0.99), percentile(await busy, 0.99)]
  return { idleP99, busyP99, ratio: busyP99 / idleP99 }
}

/** What could block the main event loop: how long each did at most. */
async function heavyTasks(server: Server, set: EngineSet): Promise<Record<string, number>> {
  const blocked: Record<string, number> = {}
  const measure = async (name: string, run: () => Promise<unknown>) => {
    await run()
    blocked[name] = (await server.loopBlockedMs()) ?? 0
  }
  await measure('2,000 small tasks', async () => {
    let last = 0
    for (let task = 0; task < 2_000; task += 1)
      last = (await call(server, 'POST', `/indexes/${uid}/documents`, JSON.stringify([{ id: -1 - task }]))).taskUid
    await ended(server, last)
  })
  await measure('swap of an index with 2,000 tasks', () =>
    send(server, 'POST', '/swap-indexes', [{ indexes: [uid, small] }]),
  )
  await measure('and back', () => send(server, 'POST', '/swap-indexes', [{ indexes: [uid, small] }]))
  const ids = Array.from({ length: 300_000 }, (_, place) => place)
  await measure('deletion of 300,000 ids', () => send(server, 'POST', `/indexes/${uid}/documents/delete-batch`, ids))
  await measure('deletion of 2,000 tasks', () => send(server, 'DELETE', '/tasks?statuses=succeeded'))
  await measure('documents as one JSON array', async () => {
    const all = set
      .payloads(0, Math.min(set.documents, 5 * payloadDocuments))
      .trimEnd()
      .replaceAll('\n', ',')
    await ended(server, (await call(server, 'POST', `/indexes/${uid}/documents`, `[${all}]`)).taskUid)
  })
  return blocked
}

async function send(server: Server, method: string, path: string, body?: unknown): Promise<void> {
  const { taskUid } = await call(server, method, path, body === undefined ? undefined : JSON.stringify(body))
  await ended(server, taskUid)
}

async function put(server: Server, payload: string): Promise<number> {
  const { taskUid } = await call(server, 'POST', `/indexes/${uid}/documents`, payload, 'application/x-ndjson')
  return taskUid
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

const ratio = (left: number | undefined, right: number | undefined): number | null =>
  left === undefined || right === undefined || right === 0 ? null : left / right

const ms = (value: number): string => `${value.toFixed(1)} ms`

const row = (name: string, cells: readonly string[]): string =>
  `${name.padEnd(28)}${cells.map((cell) => cell.padStart(10)).join('')}`
