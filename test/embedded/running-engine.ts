/** An embedded engine behind HTTP in this process, over a folder of its own. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TaskView } from '../../src/api/tasks.ts'
import type { EngineOptions } from '../../src/embedded/core.ts'
import { openEngine } from '../../src/embedded/engine-core.ts'
import { startEngineServer } from '../../src/embedded/server/engine-server.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'

export interface RunningEngine {
  readonly url: string
  get(path: string): Promise<Json>
  text(path: string): Promise<string>
  /** `body` as JSON; a string is sent as it is. */
  send(method: string, path: string, body?: unknown): Promise<JsonObject>
  post(path: string, body?: unknown): Promise<JsonObject>
  patch(path: string, body?: unknown): Promise<JsonObject>
  /** The ended task of an answer; fails unless it ended so. */
  done(answer: JsonObject, status?: TaskView['status']): Promise<TaskView>
  /** Every task has ended. */
  idle(): Promise<void>
  close(): Promise<void>
}

const waitMs = 30_000

export async function startEngine(options: EngineOptions = {}): Promise<RunningEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'flapjack-engine-'))
  const core = await openEngine(folder, options)
  const server = await startEngineServer({ core, host: '127.0.0.1', port: 0, masterKey: null })
  const text = async (path: string) => (await fetch(`${server.url}${path}`)).text()
  const send = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      ...(body === undefined
        ? {}
        : {
            headers: { 'content-type': 'application/json' },
            body: typeof body === 'string' ? body : JSON.stringify(body),
          }),
    })
    return (await response.json()) as JsonObject
  }
  return {
    url: server.url,
    text,
    send,
    get: async (path) => JSON.parse(await text(path)) as Json,
    post: (path, body) => send('POST', path, body),
    patch: (path, body) => send('PATCH', path, body),
    async done({ taskUid, ...rest }, status = 'succeeded') {
      assert.equal(typeof taskUid, 'number', JSON.stringify(rest))
      const task = await core.waitForTask(Number(taskUid), waitMs)
      assert.equal(task?.status, status, JSON.stringify(task))
      return task as TaskView
    },
    async idle() {
      const open = core.tasks({ filter: { statuses: ['enqueued', 'processing'] }, limit: 1000, reverse: false })
      for (const { uid } of open.results) await core.waitForTask(uid, waitMs)
    },
    async close() {
      await server.close()
      await core.close()
      rmSync(folder, { recursive: true })
    },
  }
}
