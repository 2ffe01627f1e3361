/** What it costs a replica to catch up: requests to its node, counted, since time depends on the machine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Engine, EngineReply } from '../../src/engine/engine.ts'
import type { Operation } from '../../src/journal/change.ts'
import { openMemoryStore } from '../../src/journal/open-memory-store.ts'
import type { LaneJournal } from '../../src/journal/ports.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Spread } from '../../src/store/catalogue.ts'
import { engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'

const changeCount = 1_000
/** Ids are below this, so that changes meet the documents of others. */
const idMax = 300
/** About one change in so many depends on the state of the index, or changes settings. */
const rareEvery = 50
const signal = () => AbortSignal.timeout(60_000)
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + 120_000; !(await isSo()); ) {
    assert.ok(Date.now() < ends, 'it takes too long')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function answered<T>(reply: EngineReply<T>): T {
  must(reply.kind === 'answered', `the node answers: ${JSON.stringify(reply)}`)
  return reply.value
}

const away: EngineReply<never> = { kind: 'failed', reason: 'the node is away' }

/** Counts calls by name; while `isAway` says so, nobody answers. */
function counted<T extends object>(target: T, counts: Map<string, number>, isAway: () => boolean = () => false): T {
  return new Proxy(target, {
    get(on, name) {
      const member: unknown = Reflect.get(on, name)
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        counts.set(String(name), (counts.get(String(name)) ?? 0) + 1)
        return isAway() ? Promise.resolve(away) : Reflect.apply(member, on, args)
      }
    },
  })
}

const sumOf = (counts: ReadonlyMap<string, number>, names: readonly string[]) =>
  names.reduce((sum, name) => sum + (counts.get(name) ?? 0), 0)

interface Write {
  readonly operation: Operation
  readonly lines: readonly unknown[]
}

function randomWrite(random: Random, serial: number, isPlain: boolean): Write {
  const ids = Array.from({ length: 1 + random.integer(3) }, () => random.integer(idMax))
  const lines = ids.map((id) => ({ id, year: random.integer(20), [`field${serial % 3}`]: `text ${serial}` }))
  const distinct = new Set(ids).size
  const written = (more: object): Operation => ({ ...put, received: ids.length, distinct, ...more })
  const dice = random.integer(100)
  if (isPlain || dice < 50) return { operation: written({}), lines }
  if (dice < 80) return { operation: written({ merge: true }), lines }
  return { operation: { kind: 'documents-delete', provided: ids.length }, lines: ids.map(String) }
}

function rareWrite(random: Random, serial: number): Write {
  const lines = [{ id: random.integer(idMax), year: 1 }]
  switch (random.integer(3)) {
    case 0:
      return { operation: { kind: 'documents-delete-by-filter', filter: `year = ${random.integer(20)}` }, lines: [] }
    case 1:
      return { operation: { ...put, received: 1, distinct: 1, skipCreation: true }, lines }
    default:
      return { operation: { kind: 'settings', settings: { stopWords: [`word${serial}`] } }, lines: [] }
  }
}

interface Layout {
  readonly name: string
  readonly spread: Spread | null
  /** Requests to the node that write, and those that read documents, at most. */
  readonly requestsMax: number
  /** Statements of the lane that its journal serves, at most. */
  readonly callsMax: number
}

const layouts: readonly Layout[] = [
  { name: 'spread', spread: { shards: 4, replicationFactor: 2, exactTies: true }, requestsMax: 180, callsMax: 120 },
  { name: 'plain', spread: null, requestsMax: 60, callsMax: 120 },
]

for (const source of engineSources()) {
  for (const { name, spread, requestsMax, callsMax } of layouts) {
    test(`${source.name}: a replica of a ${name} index that was away for ${changeCount} small changes takes them in bundles`, async (t) => {
      const seed = Number(process.env.CATCH_UP_SEED ?? 11)
      const random = seededRandom(seed)
      const nodes = await Promise.all(
        (spread === null ? ['n1'] : ['n1', 'n0']).map(async (id) => ({ id, ...(await source.start()) })),
      )
      const store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
      const { catalogue, journal } = store
      const organisation = await catalogue.createOrganisation('Acme')
      const project = await catalogue.createProject({ organisation: organisation.id, name: 'books' })
      for (const { id } of nodes)
        await catalogue.putNode({ id, engine: 'embedded', url: `http://${id}`, region: 'local', key: null })
      let isAway = false
      const requests = new Map<string, number>()
      const engines = new Map<string, Engine>(
        nodes.map(({ id, engine }) => [id, id === 'n1' ? counted<Engine>(engine, requests, () => isAway) : engine]),
      )
      const calls = new Map<string, number>()
      const laneJournal: LaneJournal = counted(store.laneJournal, calls)
      const replication = startReplication({
        worker: 'w',
        journal: laneJournal,
        engineOf: ({ id }) => engines.get(id)!,
        clock: systemClock,
        random: seededRandom(2),
        log: silent,
        metrics: silentLaneMetrics,
        auditMs: 600_000,
      })
      const append = async ({ operation, lines }: Write) => {
        const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
        const outcome = await journal.append({
          ...{ project: project.id, uid: 'books', operation, customMetadata: null, mayCreateIndex: true },
          payload: lines.length === 0 ? null : { kind: 'inline', bytes },
          refusal: null,
          inferred: { primaryKey: 'id' },
          spread,
        })
        must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
        return outcome.task
      }
      const ended = (task: number) =>
        until(async () => {
          const status = (await journal.task(project.id, task))?.status
          assert.notEqual(status, 'failed')
          return status === 'succeeded'
        })
      try {
        const filterable: Write = {
          operation: { kind: 'settings', settings: { filterableAttributes: ['year'] } },
          lines: [],
        }
        await ended(await append(filterable))
        await ended(await append({ operation: { ...put, received: 1, distinct: 1 }, lines: [{ id: 0, year: 0 }] }))
        isAway = true
        let last = 0
        const written = new Set([0])
        for (let serial = 1; serial <= changeCount; serial += 1) {
          const isRare = spread !== null && random.integer(rareEvery) === 0
          const write = isRare ? rareWrite(random, serial) : randomWrite(random, serial, spread === null)
          if (spread === null) for (const { id } of write.lines as { readonly id: number }[]) written.add(id)
          last = await append(write)
        }
        if (spread !== null) await ended(last)
        requests.clear()
        calls.clear()
        isAway = false
        const behind = async () => (await store.laneJournal.lanesBehind('n1', 10)).length > 0
        await until(async () => !(await behind()))
        t.diagnostic(JSON.stringify({ seed, requests: [...requests], calls: [...calls] }))
        const [placement] = (await catalogue.snapshot()).placements
        must(placement !== undefined, 'the index is placed')
        const held = await Promise.all(
          nodes.map(async ({ engine }) => {
            const { results } = answered(await engine.fetchDocuments(placement.physicalUid, { limit: 1_000 }, signal()))
            return results.map((document) => JSON.stringify(Object.entries(document).sort())).sort()
          }),
        )
        for (const other of held) assert.deepEqual(other, held[0])
        if (spread === null) assert.equal(held[0]?.length, written.size)
        assert.ok(
          sumOf(requests, ['putDocuments', 'deleteDocuments', 'fetchDocuments', 'applySettings']) <= requestsMax,
        )
        assert.ok(sumOf(calls, ['read', 'markSent', 'advance', 'recordPartial']) <= callsMax)
      } finally {
        await replication.stop()
        for (const node of nodes) await node.stop()
      }
    })
  }
}
