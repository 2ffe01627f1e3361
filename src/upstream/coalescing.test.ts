import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coalescing, type ReadIdentity, readFingerprint } from './coalescing.ts'

const options = { enabled: true, windowMs: 50, maxSubscribers: 1_000, maxPendingQueries: 10 }

/** Reads that end when they are told to. */
function reads(more: Partial<typeof options> = {}) {
  let now = 0
  const runs: { readonly signal: AbortSignal; end(answer: string): void; fail(reason: string): void }[] = []
  const coalescing = new Coalescing<string>({ ...options, ...more }, { monotonic: () => now })
  const run = (signal: AbortSignal) =>
    new Promise<string>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      runs.push({ signal, end: resolve, fail: (reason) => reject(new Error(reason)) })
    })
  const share = (fingerprint: string, signal = new AbortController().signal) =>
    coalescing.share(fingerprint, signal, run)
  const pass = (ms: number) => {
    now += ms
  }
  return { coalescing, runs, share, pass }
}

/** Lets promises that are settled tell so. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

const identity: ReadIdentity = {
  project: 'p1',
  credential: 'key-1',
  forcedFilter: null,
  operation: 'POST /indexes/{uid}/search',
  indexes: [{ id: 'i1', generation: 1, settings: 4 }],
  news: 2,
  routes: 7,
  query: { q: 'dune', limit: 3 },
}

test('five hundred identical reads at once are one for the nodes, and all get its answer', async () => {
  const { share, runs, coalescing } = reads()
  const asked = Array.from({ length: 500 }, () => share('dune'))
  await turn()
  assert.equal(runs.length, 1)
  runs[0]!.end('hits')
  assert.deepEqual(new Set(await Promise.all(asked)), new Set(['hits']))
  await turn()
  assert.equal(coalescing.size, 0, 'nothing is kept')
  void share('dune')
  assert.equal(runs.length, 2)
})

test('reads that differ in anything that changes what may be seen never share an answer', () => {
  const others: readonly Partial<ReadIdentity>[] = [
    { project: 'p2' },
    { credential: 'key-2' },
    { forcedFilter: 'user = 1' },
    { operation: 'GET /indexes/{uid}/search' },
    { indexes: [{ id: 'i1', generation: 2, settings: 4 }] },
    { indexes: [{ id: 'i1', generation: 1, settings: 5 }] },
    { news: 3 },
    { routes: 8 },
    { query: { q: 'dune', limit: 4 } },
    { query: { q: 'dune', limit: '3' } },
  ]
  const all = [identity, ...others.map((other) => ({ ...identity, ...other }))].map(readFingerprint)
  assert.equal(new Set(all).size, all.length)
  assert.equal(readFingerprint({ ...identity, query: { limit: 3, q: 'dune' } }), all[0])
})

test('a read that began longer ago than the window is not joined', async () => {
  const { share, runs, pass } = reads()
  void share('dune')
  pass(50)
  void share('dune')
  assert.equal(runs.length, 1)
  pass(1)
  void share('dune')
  assert.equal(runs.length, 2)
})

test('when the shared read fails, each that joined it is run once by itself', async () => {
  const { share, runs } = reads()
  const first = share('dune')
  const others = [share('dune'), share('dune')]
  runs[0]!.fail('a node died')
  await assert.rejects(first, /a node died/)
  await turn()
  assert.equal(runs.length, 3)
  runs[1]!.end('one')
  runs[2]!.fail('again')
  assert.equal(await others[0], 'one')
  await assert.rejects(others[1]!, /again/)
})

test('a read goes on while anybody waits for it, and ends when all have gone', async () => {
  const { share, runs } = reads()
  const clients = [new AbortController(), new AbortController(), new AbortController()]
  const asked = clients.map(({ signal }) => share('dune', signal))
  clients[0]!.abort(new Error('gone'))
  clients[1]!.abort(new Error('gone'))
  await assert.rejects(asked[0]!, /gone/)
  await assert.rejects(asked[1]!, /gone/)
  assert.equal(runs[0]!.signal.aborted, false)
  clients[2]!.abort(new Error('gone'))
  await assert.rejects(asked[2]!, /gone/)
  assert.equal(runs[0]!.signal.aborted, true)
  assert.equal(runs.length, 1)
})

test('beyond its bounds, and when it is turned off, every read is run', async () => {
  const full = reads({ maxSubscribers: 1, maxPendingQueries: 2 })
  for (const fingerprint of ['a', 'a', 'a', 'b', 'c', 'c']) void full.share(fingerprint)
  assert.equal(full.runs.length, 5)
  assert.equal(full.coalescing.size, 2)
  const off = reads({ enabled: false })
  for (let count = 0; count < 3; count += 1) void off.share('a')
  assert.equal(off.runs.length, 3)
})
