/** Archives and exports of a project. With MEILISEARCH_BIN, real Meilisearch stands behind the gateway. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { Meilisearch } from 'meilisearch'
import { inEveryLayout } from './layouts.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

const run = promisify(execFile)
/** Beyond a double, in an id, a field and a list. */
const documents = '[{"id":9007199254740993,"isni":12345678901234567890,"price":0.1,"list":[18014398509481985]}]'

const many = Array.from({ length: 60 }, (_, id) => ({ id, name: `document ${id}` }))
const manyLater = many.map(({ id, name }) => ({ id, name: id === 7 ? 'changed' : name }))

let flapjack: RunningFlapjack
let client: Meilisearch

function assertDigits(text: string): void {
  for (const number of ['9007199254740993', '12345678901234567890', '18014398509481985', '0.1']) {
    assert.ok(text.includes(number), `${number} is not in ${text.slice(0, 2_000)}`)
  }
}

inEveryLayout((layout) => {
  before(async () => {
    // The export goes to the same machine.
    process.env.MEILI_EXPERIMENTAL_ALLOWED_IP_NETWORKS = 'any'
    flapjack = await startFlapjack({ args: layout.args })
    client = new Meilisearch({ host: flapjack.url, apiKey: flapjack.masterKey })
    const sent = await fetch(`${flapjack.url}/indexes/numbers/documents?primaryKey=id`, {
      method: 'POST',
      headers: { authorization: `Bearer ${flapjack.masterKey}`, 'content-type': 'application/json' },
      body: documents,
    })
    const { taskUid } = (await sent.json()) as { readonly taskUid: number }
    await client.tasks.waitForTask(taskUid)
    await client.index('many').addDocuments(many).waitTask({ timeout: 20_000 })
    await client
      .index('many')
      .updateDocuments([{ id: 7, name: 'changed' }])
      .waitTask({ timeout: 20_000 })
  })

  after(() => flapjack.stop())

  test('a dump keeps every digit of whole numbers', async () => {
    const task = await client.createDump().waitTask()
    assert.equal(task.status, 'succeeded')
    const dumps = join(flapjack.folder, 'dumps')
    const [project] = await readdir(dumps)
    const [file] = await readdir(join(dumps, project ?? ''))
    const { stdout } = await run('tar', ['-xzOf', join(dumps, project ?? '', file ?? '')])
    assertDigits(stdout.slice(stdout.indexOf('{"id":9007')))
  })

  test('a dump holds every document once, in the order of the index, with nothing but its own fields', async () => {
    const task = await client.createDump().waitTask({ timeout: 20_000 })
    const { dumpUid } = task.details as { readonly dumpUid: string }
    const dumps = join(flapjack.folder, 'dumps')
    const [project] = await readdir(dumps)
    const archive = join(dumps, project ?? '', `${dumpUid}.dump`)
    const { stdout: names } = await run('tar', ['-tzf', archive])
    const file = names.split('\n').find((name) => name.endsWith('many/documents.jsonl'))
    const { stdout } = await run('tar', ['-xzOf', archive, file ?? ''])
    const found = stdout.split('\n').flatMap((line): unknown[] => (line === '' ? [] : [JSON.parse(line)]))
    assert.deepEqual(found, manyLater)
  })

  test('an export keeps every digit of whole numbers', async () => {
    const { masterKey } = JSON.parse(await flapjack.cli('project', 'create', 'target', '--json')) as {
      readonly masterKey: string
    }
    const { taskUid } = await client.httpRequest.post<{ readonly taskUid: number }>({
      path: 'export',
      body: { url: flapjack.url, apiKey: masterKey },
    })
    const task = await client.tasks.waitForTask(taskUid, { timeout: 20_000 })
    assert.equal(task.status, 'succeeded', JSON.stringify(task))
    const read = await fetch(`${flapjack.url}/indexes/numbers/documents`, {
      headers: { authorization: `Bearer ${masterKey}` },
    })
    assertDigits(await read.text())
    const exported = await new Meilisearch({ host: flapjack.url, apiKey: masterKey })
      .index('many')
      .getDocuments({ limit: 100 })
    assert.deepEqual(exported.results, manyLater)
  })
})
