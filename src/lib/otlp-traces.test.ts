import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type FakeEngine, startFakeEngine } from '../../test/support/fake-engine.ts'
import { legAnswer, startSpreadGateway } from '../../test/support/spread-gateway.ts'
import { systemClock } from './clock.ts'
import { openOtlpTraces } from './otlp-traces.ts'

let engines: FakeEngine[] = []
let collector: FakeEngine

before(async () => {
  engines = [await startFakeEngine(), await startFakeEngine()]
  engines.forEach((engine, at) => {
    engine.answer = () => ({ status: 200, body: legAnswer(at, 3) })
  })
  collector = await startFakeEngine()
})

after(() => {
  for (const { server } of [...engines, collector]) server.close()
})

interface SentSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[]
}

const attributesOf = ({ attributes }: SentSpan) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

test('a collector gets a span for each request, its legs below it, in the trace of the caller', async () => {
  const troubles: string[] = []
  const traces = openOtlpTraces({
    ...{ url: collector.url, sampleRate: 0, version: '1', clock: systemClock },
    onTrouble: (message) => troubles.push(message),
  })
  const { gateway, masterKey } = await startSpreadGateway({
    nodes: engines.map(({ url }, at) => ({ id: `n${at + 1}`, url, shards: [at] })),
    plain: { notes: 'n2' },
    more: { traces },
  })
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const search = (uid: string, traceparent?: string) =>
    fetch(`${gateway.url}/indexes/${uid}/search`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${masterKey}`,
        'content-type': 'application/json',
        ...(traceparent === undefined ? {} : { traceparent }),
      },
      body: '{"q":"secret words"}',
    }).then((answer) => answer.text())
  await search('books', `00-${traceId}-b7ad6b7169203331-01`)
  await search('notes', `00-${traceId}-b7ad6b7169203331-01`)
  // Nothing that begins here is traced.
  await search('books')
  await search('books', 'no trace at all')
  await gateway.close(0)
  await traces.close()

  assert.deepEqual(troubles, [])
  assert.ok(collector.seen.every(({ url }) => url === '/v1/traces'))
  assert.ok(!collector.seen.some(({ body }) => body.includes('secret') || body.includes(masterKey)))
  const spans: SentSpan[] = collector.seen.flatMap(({ body }) =>
    JSON.parse(body).resourceSpans.flatMap((resource: { scopeSpans: { spans: SentSpan[] }[] }) =>
      resource.scopeSpans.flatMap(({ spans: some }) => some),
    ),
  )
  assert.deepEqual(new Set(spans.map((span) => span.traceId)), new Set([traceId]))
  const requests = spans.filter(({ name }) => name === 'POST /indexes/{uid}/search')
  assert.deepEqual(
    requests.map((span) => [attributesOf(span)['flapjack.index'], attributesOf(span)['http.response.status_code']]),
    [
      ['books', 200],
      ['notes', 200],
    ],
  )
  const legs = spans.filter(({ name }) => name === 'leg')
  const below = (at: number) =>
    legs
      .filter(({ parentSpanId }) => parentSpanId === requests[at]!.spanId)
      .map((span) => attributesOf(span)['flapjack.node'])
      .sort()
  assert.deepEqual([below(0), below(1)], [['n1', 'n2'], ['n2']])
  // Nodes that trace go on with the trace.
  const told = engines[0]!.seen[0]!.headers.traceparent
  assert.equal(told, `00-${traceId}-${legs.find((span) => attributesOf(span)['flapjack.node'] === 'n1')!.spanId}-01`)
})

test('work that has ended is told with the time that it took, and a collector that is away holds nothing up', async () => {
  const troubles: string[] = []
  const options = { sampleRate: 1, version: '1', clock: systemClock, onTrouble: (text: string) => troubles.push(text) }
  const traces = openOtlpTraces({ url: collector.url, ...options })
  const before = collector.seen.length
  traces.record('delivery', 250, { 'flapjack.node': 'n1' })
  await traces.close()
  const [span] = JSON.parse(collector.seen[before]!.body).resourceSpans[0].scopeSpans[0].spans as SentSpan[]
  assert.equal(span!.name, 'delivery')
  assert.equal(Math.round(Number(BigInt(span!.endTimeUnixNano) - BigInt(span!.startTimeUnixNano)) / 1e6), 250)

  collector.answer = () => ({ status: 400, body: '{}' })
  const away = openOtlpTraces({ url: collector.url, ...options })
  away.begin('GET', {}).end()
  await away.close()
  assert.ok(troubles.length > 0)
})
