import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testProject } from '../../test/support/project.ts'
import { seededRandom } from '../lib/random.ts'
import type { ApiKey, IndexEntry, Placement } from '../store/catalogue.ts'
import type { CatalogueChange } from '../store/ports.ts'
import { physicalName } from './physical-name.ts'
import { buildRouteTable, credentialHash } from './route-table.ts'

const project = testProject('p1', { ref: 'aaaaaaaaaaaa', masterKey: 'master' })
const key: ApiKey = {
  project: 'p1',
  uid: 'k1',
  name: null,
  description: null,
  actions: ['search'],
  indexes: ['*'],
  expiresAt: null,
  hash: credentialHash('value'),
  createdAt: 1,
  updatedAt: 1,
}

function makeIndex(id: string, uid: string): IndexEntry {
  return { id, project: 'p1', uid, primaryKey: null, createdAt: 1, updatedAt: 2, settingsPosition: 0, spread: null }
}

function makePlacement(index: IndexEntry, generation = 1): Placement {
  const physicalUid = physicalName(project.ref, index.uid, generation)
  return { index: index.id, generation, shards: [0], node: 'n1', physicalUid, state: 'active', applied: 7, revision: 0 }
}

function indexChange(version: number, id: string, index: IndexEntry | undefined): CatalogueChange {
  const event = { version, entity: 'index', project: 'p1', entityId: id } as const
  return { event, now: index && { index, placements: [makePlacement(index)] } }
}

function start(indexes: readonly IndexEntry[]) {
  const placements = indexes.map((index) => makePlacement(index))
  return buildRouteTable({
    version: 1,
    projects: [project],
    keys: [key],
    indexes,
    placements,
    nodes: [],
    credentials: [],
  })
}

test('an old table shows what it showed, whatever is made of it', () => {
  const before = start([makeIndex('i1', 'books')])
  const after = before.after(2, [indexChange(2, 'i2', makeIndex('i2', 'movies')), indexChange(2, 'i1', undefined)])
  assert.deepEqual(
    before.indexes('p1').map(({ index }) => index.uid),
    ['books'],
  )
  assert.deepEqual(
    after.indexes('p1').map(({ index }) => index.uid),
    ['movies'],
  )
  assert.deepEqual([before.version, after.version], [1, 2])
  assert.deepEqual(after.index('p1', 'movies')?.placements, [makePlacement(makeIndex('i2', 'movies'))])
})

test('swapped and renamed indexes answer under their new names only', () => {
  const table = start([makeIndex('i1', 'a'), makeIndex('i2', 'b')])
  const swapped = table.after(3, [
    indexChange(2, 'i1', makeIndex('i1', 'b')),
    indexChange(3, 'i2', makeIndex('i2', 'a')),
  ])
  assert.equal(swapped.index('p1', 'a')?.index.id, 'i2')
  assert.equal(swapped.index('p1', 'b')?.index.id, 'i1')
  const renamed = swapped.after(4, [indexChange(4, 'i1', makeIndex('i1', 'c'))])
  assert.equal(renamed.index('p1', 'b'), undefined)
  assert.equal(renamed.index('p1', 'c')?.index.id, 'i1')
})

test('a key that is deleted, and a project that is deleted, open nothing', () => {
  const table = start([makeIndex('i1', 'a')])
  assert.equal(table.keyByHash(credentialHash('value'))?.key, key)
  assert.equal(table.keyByHash(credentialHash('master'))?.key, 'master')
  assert.deepEqual(
    table.keysWithUid('k1').map((owner) => owner.key),
    [key],
  )
  const event = { version: 2, project: 'p1' } as const
  const withoutKey = table.after(2, [{ event: { ...event, entity: 'key', entityId: 'k1' }, now: undefined }])
  assert.equal(withoutKey.keyByHash(credentialHash('value')), undefined)
  assert.deepEqual(withoutKey.keysWithUid('k1'), [])
  const withoutProject = table.after(2, [{ event: { ...event, entity: 'project', entityId: 'p1' }, now: undefined }])
  assert.equal(withoutProject.keyByHash(credentialHash('master')), undefined)
  assert.equal(withoutProject.keyByHash(credentialHash('value')), undefined)
  assert.equal(withoutProject.index('p1', 'a'), undefined)
})

test('a table changed many times equals one built from scratch', () => {
  const seed = 20261121
  const random = seededRandom(seed)
  const model = new Map<string, IndexEntry>()
  let table = start([])
  for (let version = 2; version < 3_000; version += 1) {
    const id = `i${random.integer(400)}`
    const isGone = random.float() < 0.3
    const uid = `${id}-${random.integer(3)}`
    if (isGone) model.delete(id)
    else model.set(id, makeIndex(id, uid))
    table = table.after(version, [indexChange(version, id, model.get(id))])
  }
  const expected = start([...model.values()])
  const show = (shown: typeof table) => shown.indexes('p1').map(({ index, placements }) => ({ index, placements }))
  assert.deepEqual(show(table), show(expected), `seed ${seed}`)
})

test('physical names of different logical names never meet, however these are chosen', () => {
  const ref = project.ref
  const uids = ['a', '_a', '_g2_a', `${ref}_a`, `h${'0'.repeat(32)}`, 'x'.repeat(400), 'x'.repeat(399), 'g2_a']
  const names = uids.map((uid) => physicalName(ref, uid, 1))
  assert.equal(new Set(names).size, uids.length)
  for (const name of names) assert.ok(name.length <= 400 && name.startsWith(`${ref}_`))
})
