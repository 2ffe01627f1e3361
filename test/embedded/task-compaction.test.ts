/** `POST /tasks/compact`: the file of tasks shrinks while the engine goes on, and nothing of it is lost. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { startEngineServer } from '../../src/embedded/server/engine-server.ts'
import type { JsonObject } from '../../src/lib/json.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-compaction-'))
after(() => rmSync(folder, { recursive: true, force: true }))

async function start() {
  const core = await openEngine(folder, { scrubEveryMs: 5, scrubBytesPerSecond: 2 ** 30 })
  const server = await startEngineServer({ core, host: '127.0.0.1', port: 0, masterKey: null })
  const send = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as JsonObject }
  }
  const ended = async ({ body }: { readonly body: JsonObject }) => {
    const task = await core.waitForTask(Number(body.taskUid), 30_000)
    assert.equal(task?.status, 'succeeded', JSON.stringify(task))
  }
  const close = async () => {
    await server.close()
    await core.close()
  }
  return { core, send, ended, close }
}

test('the file of tasks shrinks, tasks that come meanwhile are run, and a start finds all of it sound', async () => {
  const first = await start()
  const { send, ended, core } = first
  assert.equal((await send('POST', '/tasks/compact')).body.code, 'feature_not_enabled')
  await send('PATCH', '/experimental-features', { taskQueueCompactionRoute: true })
  const put = (id: number) => send('POST', '/indexes/a/documents', [{ id, text: 'x'.repeat(20_000) }])
  for (let from = 0; from < 60; from += 20)
    for (const answer of await Promise.all(Array.from({ length: 20 }, (_, at) => put(from + at)))) await ended(answer)
  await ended(await send('DELETE', '/tasks?statuses=succeeded'))

  const sizeBefore = statSync(join(folder, 'tasks', 'data.mdb')).size
  const [compacted, ...beside] = await Promise.all([
    send('POST', '/tasks/compact'),
    send('POST', '/tasks/compact'),
    ...Array.from({ length: 20 }, (_, at) => put(100 + at)),
  ])
  assert.equal(compacted.status, 200)
  assert.deepEqual(Object.keys(compacted.body), ['preSize', 'postSize', 'status'])
  assert.equal(compacted.body.status, 'succeeded')
  for (const answer of beside.slice(1)) await ended(answer)
  await ended(await put(200))
  const { body } = await send('POST', '/tasks/compact')
  assert.match(String(body.postSize), /KiB$/)
  assert.ok(statSync(join(folder, 'tasks', 'data.mdb')).size < sizeBefore / 2)
  assert.equal((await send('GET', '/health')).status, 200)

  const tasks = (await send('GET', '/tasks?limit=1000')).body
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(core.integrity().damaged, [])
  await first.close()

  const second = await start()
  assert.deepEqual((await second.send('GET', '/tasks?limit=1000')).body, tasks)
  assert.equal((await second.send('GET', '/experimental-features')).body.taskQueueCompactionRoute, true)
  assert.equal((await second.send('GET', '/indexes/a/stats')).body.numberOfDocuments, 81)
  assert.deepEqual(second.core.integrity().damaged, [])
  await second.close()
})
