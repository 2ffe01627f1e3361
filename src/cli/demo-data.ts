/** The data set of a first start: 3,201 films of `vega-datasets`, loaded through the public API as any client would. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { SingleBar } from 'cli-progress'
import { request } from 'undici'
import type { Clock } from '../lib/clock.ts'
import { isObject, type JsonObject } from '../lib/json.ts'
import type { Terminal } from './terminal.ts'

export const demoIndex = 'movies'
const batchSize = 400
const pollMs = 25
/** The slowest machine that we still wait for. */
const loadMsMax = 300_000

const settings = {
  searchableAttributes: ['Title', 'Director', 'Distributor', 'Major Genre', 'Source'],
  filterableAttributes: ['Major Genre', 'MPAA Rating', 'Director', 'IMDB Rating', 'US Gross'],
  sortableAttributes: ['IMDB Rating', 'IMDB Votes', 'US Gross', 'Worldwide Gross'],
}

export interface DemoTarget {
  readonly url: string
  readonly masterKey: string
}

/** Resolves when the films can be searched. Safe to run again: the same documents with the same ids. */
export async function loadDemoData(
  target: DemoTarget,
  { terminal, clock, signal }: { readonly terminal: Terminal; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<number> {
  const films = readFilms()
  const bar = terminal.isInteractive
    ? new SingleBar({ format: `Loading ${demoIndex}  [{bar}] {value}/{total}`, barsize: 40, clearOnComplete: false })
    : undefined
  bar?.start(films.length, 0)
  const tasks = [await send(target, 'PATCH', `/indexes/${demoIndex}/settings`, settings)]
  for (let from = 0; from < films.length; from += batchSize) {
    signal.throwIfAborted()
    const path = `/indexes/${demoIndex}/documents?primaryKey=id`
    tasks.push(await send(target, 'POST', path, films.slice(from, from + batchSize)))
  }
  const deadline = clock.monotonic() + loadMsMax
  let done = 0
  while (done < tasks.length) {
    const task = await call(target, 'GET', `/tasks/${tasks[done]}`)
    if (task.status === 'succeeded') {
      done += 1
      bar?.update(Math.min(films.length, Math.max(0, done - 1) * batchSize))
      continue
    }
    if (task.status === 'failed' || task.status === 'canceled') {
      bar?.stop()
      throw new Error(`loading the data set failed: ${JSON.stringify(task.error)}`)
    }
    if (clock.monotonic() > deadline) throw new Error(`the data set was not loaded within ${loadMsMax / 1000} s`)
    await clock.sleep(pollMs, signal)
  }
  bar?.stop()
  if (!bar) terminal.remark(`Loaded ${films.length} films into the index \`${demoIndex}\`.`)
  return films.length
}

/** The file has no ids: a film's place in it, from 1, is its id. Titles that are numbers become text. */
function readFilms(): readonly JsonObject[] {
  // The package exports its code only; the files lie beside it.
  const entry = createRequire(import.meta.url).resolve('vega-datasets')
  const path = join(dirname(entry), '..', 'data', 'movies.json')
  const films: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (!Array.isArray(films)) throw new Error(`${path} is not a list of films`)
  return films.filter(isObject).map((film, place) => ({ id: place + 1, ...film, Title: String(film.Title ?? '') }))
}

async function send(target: DemoTarget, method: 'POST' | 'PATCH', path: string, body: unknown): Promise<number> {
  const { taskUid } = await call(target, method, path, body)
  if (typeof taskUid !== 'number') throw new Error(`${method} ${path} gave no task`)
  return taskUid
}

async function call(
  { url, masterKey }: DemoTarget,
  method: 'GET' | 'POST' | 'PATCH',
  path: string,
  body?: unknown,
): Promise<JsonObject> {
  const answer = await request(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${masterKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const value: unknown = await answer.body.json()
  if (answer.statusCode >= 400 || !isObject(value)) {
    throw new Error(`${method} ${path} answered ${answer.statusCode}: ${JSON.stringify(value)}`)
  }
  return value
}
