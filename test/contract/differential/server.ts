/** A server under comparison: fills it with worlds and asks it. */
import { isObject, type Json } from '../../../src/lib/json.ts'
import { type Answer, steadyAnswer } from './comparison.ts'
import type { Question } from './questions.ts'
import type { World } from './worlds.ts'

export interface ServerAddress {
  readonly url: string
  readonly key: string
}

const taskMsMax = 120_000

/**
 * Settings first, then all documents in one payload, so that documents have the same internal order on every server; waits
 * for the last task of each part.
 */
export async function loadWorld(server: ServerAddress, { uid, settings, documents, more }: World): Promise<void> {
  await send(server, 'POST', '/indexes', { uid, primaryKey: 'id' })
  await send(server, 'PATCH', `/indexes/${uid}/settings`, settings)
  await finish(server, uid, await send(server, 'POST', `/indexes/${uid}/documents`, [...documents]))
  for (const { method, path, body } of more) await finish(server, uid, await send(server, method, path, body))
}

async function finish(server: ServerAddress, uid: string, answer: Answer): Promise<void> {
  const task = isObject(answer.body) ? answer.body.taskUid : undefined
  for (const deadline = Date.now() + taskMsMax; ; ) {
    const { body } = await send(server, 'GET', `/tasks/${String(task)}`)
    const status = isObject(body) ? body.status : undefined
    if (status === 'succeeded') break
    if ((status !== 'enqueued' && status !== 'processing') || Date.now() > deadline)
      throw new Error(`${uid} was not filled: ${JSON.stringify([answer.body, body])}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export async function switchFeaturesOn(server: ServerAddress): Promise<void> {
  await send(server, 'PATCH', '/experimental-features', {
    containsFilter: true,
    foreignKeys: true,
    dynamicSearchRules: true,
    multimodal: true,
  })
}

export async function ask(server: ServerAddress, { method, path, body }: Question): Promise<Answer> {
  return steadyAnswer(await send(server, method ?? 'POST', path, body))
}

export async function send(server: ServerAddress, method: string, path: string, body?: Json): Promise<Answer> {
  const answer = await fetch(`${server.url}${path}`, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${server.key}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: JSON.parse(await answer.text()) }
}
