/** A running server of the search API, whichever it is: made, filled, searched and timed in one way. */

export interface SearchServer {
  readonly name: string
  readonly url: string
  readonly key: string
}

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field
type Answer = any

export async function call(
  server: SearchServer,
  method: string,
  path: string,
  body?: string,
  type = 'application/json',
): Promise<Answer> {
  const response = await fetch(server.url + path, {
    method,
    headers: { authorization: `Bearer ${server.key}`, ...(body === undefined ? {} : { 'content-type': type }) },
    ...(body === undefined ? {} : { body }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${server.name} ${method} ${path}: ${response.status} ${text.slice(0, 300)}`)
  return text === '' ? undefined : JSON.parse(text)
}

/** As the official clients do while they wait for a task: asking more often would be a load of its own. */
const askEveryMs = 50

/** Waits until a task ended; answers its row. */
export async function ended(server: SearchServer, task: number): Promise<Answer> {
  for (;;) {
    const row = await call(server, 'GET', `/tasks/${task}`)
    if (row.status === 'succeeded') return row
    if (row.status === 'failed' || row.status === 'canceled') throw new Error(`${server.name}: ${JSON.stringify(row)}`)
    await new Promise((resolve) => setTimeout(resolve, askEveryMs))
  }
}

export async function createIndex(server: SearchServer, uid: string): Promise<void> {
  const task = await call(server, 'POST', '/indexes', JSON.stringify({ uid, primaryKey: 'id' }))
  await ended(server, task.taskUid)
}

/** Sends payloads without waiting in between; answers documents per second until the last is searchable. */
export async function ingest(
  server: SearchServer,
  uid: string,
  payloads: readonly string[],
  documents: number,
): Promise<number> {
  const start = performance.now()
  let last = 0
  for (const payload of payloads) {
    const task = await call(server, 'POST', `/indexes/${uid}/documents`, payload, 'application/x-ndjson')
    last = task.taskUid
  }
  await ended(server, last)
  return documents / ((performance.now() - start) / 1000)
}

/** Between two looks for a document: a tighter loop would take from the engine what is measured. */
const visiblePauseMs = 5

/** Milliseconds from the 202 of one document until a search finds it. */
export async function visibleAfterMs(server: SearchServer, uid: string, id: number): Promise<number> {
  const word = `needle${id}`
  const document = JSON.stringify({ id, title: word })
  await call(server, 'POST', `/indexes/${uid}/documents`, `${document}\n`, 'application/x-ndjson')
  const start = performance.now()
  for (;;) {
    const found = await call(server, 'POST', `/indexes/${uid}/search`, JSON.stringify({ q: word, limit: 1 }))
    if (found.hits.some((hit: { id: number }) => hit.id === id)) return performance.now() - start
    if (performance.now() - start > 120_000) throw new Error(`${server.name}: document ${id} does not show`)
    await new Promise((resolve) => setTimeout(resolve, visiblePauseMs))
  }
}
