/** `flapjack engine` in the place of `meilisearch`: its options, variables and configuration file. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type EngineProcess, engineExit, startEngine } from './engine-process.ts'

const root = mkdtempSync(join(tmpdir(), 'flapjack-options-'))
const running = new Set<EngineProcess>()
after(async () => {
  await Promise.all([...running].map((engine) => engine.kill()))
  rmSync(root, { recursive: true, force: true })
})

test('options of Meilisearch that tune parts we do not have are taken and change nothing', async () => {
  const snapshots = join(root, 'snapshots')
  const engine = await startEngine(join(root, 'a'), [
    ...['--no-analytics', '--env', 'production', '--master-key', 'a-master-key-of-16-bytes', '--log-level', 'OFF'],
    ...['--max-indexing-memory', '512 MiB', '--max-indexing-threads', '2', '--experimental-logs-mode', 'JSON'],
    ...['--experimental-reduce-indexing-memory-usage', '--experimental-search-queue-size', '10'],
    ...['--experimental-max-number-of-batched-tasks', '5', '--experimental-contains-filter'],
    ...['--schedule-snapshot', '1', '--snapshot-dir', snapshots],
  ])
  running.add(engine)
  const key = { authorization: 'Bearer a-master-key-of-16-bytes' }
  assert.equal((await engine.call('GET', '/version')).status, 401)
  const features = await engine.call('GET', '/experimental-features', undefined, key)
  assert.equal(features.json.containsFilter, true)
  for (;;) {
    const tasks = await engine.call('GET', '/tasks?types=snapshotCreation&statuses=succeeded', undefined, key)
    if (Number(tasks.json.total) > 0) break
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.deepEqual(readdirSync(snapshots), ['a.snapshot'])
  running.delete(engine)
  await engine.stop()
})

test('variables and a TOML file give the same options; flags win over variables, variables over the file', async () => {
  const file = join(root, 'config.toml')
  writeFileSync(file, `no_analytics = true\nmaster_key = "key-of-the-file-0123"\nhttp_payload_size_limit = "1 KiB"\n`)
  const body = JSON.stringify([{ id: 1, text: 'x'.repeat(2000) }])
  const engine = await startEngine(join(root, 'b'), ['--config-file-path', file], {
    MEILI_HTTP_PAYLOAD_SIZE_LIMIT: '1 MB',
    MEILI_EXPERIMENTAL_ENABLE_METRICS: 'true',
  })
  running.add(engine)
  const key = { authorization: 'Bearer key-of-the-file-0123' }
  assert.equal((await engine.call('POST', '/indexes/a/documents', body, key)).status, 202)
  assert.equal((await engine.call('GET', '/experimental-features', undefined, key)).json.metrics, true)
  running.delete(engine)
  await engine.stop()
})

test('what cannot be honoured is refused before anything starts, with what to do instead', async () => {
  const refused = [
    [['--ssl-cert-path', 'cert.pem'], /--ssl-cert-path: cannot be honoured; .*proxy/],
    [['--s3-bucket-url', 'https://s3.example.com'], /--s3-bucket-url: cannot be honoured/],
    [['--env', 'production'], /master key of at least 16 bytes/],
    [['--ignore-missing-dump'], /import_dump/],
    [['--config-file-path', join(root, 'nothing.toml')], /nothing\.toml/],
    [['--schedule-snapshot', 'often'], /schedule-snapshot/],
  ] as const
  for (const [args, words] of refused) {
    const { code, text } = await engineExit(['--data-dir', join(root, 'c'), ...args])
    assert.equal(code, 2, `${args.join(' ')}: ${text}`)
    assert.match(text, words)
  }
  const { code, text } = await engineExit(['--data-dir', join(root, 'c')], { MEILI_SSL_KEY_PATH: 'key.pem' })
  assert.equal(code, 2, text)
  assert.match(text, /MEILI_SSL_KEY_PATH: cannot be honoured/)
})
