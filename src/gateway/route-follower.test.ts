import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testProject } from '../../test/support/project.ts'
import { type Catalogue, StoreUnavailable } from '../store/ports.ts'
import { followRoutes } from './route-follower.ts'

/** A store in which every commit makes a project, and a clock that only the test moves. */
function makeWorld() {
  const nothing: () => void = () => undefined
  const state = { head: 1, isAway: false, notify: nothing, reads: 0, nowMs: 0 }
  let wake: (() => void) | undefined
  const catalogue: Pick<Catalogue, 'snapshot' | 'changesAfter' | 'onChange' | 'version'> = {
    version: async () => state.head,
    snapshot: async () => ({
      version: 1,
      projects: [],
      keys: [],
      indexes: [],
      placements: [],
      nodes: [],
      credentials: [],
    }),
    async changesAfter(version, limit) {
      state.reads += 1
      if (state.isAway) throw new StoreUnavailable('away')
      const last = Math.min(state.head, version + limit)
      const changes = Array.from({ length: last - version }, (_, at) => {
        const project = testProject(`p${version + at + 1}`)
        const event = {
          version: version + at + 1,
          entity: 'project',
          project: project.id,
          entityId: project.id,
        } as const
        return { event, now: project }
      })
      return { version: last, changes }
    },
    async onChange(listener) {
      state.notify = listener
      return async () => undefined
    },
  }
  const clock = {
    now: () => state.nowMs,
    sleep: (_: number, signal?: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        wake = resolve
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      }),
  }
  return { state, catalogue, clock, tick: () => wake?.() }
}

const log = { warn: () => undefined, info: () => undefined }
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a notification brings the table forward, however many changes it stands for', async () => {
  const { state, catalogue, clock } = makeWorld()
  const follower = await followRoutes({ catalogue, clock, log })
  state.head = 2_500
  state.notify()
  await follower.refresh()
  assert.equal(follower.table.version, 2_500)
  assert.ok(follower.table.project('p2500') !== undefined)
  await follower.close()
})

test('a lost notification costs one poll', async () => {
  const { state, catalogue, clock, tick } = makeWorld()
  const follower = await followRoutes({ catalogue, clock, log })
  state.head = 5
  tick()
  for (let turns = 0; turns < 20 && follower.table.version !== 5; turns += 1) await turn()
  assert.equal(follower.table.version, 5)
  await follower.close()
})

test('while the store is away the table stays as it is, and then comes forward', async () => {
  const { state, catalogue, clock } = makeWorld()
  const follower = await followRoutes({ catalogue, clock, log })
  state.head = 3
  await follower.refresh()
  state.isAway = true
  state.head = 4
  await assert.rejects(follower.refresh(), StoreUnavailable)
  assert.equal(follower.table.version, 3)
  state.isAway = false
  await follower.refresh()
  assert.equal(follower.table.version, 4)
  await follower.close()
})

test('whoever asks during a read gets one that began behind the question', async () => {
  const { state, catalogue, clock } = makeWorld()
  const follower = await followRoutes({ catalogue, clock, log })
  const first = follower.refresh()
  state.head = 9
  const second = follower.refresh()
  assert.notEqual(first, second)
  assert.equal(second, follower.refresh())
  await second
  assert.equal(follower.table.version, 9)
  await follower.close()
})

// A revoked key would otherwise work for as long as the restored store is behind.
test('a store that was restored from a backup is read anew', async () => {
  const { state, catalogue, clock } = makeWorld()
  const follower = await followRoutes({ catalogue, clock, log })
  state.head = 5
  await follower.refresh()
  assert.equal(follower.table.version, 5)
  state.head = 3
  state.nowMs += 60_000
  await follower.refresh()
  assert.equal(follower.table.version, 3)
  assert.equal(follower.table.project('p5'), undefined)
  await follower.close()
})
