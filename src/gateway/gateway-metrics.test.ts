import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { createGatewayMetrics } from './gateway-metrics.ts'

test('operators see requests by route and status, and how long they took', async () => {
  const registry = new Registry()
  const metrics = createGatewayMetrics(registry, {
    version: () => 7,
    lagMs: () => 500,
    openRequests: () => 2,
    unreadableProjects: () => 0,
  })
  const search = metrics.tally('POST /indexes/{uid}/search')
  metrics.tally('GET /health').add(200, 0.1)
  search.add(200, 1)
  search.add(200, 3)
  search.add(503, 60_000)
  const text = await registry.metrics()
  for (const line of [
    '# TYPE flapjack_http_request_seconds histogram',
    'flapjack_http_requests_total{route="POST /indexes/{uid}/search",status="2xx"} 2',
    'flapjack_http_requests_total{route="POST /indexes/{uid}/search",status="5xx"} 1',
    'flapjack_http_request_seconds_bucket{le="0.001",route="POST /indexes/{uid}/search"} 1',
    'flapjack_http_request_seconds_bucket{le="0.005",route="POST /indexes/{uid}/search"} 2',
    'flapjack_http_request_seconds_bucket{le="10",route="POST /indexes/{uid}/search"} 2',
    'flapjack_http_request_seconds_bucket{le="+Inf",route="POST /indexes/{uid}/search"} 3',
    'flapjack_http_request_seconds_sum{route="POST /indexes/{uid}/search"} 60.004',
    'flapjack_http_request_seconds_count{route="POST /indexes/{uid}/search"} 3',
    'flapjack_route_table_version 7',
    'flapjack_http_open_requests 2',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line} is missing in\n${text}`)
  }
  // Reading twice counts nothing twice.
  assert.equal(await registry.metrics(), text)
})
