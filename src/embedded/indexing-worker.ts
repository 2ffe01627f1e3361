/** Worker thread: writes indexes. One batch at a time, each in one synced transaction; no other thread writes to the index then. */
import { mkdir, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { parseFilter } from '../api/filter.ts'
import { assert } from '../lib/assert.ts'
import { collectGarbage } from '../lib/heap.ts'
import { SharedProgress } from './batch-progress.ts'
import type { TableSizes } from './batch-record.ts'
import { EmbeddingThread } from './embedders/embedding-thread.ts'
import type { BatchOutcome, BatchTask } from './index-batch.ts'
import { type IndexEnv, openIndexEnv, tableBytes } from './index-env.ts'
import { adoptIndex, BatchAborted, runBatch, type WriterDeps } from './index-writer.ts'
import { IndexSeals } from './integrity/index-seals.ts'
import { sealPages } from './integrity/page-sums.ts'
import { PayloadReader } from './meta-env.ts'
import { evaluateFilter } from './search/filter-evaluation.ts'
import {
  type CompactionSizes,
  errorReply,
  type IndexingMessage,
  type IndexingSettings,
  type IndexingValue,
  type Reply,
  type SentTask,
} from './worker-messages.ts'

const port = parentPort
assert(port !== null, 'the indexing worker runs as a worker thread')
const settings = workerData as IndexingSettings
const abort = new Int32Array(settings.abort)
const envs = new Map<string, IndexEnv>()
const seals = new IndexSeals()

const deps: WriterDeps = {
  matchFilter: (reader, filter) => {
    const parsed = parseFilter(filter, 'invalid_document_filter')
    return parsed === null ? reader.documentIds : evaluateFilter(reader, parsed, 'invalid_document_filter')
  },
  isAborted: () => Atomics.load(abort, 0) !== 0,
  now: Date.now,
  progress: new SharedProgress(settings.progress),
  postingBytesMax: settings.postingBytesMax,
  embedding: new EmbeddingThread({ allowedNetworks: settings.allowedNetworks }),
}

function envOf(folder: string): IndexEnv {
  let env = envs.get(folder)
  if (env === undefined) {
    env = openIndexEnv(folder, 'write')
    envs.set(folder, env)
  }
  return env
}

const payloadReader = new PayloadReader(settings.metaFolder)

function received(task: SentTask): BatchTask {
  const { payload, uid } = task
  if (payload === null || payload.kind === 'file') return { ...task, payload }
  return {
    ...task,
    payload: {
      kind: 'inline',
      get bytes() {
        const bytes = payloadReader.read(uid)
        assert(bytes !== undefined, `task ${uid} waits and its payload is not stored`)
        return bytes
      },
    },
  }
}

/** The copy is durable when it resolves. */
async function compact(folder: string, target: string): Promise<CompactionSizes> {
  await mkdir(target, { recursive: true })
  await envOf(folder).root.backup(target, true)
  const [before, after] = [join(folder, 'data.mdb'), join(target, 'data.mdb')]
  for (const path of [after, target]) {
    const handle = await open(path, 'r')
    await handle.sync()
    await handle.close()
  }
  await sealPages(target)
  return { bytesBefore: (await stat(before)).size, bytesAfter: (await stat(after)).size }
}

function sizesOf(before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>): TableSizes {
  return Object.fromEntries(Object.entries(after).map(([name, bytes]) => [name, [before[name] ?? 0, bytes]]))
}

async function perform(message: IndexingMessage): Promise<IndexingValue> {
  if (message.kind === 'forget') {
    const env = envs.get(message.folder)
    envs.delete(message.folder)
    await seals.seal(message.folder)
    await env?.root.close()
    if (envs.size === 0) await payloadReader.close()
    return null
  }
  if (message.kind === 'hand-over') {
    seals.drop(message.folder)
    return null
  }
  if (message.kind === 'compact') return compact(message.folder, message.target)
  seals.note(message.folder)
  const env = envOf(message.folder)
  // Another thread may have written last.
  env.root.resetReadTxn()
  const before = tableBytes(env)
  const sized = (outcome: BatchOutcome) => ({ ...outcome, sizes: sizesOf(before, tableBytes(env)) })
  if (message.kind === 'adopt') return sized(adoptIndex(env, message.adoption))
  try {
    return sized(runBatch(env, message.tasks.map(received), deps))
  } catch (error) {
    if (error instanceof BatchAborted) return 'aborted'
    throw error
  }
}

/** Quiet time after which memory is given back. */
const restMs = 1000
/** Quiet time after which checksums are brought up to date. */
const sealAfterMs = 1000
let rest: NodeJS.Timeout | undefined
let sealing: NodeJS.Timeout | undefined
let waitingCount = 0
/** One message at a time: what reads a file's pages must not meet a batch that writes them. */
let last: Promise<void> = Promise.resolve()

port.on('message', (message: IndexingMessage) => {
  clearTimeout(rest)
  clearTimeout(sealing)
  rest = setTimeout(collectGarbage, restMs)
  waitingCount += 1
  last = last
    .then(() => perform(message))
    .then(
      (value) => port.postMessage({ call: message.call, kind: 'done', value } satisfies Reply<IndexingValue>),
      (error: unknown) => port.postMessage(errorReply(message.call, error)),
    )
    .then(() => {
      waitingCount -= 1
      sealing = setTimeout(() => {
        last = last.then(() => seals.sealAll(() => waitingCount > 0))
      }, sealAfterMs)
    })
})
