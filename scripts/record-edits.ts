/**
 * Records what a real Meilisearch makes of the functions in test/vectors/edit-functions.jsonl:
 * `MEILISEARCH_URL=… node --import tsx scripts/record-edits.ts` with `editDocumentsByFunction` on. New lines need no answer.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { valueJson, valueOfJson } from '../src/embedded/edit-function/value-json.ts'
import { assert } from '../src/lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../src/lib/json.ts'

const path = 'test/vectors/edit-functions.jsonl'
const url = process.env.MEILISEARCH_URL
assert(url !== undefined, 'MEILISEARCH_URL names the server')

async function send(method: string, route: string, body?: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}${route}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
  })
  return { status: response.status, text: await response.text() }
}

async function ended(text: string): Promise<JsonObject> {
  const { taskUid } = JSON.parse(text) as { taskUid: number }
  for (;;) {
    const task = JSON.parse((await send('GET', `/tasks/${taskUid}`)).text) as JsonObject
    if (task.status !== 'enqueued' && task.status !== 'processing') return task
    await setTimeout(5)
  }
}

/** `documents` are JSON texts with members in order of their names, so that numbers keep their kind. */
async function answer(line: JsonObject): Promise<Json> {
  const documents = line.documents as string[]
  await ended((await send('DELETE', '/indexes/edits')).text)
  await ended((await send('POST', '/indexes/edits/documents?primaryKey=id', `[${documents.join(',')}]`)).text)
  const context = typeof line.context === 'string' ? `,"context":${line.context}` : ''
  const body = `{"function":${JSON.stringify(line.function)}${context}}`
  const edit = await send('POST', '/indexes/edits/documents/edit', body)
  if (edit.status !== 202) return { refused: (JSON.parse(edit.text) as JsonObject).message ?? '' }
  const task = await ended(edit.text)
  if (isObject(task.error)) return { error: task.error.message ?? '' }
  const page = valueOfJson((await send('GET', '/indexes/edits/documents?limit=100')).text)
  const results = page instanceof Map ? page.get('results') : undefined
  return { documents: Array.isArray(results) ? results.map(valueJson) : [] }
}

const lines: string[] = []
for (const text of readFileSync(path, 'utf8').split('\n')) {
  if (text === '') continue
  const line = JSON.parse(text) as JsonObject
  lines.push(JSON.stringify({ ...line, answer: await answer(line) }))
}
writeFileSync(path, `${lines.join('\n')}\n`)
