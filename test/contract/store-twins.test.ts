import assert from 'node:assert/strict'
import { after, afterEach, test } from 'node:test'
import type { Operation } from '../../src/journal/change.ts'
import { type Random, seededRandom } from '../../src/lib/random.ts'
import { line, outcomeAt, put, refusal, World } from './journal-world.ts'
import { memorySource, postgresSource, standingClock } from './stores.ts'

const sources = [memorySource(), await postgresSource()]
const seeds = [100, 101, 102]
const stepCount = 120
const uids = ['a', 'b', 'c', 'd']

afterEach(async () => {
  for (const source of sources) await source.closeStores()
})
after(async () => {
  for (const source of sources) await source.close()
})

// The simulator trusts the twin in memory: whatever it answers, PostgreSQL must answer.
for (const seed of seeds) {
  test(`any sequence of calls has the same answers in memory and in PostgreSQL (seed ${seed})`, async () => {
    const transcripts = []
    for (const source of sources) {
      const clock = standingClock()
      const world = await World.open(await source.open(seed, clock))
      transcripts.push(await play(world, seed, clock.move))
    }
    const [inMemory, inPostgres] = transcripts
    assert(inMemory && inPostgres)
    inMemory.forEach((step, at) => {
      assert.deepEqual(inPostgres[at], step, `seed ${seed}, step ${at}`)
    })
  })
}

async function play(world: World, seed: number, moveClock: () => void): Promise<unknown[]> {
  const random = seededRandom(seed)
  const transcript: unknown[] = []
  for (let step = 0; step < stepCount; step += 1) {
    moveClock()
    transcript.push(random.integer(3) === 0 ? await deliverSome(world, random) : await appendSome(world, random))
    transcript.push(await picture(world))
  }
  return transcript
}

async function appendSome(world: World, random: Random) {
  const pick = <T>(values: readonly T[]): T => {
    const value = values[random.integer(values.length)]
    assert(value !== undefined)
    return value
  }
  const uid = pick(uids)
  const other = pick(uids.filter((one) => one !== uid))
  const tasks = [random.integer(40), random.integer(80)]
  const operations: readonly Operation[] = [
    put,
    put,
    { ...put, primaryKey: pick(['id', 'sku']) },
    { kind: 'settings', settings: { stopWords: [pick(uids)], embedders: { [pick(uids)]: { source: 'rest' } } } },
    { kind: 'settings', settings: { stopWords: null, embedders: { [pick(uids)]: null } } },
    { kind: 'documents-clear' },
    { kind: 'documents-delete', provided: 2 },
    { kind: 'index-create', primaryKey: pick([null, 'id']) },
    { kind: 'index-delete' },
    { kind: 'index-update', primaryKey: pick([null, 'sku']), uid: pick([null, other]) },
    { kind: 'index-swap', swaps: [{ indexes: [uid, other], rename: random.integer(3) === 0 }] },
    { kind: 'task-cancel', filter: '?x', tasks },
    { kind: 'task-delete', filter: '?x', tasks },
    { kind: 'dump' },
  ]
  const operation = pick(operations)
  const isOfProject = ['index-swap', 'task-cancel', 'task-delete', 'dump'].includes(operation.kind)
  const request = world.request(isOfProject ? null : uid, operation, {
    payload: operation.kind === 'documents-put' ? { kind: 'inline', bytes: line } : null,
    mayCreateIndex: random.integer(4) > 0,
    refusal: random.integer(8) === 0 ? refusal : null,
    inferred: pick([{ primaryKey: 'id' }, { refusal }]),
    customMetadata: pick([null, 'mark']),
  })
  const { kind, ...outcome } = await world.store.journal.append(request)
  return { kind, ...outcome, request: operation.kind }
}

async function deliverSome(world: World, random: Random) {
  const lanes = await world.lanes()
  const lane = lanes[random.integer(Math.max(1, lanes.length))]
  if (lane === undefined) return 'nothing to deliver'
  const { laneJournal } = world.store
  const { placement, head } = lane
  const through = placement.applied + 1 + random.integer(head - placement.applied)
  const changes = await laneJournal.read(placement.index, placement.applied, through - placement.applied, 1e9)
  const positions = changes.map(({ change }) => change.position)
  const sent = await laneJournal.markSent(world.lease, placement.index, positions, 1_000)
  const isSentOnly = random.integer(5) === 0
  const outcomes = changes
    .filter(({ change }) => change.refusal === null && change.status !== 'canceled')
    .map(({ change: { position, operation } }) => ({
      ...outcomeAt(position, operation.kind !== 'index-delete' && random.integer(6) === 0),
      batchKey: `${placement.index}:${through}`,
    }))
  const done = isSentOnly || (await laneJournal.advance(world.lease, placement, through, outcomes, null))
  return {
    sent,
    done,
    delivered: changes.map(({ settings, primaryKey, change }) => ({ settings, primaryKey, change })),
  }
}

/** All that anybody can see, versions of the catalogue left out: an event without a change is allowed. */
async function picture(world: World) {
  const { journal, catalogue } = world.store
  const { id } = world.project
  const all = { filter: {}, limit: 1_000, reverse: true }
  const { indexes, placements } = await catalogue.snapshot()
  const states = await Promise.all(uids.map((uid) => journal.writeState(id, uid)))
  return {
    states,
    indexes: [...indexes].sort((a, b) => (a.uid < b.uid ? -1 : 1)),
    placements: [...placements].sort((a, b) => (a.physicalUid < b.physicalUid ? -1 : 1)),
    lanes: await world.lanes(),
    tasks: await journal.tasks(id, all),
    batches: await journal.batches(id, all),
    finished: await journal.finishedAfter(id, 0, 1_000),
    busy: await journal.busyIndexes(id),
  }
}
