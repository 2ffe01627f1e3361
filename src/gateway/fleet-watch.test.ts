import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { systemClock, systemTimers } from '../lib/clock.ts'
import type { Node } from '../store/catalogue.ts'
import { buildRouteTable } from '../topology/route-table.ts'
import { createNodePools } from '../upstream/node-pools.ts'
import { createClusterMetrics } from './cluster-metrics.ts'
import { watchFleet } from './fleet-watch.ts'

test('a node that stops answering is seen within a few probes, shown as such, and seen again when it is back', async () => {
  let isWell = true
  const engine = createServer((_, response) => response.writeHead(isWell ? 200 : 503).end('{}'))
  engine.listen(0, '127.0.0.1')
  await once(engine, 'listening')
  const url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`
  const rest = {
    engine: 'embedded',
    region: 'local',
    group: 0,
    capacity: null,
    state: 'active',
    key: 'secret',
  } as const
  const node: Node = { id: 'n1', url, ...rest }
  const table = buildRouteTable({
    ...{ version: 1, projects: [], keys: [], credentials: [], indexes: [], placements: [] },
    nodes: [node],
  })
  const changes = new EventEmitter()
  const fleet = watchFleet({
    options: { intervalMs: 100, timeoutMs: 2_000, unhealthyThreshold: 2, recoveryThreshold: 2 },
    nodes: () => table.nodes(),
    clock: systemClock,
    timers: systemTimers,
    random: { float: () => 0 },
    // A line tells each change.
    log: pino({ level: 'info' }, { write: () => void changes.emit('change') }),
  })
  const registry = new Registry()
  createClusterMetrics(registry, {
    table: () => table,
    topology: { standing: fleet.standing, now: Date.now, pause: async () => undefined },
    clock: systemClock,
  })
  const until = async (state: 'up' | 'down') => {
    const signal = AbortSignal.timeout(10_000)
    while (fleet.health.state('n1') !== state) await once(changes, 'change', { signal })
    return /miroir_node_healthy{node_id="n1"} (\d)/.exec(await registry.metrics())?.[1]
  }
  try {
    assert.equal(await until('up'), '1')
    assert.deepEqual(fleet.standing('n1'), { state: 'up', seenAt: null, error: null })
    isWell = false
    assert.equal(await until('down'), '0')
    assert.equal(fleet.standing('n1').error, 'it answers 503')
    assert.notEqual(fleet.standing('n1').seenAt, null)
    isWell = true
    assert.equal(await until('up'), '1')
  } finally {
    await fleet.close()
    engine.close()
    engine.closeAllConnections()
  }
})

test('failures of live requests count like those of probes', async () => {
  const node: Node = {
    ...{ id: 'n1', url: 'http://127.0.0.1:1', engine: 'embedded', region: 'local', group: 0, capacity: null },
    ...{ state: 'active', key: null },
  }
  const changes = new EventEmitter()
  const lines: string[] = []
  const fleet = watchFleet({
    // The first probe is far away.
    options: { intervalMs: 600_000, timeoutMs: 2_000, unhealthyThreshold: 1, recoveryThreshold: 1 },
    nodes: () => [node],
    clock: systemClock,
    timers: systemTimers,
    random: { float: () => 0.9 },
    log: pino({ level: 'info' }, { write: (line) => void lines.push(line) }),
  })
  const pools = createNodePools({
    ...{ connectionsMax: 1, connectTimeoutMs: 2_000, answerTimeoutMs: 2_000, clock: systemClock },
    listener: fleet.health,
  })
  try {
    const ended = once(changes, 'end')
    const end = () => void changes.emit('end')
    pools
      .connection(node)
      .send(
        { method: 'GET', path: '/', headers: [], body: null },
        { onHead: () => undefined, onData: () => true, onEnd: end, onFailure: end },
      )
    await ended
    assert.equal(fleet.health.state('n1'), 'down')
    assert.match(lines.join(''), /"node":"n1","state":"down"/)
  } finally {
    await fleet.close()
    await pools.close()
  }
})
