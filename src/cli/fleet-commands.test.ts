/** `flapjack node …` and `flapjack index …` over a store in memory. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { openMemoryStore } from '../journal/open-memory-store.ts'
import { systemClock } from '../lib/clock.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { seededRandom } from '../lib/random.ts'
import { rangesText } from './index-view.ts'
import { runCommandLine } from './program.ts'

type MemoryStore = ReturnType<typeof openMemoryStore>

let store: MemoryStore
beforeEach(async () => {
  store = openMemoryStore({ clock: systemClock, random: seededRandom(1) })
  for (const [id, group] of [
    ['n1', 0],
    ['n2', 0],
    ['n3', 0],
    ['n4', 1],
  ] as const) {
    // Nothing listens there.
    await store.catalogue.putNode({
      id,
      group,
      url: 'http://127.0.0.1:1',
      engine: 'embedded',
      region: 'local',
      key: null,
    })
  }
  const organisation = await store.catalogue.createOrganisation('us')
  await store.catalogue.createProject({ organisation: organisation.id, name: 'shop' })
})

/** Runs a command with `--json`. */
async function flapjack(...args: readonly string[]): Promise<{ readonly code: number; readonly answer: Json }> {
  let text = ''
  const stdout = {
    write: (written: string) => {
      text += written
    },
  }
  const never = () => Promise.reject(new Error('not asked for'))
  const code = await runCommandLine({
    args: [...args, '--json'],
    env: {},
    stdout,
    stderr: { write: () => undefined },
    version: '0',
    programs: { up: never, serve: never, engine: never, openStore: async () => store },
    exitOf: () => undefined,
  })
  return { code, answer: text === '' ? null : (JSON.parse(text) as Json) }
}

function listOf(answer: Json | undefined): readonly JsonObject[] {
  assert(Array.isArray(answer))
  return answer.filter(isObject)
}

test('a spread index shows on which nodes its shards are', async () => {
  const creating = flapjack('index', 'create', 'books', '--shards', '8', '--rf', '2', '--primary-key', 'id')
  await applyEverywhere()
  const { code, answer } = await creating
  assert.equal(code, 0)
  assert(isObject(answer))
  assert.deepEqual(answer.spread, { shards: 8, replicationFactor: 2, exactTies: true })
  const replicas = listOf(answer.replicas)
  assert.deepEqual(
    replicas.map(({ node, group }) => [node, group]),
    [
      ['n1', 0],
      ['n2', 0],
      ['n3', 0],
      ['n4', 1],
    ],
  )
  const held = replicas.map(({ shards }) => (Array.isArray(shards) ? shards.length : 0))
  assert.equal(held[0]! + held[1]! + held[2]!, 16)
  assert.equal(held[3], 8)
  const shown = await flapjack('index', 'show', 'books')
  assert.deepEqual(shown.answer, answer)
  const list = listOf((await flapjack('index', 'list', '--project', 'shop')).answer)
  assert.deepEqual(
    list.map(({ uid, primaryKey, nodes }) => [uid, primaryKey, nodes]),
    [['books', 'id', ['n1', 'n2', 'n3', 'n4']]],
  )
  const nodes = listOf((await flapjack('node', 'list')).answer)
  assert.deepEqual(
    nodes.map(({ id, group, isHealthy, replicas: count }) => [id, group, isHealthy, count]),
    [
      ['n1', 0, false, 1],
      ['n2', 0, false, 1],
      ['n3', 0, false, 1],
      ['n4', 1, false, 1],
    ],
  )
})

test('what is not there, or cannot be, has an exit code of its own', async () => {
  assert.equal((await flapjack('index', 'show', 'nothing')).code, 8)
  assert.equal((await flapjack('node', 'show', 'nothing')).code, 8)
  assert.equal((await flapjack('index', 'list', '--project', 'nothing')).code, 8)
  assert.equal((await flapjack('index', 'create', 'a b')).code, 2)
  assert.equal((await flapjack('index', 'create', 'a', '--shards', '0')).code, 2)
  assert.equal((await flapjack('index', 'create', 'a', '--no-exact-ties')).code, 2)
  assert.equal((await flapjack('index', 'create', 'a', '--plain', '--shards', '2')).code, 2)
  assert.equal((await flapjack('node', 'add', 'n9', 'http://127.0.0.1:1')).code, 1)
})

test('the first project is meant where none is named', async () => {
  const organisation = await store.catalogue.createOrganisation('them')
  await store.catalogue.createProject({ organisation: organisation.id, name: 'other' })
  const created = flapjack('index', 'create', 'films', '--plain')
  await applyEverywhere(['n1'])
  assert.equal((await created).code, 0)
  assert.equal(listOf((await flapjack('index', 'list', '--project', 'shop')).answer).length, 1)
  assert.equal(listOf((await flapjack('index', 'list', '--project', 'other')).answer).length, 0)
})

test('a move is planned, begun once, steered and refused where it cannot be', async () => {
  const created = flapjack('index', 'create', 'films', '--plain')
  await applyEverywhere(['n1'])
  assert.equal((await created).code, 0)
  const move = (...args: readonly string[]) => flapjack('index', 'move', 'films', ...args)
  assert.equal((await move('--to', 'n9')).code, 1)
  assert.equal((await move('--to', 'n1')).code, 1)
  assert.equal((await move('--to', 'n2', '--keep', 'long')).code, 2)
  const plan = await move('--to', 'n2', '--dry-run')
  assert(isObject(plan.answer))
  assert.deepEqual([plan.answer.source, plan.answer.target, plan.answer.ahead], ['n1', 'n2', 0])
  assert.deepEqual(listOf((await flapjack('move', 'list')).answer), [])
  const begun = await move('--to', 'n2', '--rate', '1 MB')
  assert(isObject(begun.answer))
  assert.deepEqual([begun.answer.step, begun.answer.source, begun.answer.target], ['planned', 'n1', 'n2'])
  assert.equal((await move('--to', 'n3')).code, 1, 'one move of an index at once')
  assert.equal((await flapjack('move', 'pause', 'films')).code, 0)
  assert.equal((await flapjack('move', 'undo', 'films')).code, 1, 'nothing is switched yet')
  const cancelled = await flapjack('move', 'cancel', String(begun.answer.id))
  assert(isObject(cancelled.answer))
  assert.deepEqual([cancelled.answer.wish, cancelled.answer.isPaused], ['cancel', false])
  assert.equal((await flapjack('move', 'show', 'nothing')).code, 8)
})

test('shards are written as ranges', () => {
  assert.equal(rangesText([0, 1, 2, 5, 7, 8]), '0-2,5,7-8')
  assert.equal(rangesText([]), '')
})

/** What the workers would do: every replica applies the first change, and reports that it succeeded. */
async function applyEverywhere(on?: readonly string[]): Promise<void> {
  const { laneJournal } = store
  const leased = await laneJournal.leaseNodes('test', 60_000)
  const leases = leased.filter(({ node }) => on?.includes(node.id) ?? true)
  for (;;) {
    const lanes = await Promise.all(leases.map(({ node }) => laneJournal.lanesBehind(node.id, 10)))
    if (lanes.every((found) => found.length > 0)) break
    await systemClock.sleep(5)
  }
  for (const lease of leases) {
    for (const { placement, head } of await laneJournal.lanesBehind(lease.node.id, 10)) {
      await laneJournal.markSent(lease, placement.index, [head], 1)
      const outcome = {
        position: head,
        status: 'succeeded',
        error: null,
        details: null,
        isShare: false,
        startedAt: 1,
        finishedAt: 2,
      } as const
      await laneJournal.advance(lease, placement, head, [{ ...outcome, batchKey: 'a' }], null)
    }
  }
}

test('what a node, a group, or another number of copies would move is said before anything is done', async () => {
  const { project } = await spreadIndex()
  const dry = await flapjack('node', 'add', 'n5', 'http://127.0.0.1:2', '--dry-run')
  assert.equal(dry.code, 0)
  assert(isObject(dry.answer) && Array.isArray(dry.answer.moves))
  assert.deepEqual(
    dry.answer.moves.map((move) => isObject(move) && [move.kind, move.target]),
    [['move', 'n5']],
  )
  assert.equal((await store.catalogue.nodes()).length, 4, 'nothing was done')
  const more = await flapjack('index', 'set', 'books', '--rf', '2', '--dry-run')
  assert(isObject(more.answer) && Array.isArray(more.answer.moves))
  assert.deepEqual(new Set(more.answer.moves.map((move) => isObject(move) && move.kind)), new Set(['copy']))
  await flapjack('index', 'set', 'books', '--rf', '2')
  const [layout] = await store.replicas.layouts()
  assert.equal(layout?.spread?.replicationFactor, 2)
  assert.equal(layout?.project, project)
  const gone = await flapjack('group', 'remove', '1', '--dry-run')
  assert(isObject(gone.answer) && Array.isArray(gone.answer.moves))
  assert.deepEqual(
    gone.answer.moves.map((move) => isObject(move) && move.kind),
    ['copy', 'copy', 'copy', 'removal'],
  )
})

test('a node that holds something is not removed, and the id of one that was is not used again', async () => {
  await spreadIndex()
  assert.equal((await flapjack('node', 'remove', 'n1')).code, 1)
  assert.equal((await flapjack('node', 'remove', 'n1', '--force')).code, 0)
  const nodes = listOf((await flapjack('group', 'list')).answer).map(({ nodes: ids }) => ids)
  assert.deepEqual(nodes, [['n2', 'n3'], ['n4']])
  await assert.rejects(
    store.catalogue.putNode({ id: 'n1', url: 'http://127.0.0.1:9', engine: 'embedded', region: 'local', key: null }),
    /not used again/,
  )
})

/** An index of 16 shards over the nodes of both groups, one copy in each. */
async function spreadIndex() {
  const [project] = await store.catalogue.projects()
  assert(project !== undefined)
  await store.journal.append({
    project: project.id,
    uid: 'books',
    operation: { kind: 'index-create', primaryKey: 'id' },
    payload: null,
    customMetadata: null,
    mayCreateIndex: true,
    spread: { shards: 16, replicationFactor: 1, exactTies: true },
    refusal: null,
  })
  // As its lanes would do.
  for (const lease of await store.laneJournal.leaseNodes('w', 60_000)) {
    for (const { placement, head } of await store.laneJournal.lanesBehind(lease.node.id, 10)) {
      const times = { startedAt: 1, finishedAt: 2, batchKey: 'b' }
      const outcome = {
        position: 1,
        status: 'succeeded',
        error: null,
        details: null,
        isShare: false,
        ...times,
      } as const
      await store.laneJournal.advance(lease, placement, head, [outcome], null)
    }
  }
  return { project: project.id }
}
