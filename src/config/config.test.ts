import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { ConfigError, configEnvironment, configFields, loadConfig } from './config.ts'

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'flapjack-config-'))
})
after(() => rmSync(folder, { recursive: true }))

function fileWith(source: string): string {
  const path = join(folder, 'flapjack.yaml')
  writeFileSync(path, source)
  return path
}

test('without any setting it listens where Meilisearch does', () => {
  const config = loadConfig({ env: {}, flags: {} })
  assert.deepEqual(config.http.address, { host: '127.0.0.1', port: 7700 })
  assert.equal(config.http.bodyBytesMax, 100_000_000)
  assert.equal(config.engine.kind, 'embedded')
})

test('flags win over the environment, and the environment over the file', () => {
  const file = fileWith('http:\n  address: 127.0.0.1:1\n  gateways: 2\nlog:\n  level: error\n')
  const config = loadConfig({
    env: { MEILI_HTTP_ADDR: 'localhost:2', FLAPJACK_GATEWAYS: '3' },
    flags: { gateways: '4' },
    file,
  })
  assert.deepEqual(config.http.address, { host: 'localhost', port: 2 })
  assert.equal(config.http.gateways, 4)
  assert.equal(config.log.level, 'error')
})

test('fields in groups are read from the file, the environment and other processes of ours alike', () => {
  const file = fileWith('cluster:\n  hedging:\n    p95_trigger_multiplier: 1.5\n    min_trigger_ms: 20\n')
  const env = { FLAPJACK_CLUSTER_HEDGING_MIN_TRIGGER_MS: '30', FLAPJACK_CLUSTER_HEALTH_TIMEOUT_MS: '100' }
  const config = loadConfig({ env, flags: {}, file })
  assert.equal(config.cluster.hedging.p95TriggerMultiplier, 1.5)
  assert.equal(config.cluster.hedging.minTriggerMs, 30)
  assert.equal(config.cluster.hedging.maxHedgesPerQuery, 2)
  assert.equal(config.cluster.health.timeoutMs, 100)
  assert.deepEqual(loadConfig({ env: configEnvironment(config), flags: {} }).cluster, config.cluster)
  const wrong = fileWith('cluster:\n  hedging:\n    min_triger_ms: 1\n  hedgings: {}\n  health: 5\n')
  assert.throws(
    () => loadConfig({ env: {}, flags: {}, file: wrong }),
    (error) => {
      assert(error instanceof ConfigError)
      assert.deepEqual(error.mistakes, [
        'cluster.hedging.min_triger_ms: no such field; did you mean `min_trigger_ms`?',
        'cluster.hedgings: no such field; did you mean `hedging`?',
        'cluster.health: expected fields, found 5',
      ])
      return true
    },
  )
})

test("Meilisearch's own variables mean the same here", () => {
  const env = { MEILI_MASTER_KEY: 'aSampleMasterKey', MEILI_HTTP_PAYLOAD_SIZE_LIMIT: '10 MiB', MEILI_LOG_LEVEL: 'INFO' }
  const config = loadConfig({ env, flags: {} })
  assert.equal(config.project.masterKey?.reveal(), 'aSampleMasterKey')
  assert.equal(config.http.bodyBytesMax, 10 * 1024 * 1024)
  assert.equal(config.log.level, 'info')
})

test('every mistake is reported at once, with its place', () => {
  const file = fileWith('http:\n  adress: 1\n  drain_ms: -1\nhtpp: {}\n')
  const load = () =>
    loadConfig({ env: { FLAPJACK_GATEWAY: '2', FLAPJACK_ENGINE: 'solr' }, flags: { httpAddr: 'x' }, file })
  assert.throws(load, (error) => {
    assert(error instanceof ConfigError)
    assert.deepEqual(error.mistakes, [
      '--http-addr: expected `host:port`, found `x`',
      'http.drain_ms: expected milliseconds, or such as `10s`, from 0 to 600000, found `-1`',
      'FLAPJACK_ENGINE: expected `embedded`, `meilisearch`, found `solr`',
      'http.adress: no such field; did you mean `address`?',
      'htpp: no such section; did you mean `http`?',
      'FLAPJACK_GATEWAY: no such variable; did you mean `FLAPJACK_GATEWAYS`?',
    ])
    return true
  })
})

test('a secret does not print, nor does a wrong one', () => {
  const config = loadConfig({ env: { MEILI_MASTER_KEY: 'hush' }, flags: {} })
  assert(!`${inspect(config)} ${JSON.stringify(config)} ${String(config.project.masterKey)}`.includes('hush'))
})

test('a broken file is a mistake that names its line', () => {
  const file = fileWith('http:\n  address: [\n')
  assert.throws(() => loadConfig({ env: {}, flags: {}, file }), /flapjack\.yaml: .*line/s)
})

test('no variable or flag belongs to two fields', () => {
  const names = configFields.flatMap(({ field }) => [...field.env, ...(field.flag ? [`--${field.flag}`] : [])])
  assert.equal(new Set(names).size, names.length)
})

test('a child process that inherits the configuration reads the same one', () => {
  const env = { MEILI_HTTP_ADDR: '[::1]:7701', DATABASE_URL: 'postgres://u:p@h/d', FLAPJACK_HTTP_DRAIN_MS: '2s' }
  const parent = loadConfig({ env, flags: { dataDir: '/tmp/x' } })
  const child = loadConfig({ env: configEnvironment(parent), flags: {} })
  assert.deepEqual({ ...child, project: null }, { ...parent, project: null })
  assert.equal(child.store.databaseUrl?.reveal(), 'postgres://u:p@h/d')
})
