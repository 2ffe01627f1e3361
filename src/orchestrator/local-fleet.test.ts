import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LocalNode, nextLocalId, planLocalFleet } from './local-fleet.ts'

type Wanted = Parameters<typeof planLocalFleet>[1]

/** As `n1@0 n2@1`. */
function plan(known: string, wanted: Partial<Wanted> = {}): string {
  const nodes = known.split(' ').flatMap((text): LocalNode[] => {
    const [id, group] = text.split('@')
    return id === undefined || group === undefined ? [] : [{ id, group: Number(group) }]
  })
  const fleet = planLocalFleet(nodes, { engine: 'embedded', nodes: null, groups: null, ...wanted })
  return 'refusal' in fleet ? fleet.refusal : fleet.nodes.map(({ id, group }) => `${id}@${group}`).join(' ')
}

test('a new folder gets one engine, or as many in each group as were asked for', () => {
  assert.equal(plan(''), 'n1@0')
  assert.equal(plan('', { nodes: 3, groups: 2 }), 'n1@0 n2@0 n3@0 n4@1 n5@1 n6@1')
  assert.equal(plan('', { engine: 'meilisearch', nodes: 2 }), 'm1@0 m2@0')
  assert.equal(plan('', { engine: 'remote' }), 'r1@0')
})

test('a later start has the same engines without being told', () => {
  assert.equal(plan('n3@1 n1@0 n4@1 n2@0'), 'n1@0 n2@0 n3@1 n4@1')
  assert.equal(plan('n10@0 n2@0'), 'n2@0 n10@0')
})

test('engines and groups are added with numbers of their own', () => {
  assert.equal(plan('n1@0 n2@1', { nodes: 2 }), 'n1@0 n3@0 n2@1 n4@1')
  assert.equal(plan('n1@0 n2@0', { groups: 2 }), 'n1@0 n2@0 n3@1 n4@1')
  assert.equal(plan('n1@0 n2@0 n3@1'), 'n1@0 n2@0 n3@1 n4@1')
})

test('fewer engines or groups than the folder has are refused with what to do', () => {
  assert.match(plan('n1@0 n2@0 n3@0', { nodes: 2 }), /3 engines in group 0 \(`n1`, `n2`, `n3`\).*--nodes 3 or more/)
  assert.match(plan('n1@0 n2@1', { groups: 1 }), /2 replica groups \(`n2` are in others\).*--groups 2 or more/)
})

test('another kind of engine is refused, and nodes that were added by hand do not matter', () => {
  assert.match(plan('n1@0', { engine: 'meilisearch' }), /another engine \(node `n1`\)/)
  assert.match(plan('r1@0'), /another engine \(node `r1`\)/)
  assert.equal(plan('search-1@3 north@0', { nodes: 2 }), 'n1@0 n2@0')
})

test('a fleet that is scaled keeps what its groups have, and starts the fewest at least', () => {
  const known = [
    { id: 'n1', group: 0 },
    { id: 'n2', group: 1 },
    { id: 'n3', group: 0 },
  ]
  const start = (nodes: number | null) =>
    planLocalFleet(known, { engine: 'embedded', nodes, groups: null, isScaled: true })
  assert.deepEqual(start(null), { nodes: [known[0], known[2], known[1]] })
  assert.deepEqual(start(1), { nodes: [known[0], known[2], known[1]] })
  assert.deepEqual(start(2), { nodes: [known[0], known[2], known[1], { id: 'n4', group: 1 }] })
  assert.equal(nextLocalId('meilisearch', ['n1', 'm2', 'm10', 'search-1']), 'm11')
})
