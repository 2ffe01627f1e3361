/**
 * A move of an index under load: what fails, what is lost, what clients notice, how fast the copy is, how long undoing takes.
 * Then a node is drained of many small indexes. With the embedded engine, whose indexes go over as they are stored, and with
 * Meilisearch (MEILISEARCH_BIN), whose documents are read and written.
 *
 * Rates and times depend on what else the machine does: run it alone.
 */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../src/lib/loopback-port.ts'
import type { MoveStep } from '../src/topology/move-steps.ts'
import { Corpus } from './corpus.ts'
import { cpuMsByPart } from './cpu-time.ts'
import { type Running, startUp } from './ingest.ts'
import { MoveLoad, pause, type Rates, type Sample } from './move-load.ts'
import { askOperator, followMove, lasted, type Operator, type Timeline } from './move-watch.ts'
import { type Bench, median, quantile } from './parts.ts'
import { call, createIndex, ended, ingest } from './search-server.ts'

const run = promisify(execFile)
const launcher = join(import.meta.dirname, '..', 'bin', 'flapjack')

export interface MovesOptions {
  /** A real Meilisearch binary; absent = the embedded engine. */
  readonly meilisearch?: string
  readonly documents: number
  /** Of load before the move. */
  readonly seconds: number
  /** Small indexes that a drained node holds, about. */
  readonly small: number
  readonly rates: Rates
}

export interface MovesResult {
  readonly engine: 'embedded' | 'meilisearch'
  /** Of all requests during the move; 0 are wanted. */
  readonly failures: readonly string[]
  readonly failed: number
  readonly searches: number
  readonly writes: number
  /** Documents that are not what was written last, or not there, and those that nobody wrote; 0 are wanted. */
  readonly wrong: { readonly lost: number; readonly extra: number }
  readonly searchMsP99: { readonly before: number; readonly during: number; readonly ratio: number }
  /** From a 202 until a search finds the document; `added` at the switch is to be 50 ms at most. */
  readonly delayMs: {
    readonly before: number
    readonly during: number
    readonly atSwitch: number
    readonly added: number
  }
  readonly stepMs: Readonly<Record<string, number>>
  /** Without other load: MB of the snapshot per second (100 are wanted), or documents per second and their ratio to indexing (0.7). */
  readonly copy: {
    readonly kind: string
    readonly ms: number
    readonly megabytesPerSecond: number | null
    readonly megabytesPerCpuSecond: number | null
    readonly documentsPerSecond: number
    readonly indexing: number
    readonly ratio: number
  }
  /** 1,000 at most are wanted. */
  readonly undoMs: number
  readonly drain: { readonly indexes: number; readonly ms: number; readonly busyMax: number; readonly failed: number }
}

const payloadDocuments = 5_000
const smallDocuments = 20
const keepMs = 3_600_000

type Say = (line: string) => void

export async function benchMoves(bench: Bench, options: MovesOptions, say: Say): Promise<MovesResult> {
  const engine = options.meilisearch === undefined ? 'embedded' : 'meilisearch'
  const { server, operator, config } = await start(bench, engine, options)
  const corpus = new Corpus(1)
  const payloads: string[] = []
  for (let first = 0; first < options.documents; first += payloadDocuments)
    payloads.push(corpus.payload(first, Math.min(payloadDocuments, options.documents - first)))
  await createIndex(server, 'books')
  const indexing = await ingest(server, 'books', payloads, options.documents)
  say(`${engine}: ${Math.round(indexing)} documents/s indexed`)

  const copy = await measureCopy(server, operator, { documents: options.documents, indexing })
  const speed = copy.megabytesPerSecond === null ? '' : `${Math.round(copy.megabytesPerSecond)} MB/s, `
  say(
    `${engine}: copy (${copy.kind}) ${speed}${Math.round(copy.documentsPerSecond)} documents/s, ${copy.ratio.toFixed(2)} of indexing`,
  )
  const underLoad = await measureUnderLoad(server, operator, corpus, options, say)
  const drain = await measureDrain(server, operator, config, options.small)
  say(
    `${engine}: a node drained of ${drain.indexes} indexes in ${Math.round(drain.ms)} ms, at most ${drain.busyMax} at once, ${drain.failed} searches failed`,
  )
  return { engine, ...underLoad, copy, drain }
}

async function start(bench: Bench, engine: string, { meilisearch }: MovesOptions) {
  const address = `127.0.0.1:${await freePort()}`
  const token = 'a-token-for-operators'
  const config = join(bench.folder, `moves-${engine}.yaml`)
  writeFileSync(config, `operator:\n  address: ${address}\n  token: ${token}\nlog:\n  level: error\n`)
  const args = ['--config', config, '--nodes', '2']
  const server = await startUp(bench, `moves-${engine}`, {
    args,
    ...(meilisearch === undefined ? {} : { meilisearch }),
  })
  const operator: Operator = { url: `http://${address}`, token }
  return { server, operator, config: ['--config', config, '--data-dir', join(bench.folder, `moves-${engine}`)] }
}

async function moveTo(
  operator: Operator,
  index: string,
  to: string,
  step: MoveStep = 'keeping_back',
): Promise<Timeline> {
  const { id } = await askOperator(operator, 'POST', '/internal/moves', { index, to, keepMs })
  return followMove(operator, id, step)
}

/** The node that does not hold the index, as moves see it. */
async function otherNode(operator: Operator, index: string): Promise<string> {
  const nodes: readonly { readonly id: string }[] = (await askOperator(operator, 'GET', '/_miroir/nodes')).results
  const { shard } = await askOperator(operator, 'GET', `/_miroir/shards?index=${index}`)
  const holders = Object.values(shard['0'] as Record<string, readonly string[]>).flat()
  const other = nodes.find(({ id }) => !holders.includes(id))
  if (other === undefined) throw new Error(`every node holds ${index}`)
  return other.id
}

/** Moves the quiet index, and takes it back by undoing; then once more, so that the engines' code is warm. */
async function measureCopy(
  server: Running,
  operator: Operator,
  { documents, indexing }: { readonly documents: number; readonly indexing: number },
): Promise<MovesResult['copy']> {
  const to = await otherNode(operator, 'books')
  let found: MovesResult['copy'] | undefined
  for (let round = 0; round < 2; round += 1) {
    const before = cpuOf(server)
    const moved = await moveTo(operator, 'books', to, 'catching_up')
    const cpuMs = cpuOf(server) - before
    const { from, to: end } = lasted(moved, 'copying')
    const { copy: kind, byteCount } = moved.move.progress
    const ms = end - from
    await followMove(operator, moved.id, 'keeping_back')
    await undo(operator, moved.id)
    found = {
      ...{ kind, ms, indexing },
      megabytesPerSecond: byteCount === undefined ? null : byteCount / 1_000 / ms,
      megabytesPerCpuSecond: byteCount === undefined ? null : byteCount / 1_000 / cpuMs,
      documentsPerSecond: (documents * 1_000) / ms,
      ratio: (documents * 1_000) / ms / indexing,
    }
  }
  if (found === undefined) throw new Error('nothing was measured')
  return found
}

const cpuOf = ({ pid }: Running): number => [...cpuMsByPart(pid).values()].reduce((sum, ms) => sum + ms, 0)

async function undo(operator: Operator, id: string): Promise<number> {
  const askedAt = performance.now()
  await askOperator(operator, 'POST', `/internal/moves/${id}/undo`)
  await followMove(operator, id, 'undone')
  return performance.now() - askedAt
}

async function measureUnderLoad(
  server: Running,
  operator: Operator,
  corpus: Corpus,
  { documents, seconds, rates }: MovesOptions,
  say: Say,
): Promise<Omit<MovesResult, 'engine' | 'copy' | 'drain'>> {
  const to = await otherNode(operator, 'books')
  const load = new MoveLoad(server, 'books', corpus, documents)
  load.start(rates)
  await pause(seconds * 1_000)
  const beganAt = performance.now()
  const moved = await moveTo(operator, 'books', to)
  const endedAt = performance.now()
  await pause(1_000)
  const undoMs = await undo(operator, moved.id)
  await pause(1_000)
  await load.stop()
  await ended(server, load.lastTask)
  const wrong = await compare(server, load, documents)
  await load.close()

  const between = (samples: readonly Sample[], from: number, until: number) =>
    samples.filter(({ at, tookMs }) => at + tookMs >= from && at < until).map(({ tookMs }) => tookMs)
  const p99 = (from: number, until: number) => quantile(between(load.searches, from, until), 0.99)
  const [before, during] = [p99(0, beganAt), p99(beganAt, endedAt)]
  const delays = (from: number, until: number) => between(load.delays, from, until)
  const switching = lasted(moved, 'switching')
  const atSwitch = Math.max(...delays(switching.from, switching.to))
  const delayDuring = median(delays(beganAt, switching.from))
  const result = {
    failures: load.failures.slice(0, 10),
    failed: load.failures.length,
    searches: load.searches.length,
    writes: load.written.size,
    wrong,
    searchMsP99: { before, during, ratio: during / before },
    delayMs: {
      before: median(delays(0, beganAt)),
      during: delayDuring,
      atSwitch,
      added: atSwitch - quantile(delays(beganAt, switching.from), 0.9),
    },
    stepMs: stepTimes(moved),
    undoMs,
  }
  say(
    `under load: ${result.failed} of ${result.searches + result.writes} requests failed, ${wrong.lost} documents lost, ${wrong.extra} extra; search p99 ${before.toFixed(1)} ms before, ${during.toFixed(1)} ms during`,
  )
  say(
    `write to search: ${result.delayMs.before.toFixed(0)} ms before, ${delayDuring.toFixed(0)} ms during, ${atSwitch.toFixed(0)} ms at the switch; undone in ${Math.round(undoMs)} ms`,
  )
  return result
}

function stepTimes({ steps }: Timeline): Readonly<Record<string, number>> {
  const times = steps.slice(0, -1).map(({ step, at }, place) => [step, Math.round(steps[place + 1]!.at - at)])
  return Object.fromEntries(times)
}

/** Every document against what was written last. */
async function compare(server: Running, load: MoveLoad, documents: number): Promise<MovesResult['wrong']> {
  const body = JSON.stringify({ fields: ['id', 'serial'], limit: 10_000_000 })
  const { results } = await call(server, 'POST', '/indexes/books/documents/fetch', body)
  const held = new Map<number, number | undefined>(
    results.map(({ id, serial }: { id: number; serial?: number }) => [id, serial]),
  )
  let lost = 0
  for (let id = 0; id < documents; id += 1) if (!load.written.has(id) && !held.has(id)) lost += 1
  for (const [id, serial] of load.written) if (held.get(id) !== serial) lost += 1
  const extra = [...held.keys()].filter((id) => id >= documents && !load.written.has(id)).length
  return { lost, extra: extra + results.length - held.size }
}

async function measureDrain(
  server: Running,
  operator: Operator,
  config: readonly string[],
  small: number,
): Promise<MovesResult['drain']> {
  const home = await otherNode(operator, 'books')
  const payload = new Corpus(2).payload(0, smallDocuments)
  let last = 0
  // New indexes go to the node with the fewest: about half of them come to lie on each of two.
  for (let number = 0; number < 2 * small; number += 1) {
    const path = `/indexes/small${number}/documents?primaryKey=id`
    last = (await call(server, 'POST', path, payload, 'application/x-ndjson')).taskUid
  }
  await ended(server, last)
  let failed = 0
  let isOver = false
  const searching = (async () => {
    for (let number = 0; !isOver; number = (number + 1) % (2 * small)) {
      const found = await call(server, 'POST', `/indexes/small${number}/search`, '{"limit":1}').catch(() => undefined)
      if (found?.hits.length !== 1) failed += 1
      await pause(10)
    }
  })()
  const drainedAt = performance.now()
  await run(process.execPath, [launcher, 'node', 'drain', home, ...config])
  let busyMax = 0
  let moved = new Set<string>()
  for (let quiet = 0; quiet < 50; quiet += 1) {
    await pause(100)
    const { results } = await askOperator(operator, 'GET', '/internal/moves?limit=1000')
    const leaving = results.filter((move: { source: string }) => move.source === home)
    const busy = leaving.filter(({ step }: { step: string }) => busySteps.includes(step)).length
    busyMax = Math.max(busyMax, busy)
    const done = leaving.filter(({ step }: { step: string }) => doneSteps.includes(step))
    if (done.length > moved.size || busy > 0) quiet = 0
    moved = new Set(done.map(({ index }: { index: string }) => index))
    if (moved.size >= small && busy === 0) break
  }
  const ms = performance.now() - drainedAt
  isOver = true
  await searching
  await run(process.execPath, [launcher, 'node', 'undrain', home, ...config])
  return { indexes: moved.size, ms, busyMax, failed }
}

const busySteps = ['copying', 'catching_up', 'verifying', 'switching']
const doneSteps = ['keeping_back', 'closing', 'closed']
