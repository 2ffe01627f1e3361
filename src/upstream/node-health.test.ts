import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Scheduler } from '../../test/sim/scheduler.ts'
import { seededRandom } from '../lib/random.ts'
import type { Node } from '../store/catalogue.ts'
import { FleetHealth, type HealthState } from './node-health.ts'
import type { NodeLink } from './read-attempt.ts'

const options = { intervalMs: 5_000, timeoutMs: 2_000, unhealthyThreshold: 3, recoveryThreshold: 2 }

function node(id: string): Node {
  return {
    id,
    engine: 'embedded',
    url: `http://${id}`,
    region: 'default',
    group: 0,
    capacity: null,
    state: 'active',
    key: null,
  }
}

/** Nodes that answer probes, refuse connections, or hang. */
function watched(ids: readonly string[]) {
  const time = new Scheduler()
  const behaviour = new Map<string, 'answers' | 'refuses' | 'hangs' | 'fails'>()
  const probes = new Map<string, number>()
  const states: string[] = []
  const nodes = ids.map(node)
  const connect = ({ id }: Node): NodeLink => ({
    send(request, receiver) {
      assert.equal(`${request.method} ${request.path}`, 'GET /health')
      probes.set(id, (probes.get(id) ?? 0) + 1)
      const does = behaviour.get(id) ?? 'answers'
      if (does === 'refuses') time.after(1, () => receiver.onFailure({ kind: 'unreachable', reason: 'ECONNREFUSED' }))
      else if (does !== 'hangs') {
        time.after(1, () => {
          receiver.onHead(does === 'answers' ? 200 : 500, [])
          receiver.onEnd()
        })
      }
      return { abort: (reason) => receiver.onFailure({ kind: 'aborted', reason }) }
    },
  })
  const health = new FleetHealth({
    options,
    connect,
    nodes: () => nodes,
    clock: time.clock(() => false),
    timers: time,
    random: seededRandom(1),
    onState: (id, state) => states.push(`${id} ${state}`),
  })
  health.start()
  const pass = (ms: number) => time.run(time.now + ms)
  const until = async (id: string, state: HealthState) => {
    const from = time.now
    assert.ok(await time.run(from + 60_000, () => health.state(id) === state), `${id} never was ${state}`)
    return time.now - from
  }
  return { health, time, behaviour, probes, states, nodes, pass, until }
}

test('every node is probed once in each interval, and none at the same moment as all others', async () => {
  const { probes, pass, health } = watched(['a', 'b'])
  await pass(50_000)
  for (const id of ['a', 'b']) assert.ok(Math.abs(probes.get(id)! - 10) <= 1, `${probes.get(id)} probes`)
  health.stop()
})

test('a node that refuses connections or hangs is degraded, then down, and up again after two answers', async () => {
  for (const trouble of ['refuses', 'hangs', 'fails'] as const) {
    const { behaviour, pass, until, health, states } = watched(['a'])
    await pass(10_000)
    assert.equal(health.state('a'), 'up')
    behaviour.set('a', trouble)
    await until('a', 'degraded')
    assert.ok((await until('a', 'down')) <= 7_000)
    behaviour.set('a', 'answers')
    assert.ok((await until('a', 'up')) <= 5_000)
    assert.deepEqual(states, ['a up', 'a degraded', 'a down', 'a degraded', 'a up'])
    health.stop()
  }
})

test('connection errors of live requests count, and many that were lost at once count as one', async () => {
  const { health, time, pass } = watched(['a'])
  await pass(1_000)
  const sentAt = time.now
  await pass(10)
  for (let turn = 0; turn < 50; turn += 1) health.failed('a', sentAt)
  assert.equal(health.state('a'), 'degraded')
  health.failed('a', time.now)
  health.failed('a', time.now)
  assert.equal(health.state('a'), 'down')
  health.stop()
})

test('a node that is down is tried once in a second, and is up when two trials succeed', async () => {
  const { health, time, behaviour, pass } = watched(['a'])
  await pass(1_000)
  behaviour.set('a', 'hangs')
  for (let turn = 0; turn < 3; turn += 1) health.failed('a', time.now)
  assert.equal(health.mayAsk('a'), false)
  await pass(1_000)
  assert.equal(health.mayAsk('a'), true)
  health.asked('a')
  assert.equal(health.mayAsk('a'), false)
  health.answered('a')
  health.answered('a')
  assert.equal(health.state('a'), 'up')
  assert.equal(health.mayAsk('a'), true)
  health.stop()
})

test('a live request that waits too long makes a probe look at once, and alone takes no node down', async () => {
  const { health, time, probes, pass } = watched(['a'])
  await pass(6_000)
  const before = probes.get('a')!
  health.suspected('a')
  await pass(1_001)
  assert.equal(probes.get('a'), before + 1)
  for (let turn = 0; turn < 10; turn += 1) health.suspected('a')
  assert.equal(health.state('a'), 'up')
  assert.ok(time.now > 0)
  health.stop()
})

test('nodes that are gone are forgotten, and new ones are probed', async () => {
  const { health, nodes, behaviour, pass, until, probes } = watched(['a'])
  behaviour.set('a', 'refuses')
  await until('a', 'down')
  nodes.splice(0, 1, node('b'))
  await pass(6_000)
  assert.equal(health.state('a'), 'up')
  assert.ok(probes.get('b')! >= 1)
  health.stop()
})
