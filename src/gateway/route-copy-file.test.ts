import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import {
  type ApiKey,
  defaultProjectSettings,
  type IndexEntry,
  noTokenRules,
  type Placement,
  type Project,
} from '../store/catalogue.ts'
import type { CatalogueSnapshot } from '../store/ports.ts'
import { buildRouteTable } from '../topology/route-table.ts'
import { routeCopyFile } from './route-copy-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'flapjack-copy-'))
after(() => rm(folder, { recursive: true, force: true }))

const project: Project = {
  id: 'p',
  organisation: 'o',
  ref: 'aaaaaaaaaaaa',
  name: 'naïve ☃',
  state: 'active',
  masterKey: 'the master key',
  features: { network: true },
  searchRules: [],
  tokens: { ...noTokenRules, revoked: [{ jti: 't', until: 7 }] },
  settings: { ...defaultProjectSettings, hosts: ['search.example'] },
  createdAt: 1,
}
const key: ApiKey = {
  project: 'p',
  uid: 'u',
  name: null,
  description: 'a\nb',
  actions: ['*'],
  indexes: ['*'],
  expiresAt: null,
  hash: 'h',
  createdAt: 1,
  updatedAt: 1,
}
const indexes = Array.from({ length: 3_000 }, (_, at): IndexEntry => {
  return {
    id: `i${at}`,
    project: 'p',
    uid: `films-${at}`,
    primaryKey: at % 2 ? 'id' : null,
    createdAt: at,
    updatedAt: at,
    settingsPosition: 0,
    spread: at % 5 === 0 ? { shards: 2, replicationFactor: 1, exactTies: false } : null,
  }
})
const placements = indexes.flatMap(({ id }, at): Placement[] => {
  const place = {
    index: id,
    generation: 1,
    shards: [0],
    revision: 0,
    physicalUid: `x_${id}`,
    state: 'active',
    applied: at,
  } as const
  return at % 3 === 0
    ? [
        { ...place, node: 'n1' },
        { ...place, node: 'n2' },
      ]
    : [{ ...place, node: 'n1' }]
})
const snapshot: CatalogueSnapshot = {
  version: 42,
  projects: [project],
  keys: [key],
  indexes,
  placements,
  nodes: [
    {
      id: 'n1',
      engine: 'embedded',
      url: 'http://n1',
      region: 'r',
      group: 1,
      capacity: null,
      state: 'active',
      key: 'node key',
    },
  ],
  credentials: [{ id: 'n1/p', node: 'n1', project: 'p', key: 'key of the project' }],
}
const table = buildRouteTable(snapshot)

const warnings: string[] = []
const log = { warn: (_: object, message: string) => void warnings.push(message) }
const fileAt = (name: string, byte = 1) =>
  routeCopyFile({ path: join(folder, name), key: Buffer.alloc(32, byte), clock: systemClock, log })

test('a copy brings back every route, holds no readable secret, and only its owner may read it', async () => {
  const file = fileAt('deep/routes.copy')
  assert.equal(await file.age(), undefined)
  await file.write(table, 1_234, { keys: ['a'] })
  const copy = await file.read()
  assert.equal(copy?.asOf, 1_234)
  assert.deepEqual(copy?.notes, { keys: ['a'] })
  const sorted = (found: CatalogueSnapshot) => ({
    ...found,
    indexes: [...found.indexes].sort((a, b) => (a.id < b.id ? -1 : 1)),
    placements: [...found.placements].map((placement) => JSON.stringify(Object.entries(placement).sort())).sort(),
  })
  assert.ok(copy !== undefined)
  assert.deepEqual(sorted(copy.snapshot), sorted(snapshot))
  const bytes = await readFile(join(folder, 'deep/routes.copy'))
  assert.ok(!bytes.includes('master') && !bytes.includes('films'))
  assert.equal((await stat(join(folder, 'deep/routes.copy'))).mode & 0o777, 0o600)
  assert.ok(((await file.age()) ?? Number.NaN) < 60_000)
})

test('a copy that was altered, cut off, emptied or sealed under another key is not used', async () => {
  await fileAt('good').write(table, 1, null)
  const bytes = await readFile(join(folder, 'good'))
  const middle = Buffer.from(bytes)
  middle[bytes.length >> 1]! ^= 1
  const cases = [
    middle,
    bytes.subarray(0, -1),
    bytes.subarray(0, bytes.length >> 1),
    bytes.subarray(0, 10),
    Buffer.alloc(0),
  ]
  for (const altered of cases) {
    await writeFile(join(folder, 'altered'), altered)
    assert.equal(await fileAt('altered').read(), undefined)
  }
  assert.equal(await fileAt('good', 2).read(), undefined)
  assert.equal(await fileAt('nowhere').read(), undefined)
  assert.equal(warnings.length, cases.length + 2)
})
