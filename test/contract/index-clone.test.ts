/** Clones of indexes between real engines, while the old one is written to; and imports that stop and go on. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import { assert as must } from '../../src/lib/assert.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { cloneIndex } from '../../src/orchestrator/index-clone.ts'
import { openImport } from '../../src/orchestrator/index-import.ts'
import { documentsOf } from '../../src/orchestrator/project-documents.ts'
import { silentLaneMetrics } from '../../src/replication/dependencies.ts'
import { startReplication } from '../../src/replication/replication.ts'
import type { Project, Spread } from '../../src/store/catalogue.ts'
import { buildRouteTable } from '../../src/topology/route-table.ts'
import { type EngineProcess, engineSources } from './engine-processes.ts'
import { put } from './journal-world.ts'
import { memorySource } from './stores.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const signal = () => AbortSignal.timeout(60_000)
const spread: Spread = { shards: 3, replicationFactor: 1, exactTies: true }

for (const source of engineSources()) {
  test(source.name, async (t) => {
    const engines: readonly EngineProcess[] = await Promise.all([source.start(), source.start()])
    after(async () => {
      for (const { stop } of engines) await stop()
    })
    const store = await memorySource().open(3, systemClock)
    const { catalogue, laneJournal, journal, replicas } = store
    const organisation = await catalogue.createOrganisation('Acme')
    const shop = await catalogue.createProject({ organisation: organisation.id, name: 'shop' })
    const staging = await catalogue.createProject({ organisation: organisation.id, name: 'staging' })
    for (const [at, { url, key }] of engines.entries()) {
      await catalogue.putNode({ id: `n${at}`, engine: 'embedded', url, region: 'local', key })
    }
    const engineOf = ({ id }: { readonly id: string }) => {
      const found = engines[id === 'n0' ? 0 : 1]
      must(found !== undefined, 'the node has an engine')
      return found.engine
    }
    const random = seededRandom(5)
    const base = { journal: laneJournal, engineOf, clock: systemClock, random, log: silent, metrics: silentLaneMetrics }
    const replication = startReplication({ worker: 'w', ...base })
    const append = async (
      project: Project,
      uid: string,
      operation: Operation,
      lines: readonly object[] = [],
      how: Spread | null = null,
    ) => {
      const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
      const outcome = await journal.append({
        ...{
          project: project.id,
          uid,
          operation,
          customMetadata: null,
          mayCreateIndex: true,
          refusal: null,
          spread: how,
        },
        payload: lines.length === 0 ? null : { kind: 'inline', bytes },
        inferred: { primaryKey: 'id' },
      })
      must(outcome.kind === 'appended', `the append was ${outcome.kind}`)
      return outcome.task
    }
    const putAll = (uid: string, documents: readonly JsonObject[], how: Spread | null = null, merge = false) =>
      append(shop, uid, { ...put, merge, received: documents.length, distinct: documents.length }, documents, how)
    const settled = async (store: Store, project: Project, task: number) => {
      for (;;) {
        if ((await store.journal.task(project.id, task))?.finishedAt != null) return
        await systemClock.sleep(10)
      }
    }
    const contents = async (project: Project, uid: string): Promise<readonly JsonObject[]> => {
      const table = buildRouteTable(await catalogue.snapshot())
      const route = table.index(project.id, uid)
      must(route !== undefined, `${uid} is there`)
      const found: JsonObject[] = []
      for await (const text of documentsOf({ table, engineOf }, route, signal())) found.push(JSON.parse(text))
      return found
    }
    const clone = async (
      uid: string,
      project: Project,
      newUid: string,
      how: Spread | null,
      onProgress = async () => {},
    ) => {
      const table = buildRouteTable(await catalogue.snapshot())
      const route = table.index(shop.id, uid)
      must(route !== undefined, `${uid} is there`)
      // Writes come while the old index is read.
      const readingSlowly = {
        ...journal,
        stage: async (bytes: AsyncIterable<Uint8Array>) => {
          await onProgress()
          return journal.stage(bytes)
        },
      }
      const deps = { journal: readingSlowly, lanes: laneJournal, replicas, table, engineOf, clock: systemClock }
      const target = { id: random.uuid(), project: project.id, uid: newUid, spread: how }
      return cloneIndex(deps, route, target, signal(), () => {})
    }
    const books = Array.from({ length: 40 }, (_, id) => ({ id, title: `book ${id}`, shade: id % 7 }))
    try {
      await t.test('a clone holds what the index held at one position, whatever was written meanwhile', async () => {
        await append(shop, 'books', {
          kind: 'settings',
          settings: { filterableAttributes: ['shade'], rankingRules: ['words', 'shade:asc'] },
        })
        await settled(store, shop, await putAll('books', books))
        let isWritten = false
        const cloned = await clone('books', staging, 'copies', null, async () => {
          if (isWritten) return
          isWritten = true
          await putAll('books', [
            { id: 3, title: 'other' },
            { id: 100, title: 'new' },
          ])
          await putAll('books', [{ id: 4, note: 'merged' }], null, true)
          await append(shop, 'books', { kind: 'documents-delete-by-filter', filter: 'shade = 2' })
          await append(shop, 'books', { kind: 'settings', settings: { stopWords: ['the'] } })
        })
        assert.equal(isWritten, true)
        assert.deepEqual(await contents(staging, 'copies'), await contents(shop, 'books'))
        assert.ok(cloned.changes >= 4, `${cloned.changes} changes`)
        const [from, to] = await Promise.all(
          [[shop, 'books'] as const, [staging, 'copies'] as const].map(async ([project, uid]) => {
            return (await journal.writeState(project.id, uid))?.settings
          }),
        )
        assert.deepEqual(to, from)
      })

      await t.test('a plain index is cloned into a spread one and back, in the same order', async () => {
        await clone('books', shop, 'spread', spread)
        assert.deepEqual(await contents(shop, 'spread'), await contents(shop, 'books'))
        await clone('spread', shop, 'plain', null)
        assert.deepEqual(await contents(shop, 'plain'), await contents(shop, 'books'))
      })

      await t.test('a name that is taken is refused, and the index that has it stays as it is', async () => {
        const before = await contents(shop, 'plain')
        await assert.rejects(clone('books', shop, 'plain', null), /already exists/)
        assert.deepEqual(await contents(shop, 'plain'), before)
      })

      await t.test('an import that stopped goes on behind what was appended', async () => {
        const index = {
          id: random.uuid(),
          project: shop.id,
          uid: 'imported',
          primaryKey: 'id',
          settings: {},
          spread: null,
        }
        const deps = { journal, clock: systemClock }
        const texts = books.map((book) => JSON.stringify(book))
        async function* some(start: number, end: number) {
          yield* texts.slice(start, end)
        }
        const first = await openImport(deps, index, signal())
        await first.put(some(0, 25))
        const second = await openImport(deps, index, signal())
        assert.equal(second.documents, 25)
        await second.put(some(second.documents, 40))
        await second.settled()
        assert.deepEqual(await contents(shop, 'imported'), books)
      })
    } finally {
      await replication.stop()
      await store.close()
    }
  })
}
