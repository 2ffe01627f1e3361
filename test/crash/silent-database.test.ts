/** The database is there and says nothing, which no closed connection tells: writes are refused in time, searches go on. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { CrashServer, masterKey } from './server.ts'

let server: CrashServer
before(async () => {
  server = await CrashServer.create()
})
after(() => server.destroy())

const write = (id: number) =>
  fetch(`${server.url}/indexes/books/documents`, {
    method: 'POST',
    headers: { authorization: `Bearer ${masterKey}`, 'content-type': 'application/json' },
    body: JSON.stringify([{ id, title: 'prince' }]),
    signal: AbortSignal.timeout(60_000),
  })

async function settle(): Promise<readonly { readonly status: string }[]> {
  for (const deadline = Date.now() + 60_000; ; ) {
    const { body } = await server.request('GET', '/tasks?limit=1000')
    if (body.results.every((task: { status: string }) => task.status === 'succeeded')) return body.results
    assert.ok(Date.now() < deadline, JSON.stringify(body))
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('while the database is stopped, writes get 503 with Retry-After, searches go on, and nothing is half stored', async () => {
  assert.equal((await write(1)).status, 202)
  await settle()
  const pids = await server.postgresPids()
  assert.ok(pids.length > 0)
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  let refused: Response
  try {
    const writing = write(2)
    const found = await server.request('POST', '/indexes/books/search', { q: 'prince' })
    assert.deepEqual(
      found.body.hits.map((hit: { id: number }) => hit.id),
      [1],
    )
    refused = await writing
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
  assert.equal(refused.status, 503)
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
  assert.equal(((await refused.json()) as { code: string }).code, 'task_registry_unavailable')

  await server.ready()
  assert.equal((await write(3)).status, 202)
  const tasks = await settle()
  const { body } = await server.request('POST', '/indexes/books/documents/fetch', { limit: 10 })
  const ids = body.results.map((document: { id: number }) => document.id)
  assert.deepEqual(ids, [1, 3])
  assert.equal(tasks.length, 2)
})
