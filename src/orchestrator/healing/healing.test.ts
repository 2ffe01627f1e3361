import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../lib/random.ts'
import { healthStates, isAway } from '../../topology/health-states.ts'
import { allowedOf, healing, healingRules, type SeenNode } from './healing.ts'

const now = 10_000_000
const well: SeenNode = {
  ...{ id: 'n1', region: 'local', health: 'up', healthSince: now - 60_000 },
  ...{ canRestart: true, canReplace: true, isReplaceable: true },
  ...{ restarts: [], replacedAt: null, act: null, wish: null },
}
const down = { ...well, health: 'down' } as const
const kindsOf = (nodes: readonly SeenNode[], halted: string | null = null) =>
  healing({ nodes, halted }, healingRules, now).map((action) =>
    'node' in action ? `${action.kind} ${action.node}` : action.kind,
  )

test('a node that is down is started again, each time with a longer pause, and then gets a new machine', () => {
  assert.deepEqual(kindsOf([down]), ['restart n1'])
  assert.deepEqual(kindsOf([{ ...down, restarts: [now - 9_000] }]), [])
  assert.deepEqual(kindsOf([{ ...down, restarts: [now - 11_000] }]), ['restart n1'])
  assert.deepEqual(kindsOf([{ ...down, restarts: [now - 40_000, now - 19_000] }]), [])
  assert.deepEqual(kindsOf([{ ...down, restarts: [now - 50_000, now - 21_000] }]), ['restart n1'])
  const tried = [now - 90_000, now - 60_000, now - 20_000]
  assert.deepEqual(kindsOf([{ ...down, restarts: tried }]), ['replace n1'])
  assert.deepEqual(kindsOf([{ ...down, restarts: tried, replacedAt: now - 60_000 }]), [], 'it cools down')
  assert.deepEqual(kindsOf([{ ...down, health: 'lost' }]), ['replace n1'])
})

test('a machine whose disk cannot be filled again from the journal is never replaced', () => {
  const lost = { ...well, health: 'lost', isReplaceable: false } as const
  assert.deepEqual(kindsOf([lost]), ['refuse n1'])
  assert.deepEqual(kindsOf([{ ...lost, wish: 'replace' }]), ['refuse n1'])
})

test('a node that somebody else runs is left to them', () => {
  assert.deepEqual(kindsOf([{ ...down, canRestart: false, canReplace: false }]), ['refuse n1'])
})

test('where too many nodes look bad at once nothing is done, and a person is waited for', () => {
  const nodes = ['a', 'b', 'c', 'd'].map((id, place) => ({ ...(place < 2 ? down : well), id }))
  assert.deepEqual(kindsOf(nodes), ['halt'])
  assert.deepEqual(kindsOf(nodes, 'two nodes were away'), [])
  assert.deepEqual(
    kindsOf(
      nodes.map((node) => (node.id === 'a' ? { ...node, wish: 'restart' as const } : node)),
      'halted',
    ),
    ['restart a'],
  )
})

test('a region that cannot be reached replaces nothing', () => {
  const cut = ['a', 'b', 'c'].map((id) => ({ ...well, id, region: 'far', health: 'lost' as const }))
  assert.deepEqual(kindsOf([well, ...cut]), ['halt'])
})

test('never is more done at once than the brakes allow', () => {
  const seed = 20_261
  const random = seededRandom(seed)
  const pick = <T>(values: readonly T[]): T => values[random.integer(values.length)] as T
  for (let round = 0; round < 3_000; round += 1) {
    const nodes = Array.from({ length: 1 + random.integer(12) }, (_, place): SeenNode => {
      return {
        id: `n${place}`,
        region: pick(['x', 'y']),
        health: pick(random.float() < 0.8 ? ['up'] : healthStates),
        healthSince: now - random.integer(600_000),
        canRestart: random.float() < 0.8,
        canReplace: random.float() < 0.8,
        isReplaceable: random.float() < 0.8,
        restarts: Array.from({ length: random.integer(5) }, () => now - random.integer(900_000)).sort((a, b) => a - b),
        replacedAt: random.float() < 0.2 ? now - random.integer(900_000) : null,
        act: random.float() < 0.1 ? pick(['restart', 'replace'] as const) : null,
        wish: null,
      }
    })
    const actions = healing({ nodes, halted: null }, healingRules, now)
    const acted = actions.flatMap((action) => (action.kind === 'restart' || action.kind === 'replace' ? [action] : []))
    const message = `seed ${seed}, round ${round}`
    for (const region of ['x', 'y']) {
      const members = nodes.filter((node) => node.region === region)
      const started = acted.filter(({ node }) => members.some(({ id }) => id === node))
      const busy = members.filter(({ act }) => act !== null)
      const allowed = allowedOf(members.length, healingRules)
      assert.ok(started.length === 0 || busy.length + started.length <= allowed, message)
      if (members.filter(({ health }) => isAway(health)).length > allowed) assert.equal(started.length, 0, message)
    }
    const replacing = nodes.filter(({ act }) => act === 'replace').length
    const replaced = acted.filter(({ kind }) => kind === 'replace').length
    assert.ok(replaced === 0 || replacing + replaced <= healingRules.replacementsMax, message)
    for (const { kind, node } of acted) {
      const seen = nodes.find(({ id }) => id === node)
      assert.ok(seen && isAway(seen.health) && seen.act === null, message)
      assert.ok(kind === 'restart' ? seen.canRestart : seen.canReplace && seen.isReplaceable, message)
    }
  }
})
