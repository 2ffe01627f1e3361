/** Indexes get other shards, and copies, while the official client writes and searches: nothing fails and nothing is lost. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Meilisearch } from 'meilisearch'
import { systemClock } from '../../src/lib/clock.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

const uid = 'products'
/** Documents that nobody changes: every search for them finds all of them once. */
const fixedCount = 100
const documentCount = 600
const searchers = 2
const movedMsMax = 240_000

interface Product {
  readonly id: number
  readonly title: string
  readonly kind: string
  readonly round: number
}

let server: RunningFlapjack
let client: Meilisearch
before(async () => {
  server = await startFlapjack({ args: ['--nodes', '2'] })
  client = new Meilisearch({ host: server.url, apiKey: server.masterKey })
})
after(async () => {
  await server.stop()
})

/** Writes and searches until it is told to stop. */
class Load {
  readonly failures: string[] = []
  readonly model = new Map<number, Product>()
  searches = 0
  writes = 0
  #isOver = false
  #running: Promise<unknown> = Promise.resolve()

  start(): void {
    const index = client.index(uid)
    const write = async () => {
      for (let round = 1; !this.#isOver; round += 1) {
        const id = fixedCount + (round % (documentCount - fixedCount))
        const product: Product = { id, title: `lamp ${id}`, kind: 'changing', round }
        await index.addDocuments([product]).then(
          () => this.model.set(id, product),
          (error: unknown) => this.failures.push(String(error)),
        )
        this.writes += 1
        await systemClock.sleep(20)
      }
    }
    const search = async () => {
      while (!this.#isOver) {
        await index.search('lamp', { filter: 'kind = fixed', limit: 2 * fixedCount }).then(
          ({ hits }) => {
            const ids = new Set(hits.map(({ id }) => id))
            if (hits.length !== fixedCount || ids.size !== fixedCount) this.failures.push(`${hits.length} hits`)
          },
          (error: unknown) => this.failures.push(String(error)),
        )
        this.searches += 1
        await systemClock.sleep(10)
      }
    }
    this.#running = Promise.all([write(), ...Array.from({ length: searchers }, search)])
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await this.#running
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const ends = Date.now() + movedMsMax; !(await isSo()); ) {
    assert.ok(Date.now() < ends, `${what} takes too long`)
    await systemClock.sleep(100)
  }
}

const stepOf = async (): Promise<unknown> => {
  const [newest] = JSON.parse(await server.cli('move', 'list', '--json')) as { step: string }[]
  return newest?.step
}

async function contents(name: string): Promise<readonly Product[]> {
  const { results } = await client.index<Product>(name).getDocuments({ limit: 10_000 })
  return results.sort((a, b) => a.id - b.id)
}

test('an index is resharded, taken back, resharded again and cloned under load, and no request fails', async () => {
  await server.cli('index', 'create', uid, '--shards', '3', '--rf', '2', '--primary-key', 'id')
  const index = client.index(uid)
  await index.updateFilterableAttributes(['kind'])
  const load = new Load()
  const all = Array.from({ length: documentCount }, (_, id): Product => {
    return { id, title: `lamp ${id}`, kind: id < fixedCount ? 'fixed' : 'changing', round: 0 }
  })
  for (const product of all) load.model.set(product.id, product)
  await index.addDocuments(all).waitTask({ timeout: 60_000 })
  load.start()
  const plan = JSON.parse(await server.cli('index', 'reshard', uid, '--shards', '8', '--dry-run', '--json'))
  assert.equal(plan.after, 8)
  await server.cli('index', 'reshard', uid, '--shards', '8', '--wait')
  const shown = JSON.parse(await server.cli('index', 'show', uid, '--json'))
  assert.equal(shown.spread.shards, 8)
  await server.cli('move', 'undo', uid)
  await until('the way back', async () => (await stepOf()) === 'undone')
  assert.equal(JSON.parse(await server.cli('index', 'show', uid, '--json')).spread.shards, 3)
  await server.cli('index', 'reshard', uid, '--shards', '5', '--keep', '0s', '--wait')
  await server.cli('index', 'clone', uid, 'copies', '--plain')
  await until('the end', async () => (await stepOf()) === 'closed')
  await load.stop()
  assert.deepEqual(load.failures, [])
  assert.ok(load.searches > 50 && load.writes > 50, `${load.searches} searches, ${load.writes} writes`)
  await index.addDocuments([all[0]!]).waitTask({ timeout: 60_000 })
  assert.deepEqual(
    await contents(uid),
    [...load.model.values()].sort((a, b) => a.id - b.id),
  )
  const copies = await contents('copies')
  assert.deepEqual(
    copies.map(({ id }) => id),
    all.map(({ id }) => id),
  )
})
