/** Calls of the HTTP API with `fetch`, where what is asked about is the answer itself. */
import assert from 'node:assert/strict'
import type { RunningFlapjack } from './server.ts'

export interface ApiAnswer {
  readonly status: number
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever the API answers
  readonly body: any
}

export interface ApiCalls {
  /** @param key  the master key if absent. */
  call(method: string, path: string, body?: unknown, key?: string): Promise<ApiAnswer>
  /** A write, and its task when that has succeeded. */
  // biome-ignore lint/suspicious/noExplicitAny: see above
  write(method: string, path: string, body?: unknown, key?: string): Promise<any>
}

const taskMsMax = 30_000

/** @param server  which is started by the time of the first call. */
export function apiCalls(server: () => Pick<RunningFlapjack, 'url' | 'masterKey'>): ApiCalls {
  const call: ApiCalls['call'] = async (method, path, body, key = server().masterKey) => {
    const response = await fetch(server().url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.includes('json') === true
    return { status: response.status, text, body: isJson && text !== '' ? JSON.parse(text) : undefined }
  }
  return {
    call,
    async write(method, path, body, key) {
      const answer = await call(method, path, body, key)
      assert.equal(answer.status, 202, answer.text)
      for (const deadline = Date.now() + taskMsMax; ; ) {
        const task = await call('GET', `/tasks/${answer.body.taskUid}`, undefined, key)
        if (task.body.status === 'succeeded') return task.body
        assert.ok(task.body.status !== 'failed' && Date.now() < deadline, task.text)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    },
  }
}
