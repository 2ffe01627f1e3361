import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { systemClock } from '../lib/clock.ts'
import { EngineUnavailable } from './local-driver.ts'
import { registerRemoteNode } from './remote-node.ts'

test('an engine that refuses the key is told at the start, not by writes that never end', async () => {
  const engine = createServer(({ url, headers }, response) => {
    const isAllowed = url === '/health' || headers.authorization === 'Bearer right'
    const status = isAllowed ? 200 : headers.authorization === undefined ? 401 : 403
    response.writeHead(status).end('{"code":"missing_authorization_header"}')
  })
  await new Promise<void>((resolve) => engine.listen(0, '127.0.0.1', resolve))
  const address = engine.address()
  assert(address !== null && typeof address === 'object')
  const stored: string[] = []
  const deps = {
    catalogue: {
      putNode: async (node: { readonly id: string; readonly url: string; readonly key: string | null }) => {
        stored.push(node.id)
        return { ...node, engine: 'meilisearch', region: 'local', group: 0, capacity: null, state: 'active' } as const
      },
    },
    clock: systemClock,
    signal: new AbortController().signal,
  }
  const url = `http://127.0.0.1:${address.port}`
  const node = { id: 'r1', engine: 'meilisearch', url, region: 'local' } as const
  await assert.rejects(registerRemoteNode({ ...node, key: 'wrong' }, deps), EngineUnavailable)
  await assert.rejects(registerRemoteNode({ ...node, key: null }, deps), EngineUnavailable)
  assert.deepEqual(stored, [])
  await registerRemoteNode({ ...node, key: 'right' }, deps)
  assert.deepEqual(stored, ['r1'])
  engine.close()
  engine.closeAllConnections()
})
