/**
 * How large and how fast the route table is: one project's or many projects' indexes, looked up and updated one by one.
 *
 *   node --expose-gc --import tsx bench/route-table.ts [indexes] [projects]     (default 1,000,000 and 10,000)
 *
 * Prints JSON; aims: look-up ≤ 2 µs, update of one index ≤ 1 ms, ≤ 500 bytes per index.
 */

import { seededRandom } from '../src/lib/random.ts'
import {
  defaultProjectSettings,
  type IndexEntry,
  noTokenRules,
  type Placement,
  type Project,
} from '../src/store/catalogue.ts'
import { physicalName } from '../src/topology/physical-name.ts'
import { buildRouteTable } from '../src/topology/route-table.ts'

const indexCount = Number(process.argv[2] ?? 1_000_000)
const projectCount = Number(process.argv[3] ?? 10_000)
const random = seededRandom(7)
const collect = globalThis.gc ?? (() => undefined)

const projects: Project[] = Array.from({ length: projectCount }, (_, at) => ({
  id: random.uuid(),
  organisation: 'organisation',
  ref: `p${at.toString(36).padStart(11, '0')}`,
  name: `project ${at}`,
  state: 'active',
  masterKey: `master-${at}`,
  features: {},
  searchRules: [],
  tokens: noTokenRules,
  settings: defaultProjectSettings,
  createdAt: 1,
}))

/** Strings as a database driver hands them out: one copy each time. */
const fresh = (text: string) => Buffer.from(text).toString('latin1')

function makeIndex(at: number): IndexEntry {
  const project = projects[at % projectCount]!
  return {
    id: random.uuid(),
    project: fresh(project.id),
    uid: fresh(`index-${at}`),
    primaryKey: fresh('id'),
    createdAt: 1_700_000_000_000 + at,
    updatedAt: 1_700_000_000_500 + at,
    settingsPosition: 0,
    spread: null,
  }
}

function makePlacement(index: IndexEntry, at: number): Placement {
  return {
    index: fresh(index.id),
    generation: 1,
    shards: [0],
    node: fresh(`node-${at % 50}`),
    physicalUid: fresh(physicalName(projects[at % projectCount]!.ref, index.uid, 1)),
    state: 'active',
    applied: at,
    revision: 0,
  }
}

function measure() {
  let indexes: IndexEntry[] | undefined = Array.from({ length: indexCount }, (_, at) => makeIndex(at))
  let placements: Placement[] | undefined = indexes.map(makePlacement)
  const sample = Array.from({ length: 1000 }, () => indexes![random.integer(indexCount)]!)
  const startedAt = performance.now()
  const table = buildRouteTable({ version: 1, projects, keys: [], indexes, placements, nodes: [], credentials: [] })
  const buildMs = performance.now() - startedAt
  indexes = undefined
  placements = undefined
  return { table: table.after(1, []), sample, buildMs }
}

collect()
const before = process.memoryUsage().heapUsed
const { table, sample, buildMs } = measure()
collect()
const bytesPerIndex = (process.memoryUsage().heapUsed - before) / indexCount

const lookups = 1_000_000
let found = 0
const lookupStart = performance.now()
for (let at = 0; at < lookups; at += 1) {
  const index = sample[at % sample.length]!
  if (table.index(index.project, index.uid)?.placements[0] !== undefined) found += 1
}
const lookupUs = ((performance.now() - lookupStart) * 1000) / lookups

let next = table
let slowestMs = 0
const updates = 20_000
const updateStart = performance.now()
for (let at = 0; at < updates; at += 1) {
  const index = sample[at % sample.length]!
  const stepStart = performance.now()
  next = next.after(at + 2, [
    {
      event: { version: at + 2, entity: 'index', project: index.project, entityId: index.id },
      now: { index: { ...index, updatedAt: at }, placements: [makePlacement(index, at)] },
    },
  ])
  slowestMs = Math.max(slowestMs, performance.now() - stepStart)
}
const updateUs = ((performance.now() - updateStart) * 1000) / updates

console.log(
  JSON.stringify({
    indexes: indexCount,
    projects: projectCount,
    buildMs: Math.round(buildMs),
    bytesPerIndex: Math.round(bytesPerIndex),
    lookupUs: Number(lookupUs.toFixed(3)),
    updateUs: Number(updateUs.toFixed(1)),
    updateMsMax: Number(slowestMs.toFixed(2)),
    found,
  }),
)
