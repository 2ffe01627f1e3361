import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeSample } from '../../store/fleet.ts'
import { chooseBurden } from './relief.ts'
import { type LoadedFleet, type LoadedNode, type ScaleRules, scaling, usageOf } from './scaling.ts'

const minute = 60_000
const now = 1_000 * minute
const limits = {
  ...{ cpuPercentMax: 80, memoryPercentMax: 80, diskPercentMax: 75, dataBytesMax: 1_000 },
  ...{ searchMsMax: 200, searchesPerSecondMax: null, indexesMax: null },
}
const rules: ScaleRules = {
  limits,
  hotMs: 10 * minute,
  idlePercent: 30,
  idleMs: 60 * minute,
  targetPercent: 70,
  keptPercentMax: 60,
  coolDownMs: 30 * minute,
  nodesMin: 1,
  nodesMax: 4,
}
const nothing: Omit<NodeSample, 'node' | 'at'> = {
  ...{ cpuPercent: null, memoryBytes: null, memoryBytesMax: null, dataBytes: null, diskBytesFree: null },
  ...{ diskBytesMax: null, indexes: null, documents: null, searchesPerSecond: null, searchMsP95: null, probeMs: null },
}

/** A node that held so much in every one of the last 90 minutes. */
function node(id: string, dataBytes: number, others: Partial<LoadedNode> = {}, at = now): LoadedNode {
  const samples = Array.from({ length: 91 }, (_, age) => {
    return { ...nothing, node: id, at: at - (90 - age) * minute, dataBytes }
  })
  return {
    id,
    engine: 'embedded',
    region: 'local',
    group: 0,
    isActive: true,
    isOurs: true,
    isCrowded: false,
    samples,
    ...others,
  }
}
const fleet = (nodes: readonly LoadedNode[], others: Partial<LoadedFleet> = {}): LoadedFleet => {
  return { nodes, coming: [], canCreate: true, scaledAt: null, isDraining: false, ...others }
}
const intents = (nodes: readonly LoadedNode[], others: Partial<LoadedFleet> = {}) =>
  scaling(fleet(nodes, others), rules, now).map(({ reason: _, ...intent }) => intent)

test('what a node carries is measured by the limit that it is nearest to', () => {
  const sample = { ...nothing, node: 'n1', at: 0, cpuPercent: 40, dataBytes: 200, diskBytesMax: 100, diskBytesFree: 10 }
  assert.deepEqual(usageOf(sample, limits), { what: 'its disk', ratio: 90 / 75 })
  assert.equal(usageOf({ ...nothing, node: 'n1', at: 0 }, limits), undefined)
})

test('a hot node gives to one that has room, and only where none has is there a new one', () => {
  assert.deepEqual(intents([node('n1', 1_200), node('n2', 100), node('n3', 50)]), [
    { kind: 'relieve', node: 'n1', target: 'n3' },
  ])
  assert.deepEqual(intents([node('n1', 1_200), node('n2', 800)]), [{ kind: 'add', like: 'n1' }])
  assert.deepEqual(intents([node('n1', 1_200), node('n2', 1_300)]), [{ kind: 'add', like: 'n1' }], 'one, not two')
  assert.deepEqual(intents([node('n1', 1_200), node('n2', 0, { group: 1 })]), [{ kind: 'add', like: 'n1' }])
  assert.deepEqual(intents([node('n1', 1_200, { isCrowded: true }), node('n2', 600)]), [{ kind: 'add', like: 'n1' }])
  assert.deepEqual(intents([node('n1', 1_200)], { coming: [{ region: 'local', group: 0 }] }), [])
  assert.deepEqual(intents([node('n1', 1_200)], { scaledAt: now - minute }), [])
})

test('a fleet that may not grow says so', () => {
  const full = ['n1', 'n2', 'n3', 'n4'].map((id) => node(id, 1_200))
  assert.deepEqual(new Set(intents(full).map(({ kind }) => kind)), new Set(['stuck']))
  assert.deepEqual(intents([node('n1', 1_200)], { canCreate: false }), [{ kind: 'stuck', node: 'n1' }])
})

test('a short peak does nothing', () => {
  const { samples, ...rest } = node('n1', 1_200)
  const peak = {
    ...rest,
    samples: samples.map((sample, place) => (place === 85 ? { ...sample, dataBytes: 900 } : sample)),
  }
  assert.deepEqual(intents([peak]), [])
})

test('an underused node is emptied when the others stay well below their limits', () => {
  assert.deepEqual(intents([node('n1', 500), node('n2', 50)]), [{ kind: 'drain', node: 'n2' }])
  assert.deepEqual(intents([node('n1', 580), node('n2', 50)]), [], 'the other would be at 63 %')
  assert.deepEqual(intents([node('n1', 500), node('n2', 50, { isOurs: false })]), [], 'somebody else runs it')
  assert.deepEqual(intents([node('n1', 500), node('n2', 50)], { isDraining: true }), [])
  assert.deepEqual(intents([node('n1', 50)]), [], 'the last one stays')
})

// Half an hour of load, half an hour of rest, for a day: never longer than a node is idle before it is given back.
test('a load that comes and goes changes the fleet once', () => {
  let nodes = [node('n1', 0)]
  let scaledAt: number | null = null
  const changes: string[] = []
  const history = new Map<string, NodeSample[]>([['n1', []]])
  for (let at = 0; at < 24 * 60; at += 1) {
    const isBusy = at % 60 < 30
    const total = isBusy ? 1_500 : 100
    for (const [id, samples] of history) {
      samples.push({ ...nothing, node: id, at: at * minute, searchesPerSecond: 0, dataBytes: total / history.size })
    }
    nodes = nodes.map((one) => ({ ...one, samples: history.get(one.id) ?? [] }))
    const found = scaling(fleet(nodes, { scaledAt }), rules, at * minute)
    for (const intent of found) {
      changes.push(`${intent.kind} at ${at}`)
      if (intent.kind === 'add') {
        nodes = [...nodes, node('n2', 0)]
        history.set('n2', [])
        scaledAt = at * minute
      }
      if (intent.kind === 'drain') {
        nodes = nodes.filter(({ id }) => id !== intent.node)
        history.delete(intent.node)
        scaledAt = at * minute
      }
    }
  }
  assert.deepEqual(changes, ['add at 10'])
})

test('what leaves a hot node leaves both better off', () => {
  const burdens = [
    { index: 'a', uid: 'a', bytes: 100 },
    { index: 'b', uid: 'b', bytes: 400 },
    { index: 'c', uid: 'c', bytes: 700 },
  ]
  assert.equal(chooseBurden(burdens, { node: 1_200, target: 0 }, 700)?.uid, 'c')
  assert.equal(chooseBurden(burdens, { node: 1_200, target: 0 }, 500)?.uid, 'b')
  assert.equal(chooseBurden(burdens, { node: 1_200, target: 1_100 }, null), undefined)
  assert.equal(chooseBurden([{ index: 'a', uid: 'a', bytes: 900 }], { node: 900, target: 0 }, null), undefined)
})
