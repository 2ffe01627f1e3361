/** Which moves may begin to copy: limits, priorities and leases, in every store. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { Move, MoveOptions } from '../../src/store/moves.ts'
import { World } from './journal-world.ts'
import { memorySource, postgresSource } from './stores.ts'

const sources = [memorySource(), await postgresSource()]
after(async () => {
  for (const source of sources) await source.close()
})

const leaseMs = 60_000
const ids = ['01', '02', '03', '04', '05'].map((end) => `0192f3c1-5b0e-7d1c-9f6a-8e3f2a1b4c${end}`)

for (const source of sources) {
  test(`store in ${source.name}: moves copy as the limits say, and the most urgent of those that wait goes first`, async () => {
    const store = await source.open(5, systemClock)
    const world = await World.open(store)
    for (const node of ['n2', 'n3', 'n4'])
      await store.catalogue.putNode({ id: node, engine: 'embedded', url: `http://${node}`, region: 'local', key: null })
    const { moves } = store
    const opened: Move[] = []
    const open = async (from: string, to: string, options: Partial<MoveOptions> = {}) => {
      const { index } = await world.append(`books${opened.length}`, { kind: 'index-create', primaryKey: null })
      must(index !== null, 'the index has an id')
      const move = await moves.open({
        ...{ id: ids[opened.length]!, project: world.project.id, index, kind: 'move', source: from, target: to },
        takes: [{ node: from, physicalUid: 'x', shards: [0] }],
        options: { keepMs: 0, bytesPerSecond: null, ...options },
        createdAt: systemClock.now(),
      })
      must(move !== undefined, 'the move is open')
      opened.push(move)
      return move
    }
    const change = (step: Move['step'], progress: Move['progress'] = {}) => {
      return { step, progress, failure: null, under: null }
    }
    const enters = (move: Move, limits = { perNode: 1, total: 2 }) =>
      moves.enter('a', move.id, change('copying'), limits)
    const [low, usual, urgent] = [
      await open('n1', 'n2', { priority: 'low' }),
      await open('n1', 'n3'),
      await open('n3', 'n1', { priority: 'urgent' }),
    ]
    assert.deepEqual(
      (await moves.claim('a', leaseMs, 10)).map(({ id }) => id),
      [urgent.id, usual.id, low.id],
    )
    assert.deepEqual(await moves.claim('b', leaseMs, 10), [])

    // Who waits for a node that is free goes behind those that are more urgent.
    for (const move of [usual, urgent]) await moves.save('a', move.id, change('planned', { waitsFor: 'turn' }))
    assert.equal(await enters(low), false)
    assert.equal(await enters(usual), false)
    assert.equal(await enters(urgent), true)
    assert.equal(await enters(usual), false)
    assert.equal(await enters(usual, { perNode: 2, total: 2 }), true)

    // Other nodes are free, but so many copy already.
    const far = await open('n2', 'n4')
    assert.equal((await moves.claim('a', leaseMs, 10)).length, 4)
    assert.equal(await enters(far), false)
    await moves.save('a', urgent.id, change('closed'))
    assert.equal(await enters(far), true)

    // As many as one worker drives: what is free beyond them is left to others.
    await open('n1', 'n4')
    assert.equal((await moves.claim('a', leaseMs, 4)).length, 4)
    assert.equal((await moves.claim('b', leaseMs, 4)).length, 0)
    await moves.release('a')
    assert.equal((await moves.claim('b', leaseMs, 2)).length, 2)
  })
}
