/**
 * The engine's disk is lost or replaced by an older one, with the process killed as in `crash-suite.ts`: the journal is the
 * truth, and the node is rebuilt from it.
 *
 * Against the embedded engine, or a real Meilisearch when MEILISEARCH_BIN names one.
 */
import assert from 'node:assert/strict'
import { cp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../src/lib/random.ts'
import { apply, type Contents, randomWrite, requestOf, type Write } from './model.ts'
import { CrashServer, type Victim } from './server.ts'

const writesPerRun = 60
const rebuiltMsMax = 60_000

let server: CrashServer
before(async () => {
  const binary = process.env.MEILISEARCH_BIN
  server = await CrashServer.create(binary === undefined ? [] : ['--engine', 'meilisearch', '--engine-bin', binary])
})
after(() => server.destroy())

const runs: readonly { readonly seed: number; readonly victim: Victim; readonly disk: 'wiped' | 'older' }[] = [
  { seed: 1, victim: 'engine', disk: 'wiped' },
  { seed: 2, victim: 'all', disk: 'wiped' },
  { seed: 3, victim: 'all', disk: 'older' },
]

for (const { seed, victim, disk } of runs) {
  test(`every acknowledged write is there after kill -9 of ${victim} and a disk that is ${disk} (seed ${seed})`, async () => {
    const random = seededRandom(seed)
    const indexes = [`a${seed}`, `b${seed}`]
    for (const index of indexes) {
      await accepted('POST', '/indexes', { uid: index, primaryKey: 'id' })
      await accepted('PATCH', `/indexes/${index}/settings`, { filterableAttributes: ['group'] })
    }
    const sent = new Map<string, Write>()
    const nodes = join(server.folder, 'engines')
    const copy = join(server.folder, 'older-engines')
    for (let serial = 0; serial < writesPerRun; serial += 1) {
      if (disk === 'older' && serial === writesPerRun / 3) {
        await settled()
        await server.kill('all')
        await cp(nodes, copy, { recursive: true })
        await server.restart()
        await server.ready()
      }
      if (serial === (2 * writesPerRun) / 3) {
        await settled()
        await server.kill(victim)
        for (const node of await readdir(nodes)) {
          await rm(join(nodes, node, 'db'), { recursive: true, force: true })
          if (disk === 'older') await cp(join(copy, node, 'db'), join(nodes, node, 'db'), { recursive: true })
        }
        if (victim === 'all') await server.restart()
        await server.ready()
      }
      const write = randomWrite(random, indexes, serial)
      const tag = `w${seed}-${serial}`
      sent.set(tag, write)
      const { method, path, body } = requestOf(write)
      await accepted(method, `${path}${path.includes('?') ? '&' : '?'}customMetadata=${tag}`, body)
    }
    const expected = new Map<string, Contents>(indexes.map((index) => [index, new Map()]))
    for (const write of sent.values()) apply(expected.get(write.index)!, write)
    for (const index of indexes) await holds(index, [...expected.get(index)!.values()])
    const tasks = await settled()
    for (const task of tasks.filter(({ customMetadata }) => customMetadata?.startsWith(`w${seed}-`))) {
      const write = sent.get(task.customMetadata!)!
      assert.equal(task.status, write.kind === 'bad' ? 'failed' : 'succeeded', JSON.stringify(task))
    }
  })
}

async function accepted(method: string, path: string, body: unknown): Promise<void> {
  const answer = await server.request(method, path, body)
  assert.equal(answer.status, 202, JSON.stringify(answer.body))
}

interface Task {
  readonly status: string
  readonly customMetadata?: string
}

async function settled(): Promise<readonly Task[]> {
  const deadline = Date.now() + rebuiltMsMax
  for (;;) {
    const { body } = await server.request('GET', '/tasks?limit=10000')
    const tasks: readonly Task[] = body.results
    if (tasks.every(({ status }) => status !== 'enqueued' && status !== 'processing')) return tasks
    assert.ok(Date.now() < deadline, `tasks do not end:\n${server.output}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Until the node is rebuilt, reads are refused or behind; in the end they must be equal. */
async function holds(index: string, documents: readonly { readonly id: number }[]): Promise<void> {
  const byId = (list: readonly { readonly id: number }[]) => [...list].sort((left, right) => left.id - right.id)
  const deadline = Date.now() + rebuiltMsMax
  for (;;) {
    const { status, body } = await server.request('POST', `/indexes/${index}/documents/fetch`, { limit: 1000 })
    try {
      assert.equal(status, 200, JSON.stringify(body))
      assert.deepEqual(byId(body.results), byId(documents))
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
