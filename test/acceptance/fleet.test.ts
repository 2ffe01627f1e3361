/** `flapjack up` with several replica groups: what is started, where indexes go, and what a later start finds. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { runFlapjack, startFlapjack } from './server.ts'

const folder = mkdtempSync(join(tmpdir(), 'flapjack-fleet-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const engine = process.env.MEILISEARCH_BIN === undefined ? [] : ['--engine', 'meilisearch']
const first = engine.length === 0 ? 'n' : 'm'

test('two groups hold every shard, a later start has the same nodes, and a smaller one is refused', async () => {
  const layout = ['--nodes', '1', '--groups', '2', '--shards', '4', '--rf', '2']
  const flapjack = await startFlapjack({ folder, args: [...engine, ...layout] })
  try {
    const headers = { authorization: `Bearer ${flapjack.masterKey}`, 'content-type': 'application/json' }
    const body = JSON.stringify([{ id: 1 }, { id: 2 }])
    const answer = await fetch(`${flapjack.url}/indexes/books/documents`, { method: 'POST', headers, body })
    assert.equal(answer.status, 202)
    await flapjack.cli('index', 'create', 'films', '--plain')
    const { spread } = JSON.parse(await flapjack.cli('index', 'create', 'songs', '--shards', '2', '--json'))
    assert.deepEqual(spread, { shards: 2, replicationFactor: 2, exactTies: true })

    const shown = JSON.parse(await flapjack.cli('index', 'show', 'songs', '--json'))
    assert.deepEqual(
      shown.replicas.map(({ node, group, shards }: Record<string, unknown>) => [node, group, shards]),
      [
        [`${first}1`, 0, [0, 1]],
        [`${first}2`, 1, [0, 1]],
      ],
    )
    const nodes = JSON.parse(await flapjack.cli('node', 'list', '--json'))
    assert.deepEqual(
      nodes.map(({ id, group, isHealthy }: Record<string, unknown>) => [id, group, isHealthy]),
      [
        [`${first}1`, 0, true],
        [`${first}2`, 1, true],
      ],
    )
  } finally {
    await flapjack.stop()
  }

  const less = ['up', '--data-dir', folder, '--http-addr', '127.0.0.1:0', ...engine, '--groups', '1']
  const refused = await runFlapjack(less)
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /2 replica groups.*--groups 2 or more/)

  const again = await startFlapjack({ folder, args: engine })
  try {
    const list = JSON.parse(await again.cli('index', 'list', '--json'))
    assert.deepEqual(
      list.map(({ uid, spread, nodes }: Record<string, unknown>) => [uid, spread !== null, nodes]),
      [
        ['books', true, [`${first}1`, `${first}2`]],
        ['films', false, [`${first}1`]],
        ['songs', true, [`${first}1`, `${first}2`]],
      ],
    )
  } finally {
    await again.stop()
  }
})
