import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { untilRoutesTaken } from '../replication/routes-taken.ts'
import { beatMs, openMemoryRegistry } from '../store/gateway-registry.ts'
import { startHeartbeat } from './heartbeat.ts'

// A lane that empties a replica waits for it: seconds until the next beat would be seconds without that replica.
test('a gateway that is asked takes over the newest routes and says so long before its next beat', async () => {
  const gateways = openMemoryRegistry(systemClock, async () => 2)
  let appliedVersion = 1
  const log = { warn() {}, error() {} }
  const heartbeat = startHeartbeat({
    registry: gateways,
    describe: () => ({ id: 'g', address: 'http://g', version: '1', startedAt: 0, appliedVersion }),
    async refresh() {
      appliedVersion = 2
    },
    onCount() {},
    clock: systemClock,
    log,
  })
  assert.equal((await gateways.routing()).oldest, 1)
  await untilRoutesTaken({ gateways, clock: systemClock, log }, AbortSignal.timeout(beatMs / 2))
  assert.equal((await gateways.routing()).oldest, 2)
  await heartbeat.close()
  assert.equal((await gateways.routing()).oldest, null)
})
