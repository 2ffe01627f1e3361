import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { TaskView } from '../api/tasks.ts'
import { systemClock } from '../lib/clock.ts'
import { createEgressPolicy, isPublicAddress } from '../lib/egress-policy.ts'
import { startWebhookSender, type WebhookSenderDeps } from './webhook-sender.ts'

function makeTask(uid: number): TaskView {
  const at = '2026-01-01T00:00:00Z'
  return {
    uid,
    batchUid: uid,
    indexUid: 'movies',
    status: 'succeeded',
    type: 'documentAdditionOrUpdate',
    canceledBy: null,
    error: null,
    duration: 'PT1S',
    enqueuedAt: at,
    startedAt: at,
    finishedAt: at,
  }
}

async function startReceiver() {
  const calls: { headers: IncomingHttpHeaders; tasks: TaskView[] }[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const lines = gunzipSync(Buffer.concat(chunks)).toString().trimEnd().split('\n')
    calls.push({ headers: request.headers, tasks: lines.map((line): TaskView => JSON.parse(line)) })
    response.end()
    server.emit('called')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, calls, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` }
}

/** A project with two finished tasks and one webhook. */
function makeDeps(url: string, allowPrivate: boolean, warnings: object[]): WebhookSenderDeps {
  const tasks = [makeTask(0), makeTask(1)]
  let saved = 0
  return {
    journal: {
      feedsBehind: async () => (saved < tasks.length ? [{ project: 'p', cursor: saved }] : []),
      finishedAfter: async (_, cursor) => ({ tasks: tasks.slice(cursor), cursor: tasks.length }),
      saveFeedCursor: async (_, __, cursor) => {
        saved = cursor
      },
      onFinished: async () => async () => undefined,
    },
    catalogue: {
      webhooks: async () => [
        { project: 'p', uuid: 'u', url, headers: { Authorization: 'Bearer x' }, isEditable: true },
      ],
    },
    egress: createEgressPolicy({ allowed: allowPrivate ? 'any' : [] }),
    clock: systemClock,
    log: { warn: (fields) => warnings.push(fields) },
  }
}

test('finished tasks reach a webhook once, as gzip NDJSON with its headers', async () => {
  const { server, calls, url } = await startReceiver()
  const called = once(server, 'called')
  const sender = startWebhookSender(makeDeps(url, true, []))
  await called
  await sender.stop()
  server.close()
  assert.equal(calls.length, 1)
  assert.deepEqual(calls[0]?.tasks, [makeTask(0), makeTask(1)])
  const { authorization, 'content-type': type, 'content-encoding': encoding } = calls[0]?.headers ?? {}
  assert.deepEqual([authorization, type, encoding], ['Bearer x', 'application/x-ndjson', 'gzip'])
})

test('a webhook to a private address is not called, by address or by name', async () => {
  const { server, calls, url } = await startReceiver()
  for (const target of [url, url.replace('127.0.0.1', 'localhost'), url.replace('127.0.0.1', '[::ffff:127.0.0.1]')]) {
    const warnings: object[] = []
    const warned = new Promise<void>((resolve) => {
      const push = warnings.push.bind(warnings)
      warnings.push = (...items) => {
        resolve()
        return push(...items)
      }
    })
    const sender = startWebhookSender(makeDeps(target, false, warnings))
    await warned
    await sender.stop()
    assert.match(JSON.stringify(warnings), /Rejected IP/, target)
  }
  server.close()
  assert.equal(calls.length, 0)
})

test('public addresses are told from all others', () => {
  for (const address of ['8.8.8.8', '1.1.1.1', '2606:4700::1111', '::ffff:8.8.8.8']) assert.ok(isPublicAddress(address))
  const refused = [
    '127.0.0.1',
    '10.1.2.3',
    '172.20.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '::1',
  ]
  for (const address of [...refused, 'fe80::1', 'fd00::1', '::ffff:10.0.0.1', '::', '224.0.0.1', 'x']) {
    assert.ok(!isPublicAddress(address), address)
  }
})
