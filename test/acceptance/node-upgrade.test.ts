/** A node gets another program while its index is searched. With MEILISEARCH_BIN two real Meilisearch stand behind it. */
import assert from 'node:assert/strict'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Meilisearch } from 'meilisearch'
import { systemClock } from '../../src/lib/clock.ts'
import { runFlapjack, startFlapjack } from './server.ts'

const binary = process.env.MEILISEARCH_BIN ?? ''

test('what is no Meilisearch of this folder gets no other program, and stays as it is', async () => {
  const server = await startFlapjack()
  try {
    const ask = (...args: string[]) => runFlapjack(['node', 'upgrade', ...args, '--data-dir', server.folder])
    assert.equal((await ask('n1')).code, 2)
    assert.equal((await ask('n1', '--engine-bin', '/no/such/program')).code, 2)
    assert.equal((await ask('n1', '--engine-bin', process.execPath)).code, 2)
    const nodes = JSON.parse(await server.cli('node', 'list', '--json')) as { state: string }[]
    assert.deepEqual(
      nodes.map(({ state }) => state),
      ['active'],
    )
  } finally {
    await server.stop()
  }
})

if (binary !== '') {
  test('a node of Meilisearch gets another program while its index is searched, and takes the index again', async () => {
    const engine = ['--engine', 'meilisearch', '--engine-bin', binary]
    const server = await startFlapjack({ args: [...engine, '--nodes', '2'] })
    try {
      const client = new Meilisearch({ host: server.url, apiKey: server.masterKey })
      const index = client.index('books')
      const books = Array.from({ length: 200 }, (_, id) => ({ id, title: `book ${id}` }))
      await index.addDocuments(books, { primaryKey: 'id' }).waitTask({ timeout: 60_000 })
      const homeOf = async () =>
        JSON.parse(await server.cli('index', 'show', 'books', '--json')).replicas[0].node as string
      const home = await homeOf()
      const other = join(server.folder, 'another-meilisearch')
      symlinkSync(binary, other)
      const failures: string[] = []
      let isOver = false
      const searching = (async () => {
        while (!isOver) {
          await index.search('book', { limit: 500 }).then(
            ({ hits }) => hits.length === books.length || failures.push(`${hits.length} hits`),
            (error: unknown) => failures.push(String(error)),
          )
          await systemClock.sleep(20)
        }
      })()
      await server.cli('node', 'upgrade', home, '--engine-bin', other)
      isOver = true
      await searching
      assert.deepEqual(failures, [])
      assert.equal(await homeOf(), home)
      assert.equal(JSON.parse(readFileSync(join(server.folder, 'engines', home, 'engine.json'), 'utf8')).bin, other)
      assert.equal((await index.getDocuments({ limit: 500 })).results.length, books.length)
    } finally {
      await server.stop()
    }
  })
}
