/**
 * Kills real processes at random points of a stream of writes and compares what is there afterwards with a model.
 *
 * Against the embedded engine, or a real Meilisearch when MEILISEARCH_BIN names one.
 * Two test files share the seeds, so that both cores have work. CRASH_SEEDS (default 50) seeds, from CRASH_FROM (default 1).
 * A failing seed prints itself: `CRASH_FROM=<seed> CRASH_SEEDS=1 node --import tsx --test test/crash/*.test.ts`.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../src/lib/random.ts'
import { apply, type Contents, randomWrite, requestOf, type Write } from './model.ts'
import { CrashServer, type Victim } from './server.ts'

const seeds = Number(process.env.CRASH_SEEDS ?? 50)
const from = Number(process.env.CRASH_FROM ?? 1)
const victims: readonly Victim[] = ['server', 'postgres', 'engine', 'all']
const writesPerSeed = 40

interface Task {
  readonly uid: number
  readonly indexUid: string | null
  readonly status: string
  readonly type: string
  readonly error: { readonly code: string } | null
  readonly customMetadata?: string
}

/** The seeds of one parity: 0 = even, 1 = odd. */
export function crashSuite(parity: 0 | 1): void {
  let server: CrashServer
  before(async () => {
    const binary = process.env.MEILISEARCH_BIN
    server = await CrashServer.create(binary === undefined ? [] : ['--engine', 'meilisearch', '--engine-bin', binary])
  })
  after(() => server.destroy())

  for (let seed = from; seed < from + seeds; seed += 1) {
    if (seed % 2 !== parity) continue
    const victim = victims[Math.floor(seed / 2) % victims.length]!
    test(`every acknowledged write survives kill -9 of ${victim} exactly once and in order (seed ${seed})`, async () => {
      const random = seededRandom(seed)
      const indexes = [`a${seed}`, `b${seed}`]
      for (const index of indexes) {
        const created = await server.request('POST', '/indexes', { uid: index, primaryKey: 'id' })
        assert.equal(created.status, 202)
        const settings = await server.request('PATCH', `/indexes/${index}/settings`, {
          filterableAttributes: ['group'],
        })
        assert.equal(settings.status, 202)
      }

      const sent = new Map<string, Write>()
      const acknowledged = new Map<string, number>()
      const killAt = random.integer(writesPerSeed)
      let crash: Promise<void> | undefined
      for (let serial = 0; serial < writesPerSeed; serial += 1) {
        if (serial === killAt) {
          crash = server.kill(victim).then(async () => {
            if (victim === 'server' || victim === 'all') await server.restart()
          })
          // Some writes run into the crash itself, the rest come after it.
          if (random.integer(2) === 0) await crash
        }
        const write = randomWrite(random, indexes, serial)
        const tag = `s${seed}-${serial}`
        sent.set(tag, write)
        const task = await send(server, write, tag)
        if (task !== undefined) acknowledged.set(tag, task)
        else if (crash !== undefined) await crash
      }
      await crash
      await server.ready()

      const tasks = await settled(server, indexes)
      const byTag = new Map(tasks.map((task) => [task.customMetadata, task]))
      for (const [tag, task] of acknowledged)
        assert.equal(byTag.get(tag)?.uid, task, `${tag} got 202 and is not in the task list`)
      assert.equal(
        byTag.size - (byTag.has(undefined) ? 1 : 0),
        tasks.filter((task) => task.customMetadata !== undefined).length,
        'a write is there twice',
      )

      const contents = new Map<string, Contents>(indexes.map((index) => [index, new Map()]))
      for (const task of tasks) {
        const write = task.customMetadata === undefined ? undefined : sent.get(task.customMetadata)
        if (write === undefined) {
          assert.equal(task.status, 'succeeded', JSON.stringify(task))
          continue
        }
        assert.equal(task.status, write.kind === 'bad' ? 'failed' : 'succeeded', JSON.stringify(task))
        if (write.kind === 'bad') assert.equal(task.error?.code, 'missing_document_id')
        apply(contents.get(write.index)!, write)
      }
      for (const index of indexes) {
        const { status, body } = await server.request('POST', `/indexes/${index}/documents/fetch`, { limit: 1000 })
        assert.equal(status, 200, JSON.stringify(body))
        const byId = (documents: readonly { readonly id: number }[]) =>
          [...documents].sort((left, right) => left.id - right.id)
        assert.deepEqual(byId(body.results), byId([...contents.get(index)!.values()]))
      }
    })
  }
}

/** Sends one write; `undefined` = no answer came, or a 5xx: it may have been taken or not. */
async function send(server: CrashServer, write: Write, tag: string): Promise<number | undefined> {
  const { method, path, body } = requestOf(write)
  const tagged = `${path}${path.includes('?') ? '&' : '?'}customMetadata=${tag}`
  const answer = await server.request(method, tagged, body).catch(() => undefined)
  if (answer === undefined || answer.status >= 500) return undefined
  assert.equal(answer.status, 202, JSON.stringify(answer.body))
  return answer.body.taskUid
}

async function tasksOf(server: CrashServer, indexes: readonly string[]): Promise<readonly Task[]> {
  const { body } = await server.request('GET', `/tasks?limit=100000&reverse=true&indexUids=${indexes.join(',')}`)
  return body.results
}

async function settled(server: CrashServer, indexes: readonly string[]): Promise<readonly Task[]> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const tasks = await tasksOf(server, indexes)
    const open = tasks.filter((task) => task.status === 'enqueued' || task.status === 'processing')
    if (open.length === 0) return tasks
    assert.ok(Date.now() < deadline, `tasks do not end: ${JSON.stringify(open.slice(0, 5))}\n${server.output}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
