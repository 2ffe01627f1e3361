/**
 * Ingest through the journal against the same engine alone, interleaved: documents per second, time from 202 to
 * searchable on an idle server, and the same while another project's backlog waits on the node.
 */
import { join } from 'node:path'
import { freePort } from '../src/lib/loopback-port.ts'
import { Corpus } from './corpus.ts'
import { cpuMsByPart, type ServerPart } from './cpu-time.ts'
import { type Bench, median, type Side, until } from './parts.ts'
import { call, createIndex, ingest, type SearchServer, visibleAfterMs } from './search-server.ts'

export interface IngestOptions {
  /** A real Meilisearch binary; absent = the embedded engine. */
  readonly meilisearch?: string
  readonly documents: number
  readonly rounds: number
  readonly backlogBytes: number
}

export interface IngestResult {
  readonly engine: 'embedded' | 'meilisearch'
  readonly documentsPerSecond: { readonly journal: number; readonly alone: number; readonly ratio: number }
  /** Milliseconds of CPU time per 1,000 documents. */
  readonly cpuMsPerThousand: Readonly<Record<'journal' | 'alone', Partial<Record<ServerPart, number>>>>
  readonly visibleMsP50: { readonly journal: number; readonly alone: number; readonly added: number }
  readonly behindBacklogMsP50: number
  /** Of the same index just before the backlog came. */
  readonly idleMsP50: number
  readonly behindBacklogRatio: number
  readonly backlogBytes: number
}

/** The server with the process that it runs in. */
export type Running = SearchServer & { readonly pid: number }

const launcher = join(import.meta.dirname, '..', 'bin', 'flapjack')
const key = 'a-master-key-for-the-bench'
const payloadDocuments = 5_000
const visibleSamples = 15

export async function startUp(
  bench: Bench,
  name: string,
  options: { readonly meilisearch?: string; readonly args?: readonly string[]; readonly side?: Side } = {},
): Promise<Running> {
  const port = await freePort()
  const args = [
    'up',
    '--empty',
    '--data-dir',
    join(bench.folder, name),
    '--http-addr',
    `127.0.0.1:${port}`,
    '--master-key',
    key,
  ]
  if (options.meilisearch !== undefined) args.push('--engine', 'meilisearch', '--engine-bin', options.meilisearch)
  const { side } = options
  const pid = bench.spawn(
    process.execPath,
    [launcher, ...args, ...(options.args ?? [])],
    side === undefined ? {} : { side },
  )
  const url = `http://127.0.0.1:${port}`
  await until(`${url}/health`, 60_000)
  return { name, url, key, pid }
}

export async function startAlone(bench: Bench, meilisearch: string | undefined): Promise<Running> {
  const port = await freePort()
  const folder = join(bench.folder, `alone-${meilisearch === undefined ? 'embedded' : 'meilisearch'}`)
  const address = ['--http-addr', `127.0.0.1:${port}`, '--master-key', key]
  const pid =
    meilisearch === undefined
      ? bench.spawn(process.execPath, [launcher, 'engine', '--data-dir', folder, ...address])
      : bench.spawn(
          meilisearch,
          ['--db-path', folder, ...address, '--no-analytics', '--max-indexing-memory', '256MiB', '--log-level', 'WARN'],
          { cwd: bench.folder },
        )
  const url = `http://127.0.0.1:${port}`
  await until(`${url}/health`, 60_000)
  return { name: 'alone', url, key, pid }
}

export async function benchIngest(
  bench: Bench,
  options: IngestOptions,
  say: (line: string) => void,
): Promise<IngestResult> {
  const engine = options.meilisearch === undefined ? 'embedded' : 'meilisearch'
  const journal = await startUp(
    bench,
    `up-${engine}`,
    options.meilisearch === undefined ? {} : { meilisearch: options.meilisearch },
  )
  const alone = await startAlone(bench, options.meilisearch)
  const corpus = new Corpus(1)
  const payloads: string[] = []
  for (let first = 0; first < options.documents; first += payloadDocuments)
    payloads.push(corpus.payload(first, Math.min(payloadDocuments, options.documents - first)))

  const speeds: Record<'journal' | 'alone', number[]> = { journal: [], alone: [] }
  const visible: Record<'journal' | 'alone', number[]> = { journal: [], alone: [] }
  const cpuMs: Record<'journal' | 'alone', Partial<Record<ServerPart, number>>> = { journal: {}, alone: {} }
  for (let round = 0; round < options.rounds; round += 1) {
    const pairs = [
      ['journal', journal],
      ['alone', alone],
    ] as const
    for (const [side, server] of round % 2 === 0 ? pairs : [...pairs].reverse()) {
      const uid = `round${round}`
      await createIndex(server, uid)
      const cpuBefore = cpuMsByPart(server.pid)
      const speed = await ingest(server, uid, payloads, options.documents)
      for (const [part, spent] of cpuMsByPart(server.pid)) {
        const sum = cpuMs[side][part] ?? 0
        const ms = spent - (cpuBefore.get(part) ?? 0)
        cpuMs[side][part] = sum + (ms * 1_000) / options.documents / options.rounds
      }
      speeds[side].push(speed)
      for (let sample = 0; sample < visibleSamples; sample += 1)
        visible[side].push(await visibleAfterMs(server, uid, options.documents + sample))
      say(
        `${engine} ${side} round ${round}: ${Math.round(speed)} documents/s, visible after ${median(visible[side]).toFixed(1)} ms`,
      )
    }
  }

  // Many tasks of another index, so that a fair sender can let the small one in between.
  await createIndex(journal, 'backlog')
  await createIndex(journal, 'small')
  await visibleAfterMs(journal, 'small', 0)
  const before: number[] = []
  for (let sample = 1; sample <= visibleSamples; sample += 1)
    before.push(await visibleAfterMs(journal, 'small', sample))
  let sentBytes = 0
  let count = 0
  for (let first = 0; sentBytes < options.backlogBytes; first += payloadDocuments) {
    // Other ids each time: what an engine holds already costs it next to nothing.
    const again = payloads[(first / payloadDocuments) % payloads.length]!
    let id = first
    const payload = again.replaceAll(/^\{"id":\d+/gm, () => `{"id":${id++}`)
    await call(journal, 'POST', '/indexes/backlog/documents', payload, 'application/x-ndjson')
    count += 1
    sentBytes += payload.length
  }
  const behind: number[] = []
  for (let sample = 1; sample <= visibleSamples; sample += 1)
    behind.push(await visibleAfterMs(journal, 'small', visibleSamples + sample))
  const waiting = await call(journal, 'GET', '/tasks?indexUids=backlog&statuses=enqueued,processing&limit=1')
  say(
    `${engine}: behind ${Math.round(sentBytes / 1e6)} MB (${waiting.total} of its ${count} tasks still wait at the end): ${median(behind).toFixed(1)} ms, before it ${median(before).toFixed(1)} ms, first ${behind[0]?.toFixed(0)} ms`,
  )

  const [through, straight] = [median(speeds.journal), median(speeds.alone)]
  const [shown, idle] = [median(visible.journal), median(visible.alone)]
  return {
    engine,
    documentsPerSecond: { journal: through, alone: straight, ratio: through / straight },
    cpuMsPerThousand: cpuMs,
    visibleMsP50: { journal: shown, alone: idle, added: shown - idle },
    behindBacklogMsP50: median(behind),
    idleMsP50: median(before),
    behindBacklogRatio: median(behind) / median(before),
    backlogBytes: sentBytes,
  }
}
