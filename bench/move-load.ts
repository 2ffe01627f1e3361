/** Writes, searches and probes at a steady rate against one index, whatever happens to it; and what must be in it afterwards. */
import { Pool } from 'undici'
import type { Corpus } from './corpus.ts'
import type { SearchServer } from './search-server.ts'

export interface Sample {
  /** Milliseconds of `performance.now()`, when it was sent. */
  readonly at: number
  readonly tookMs: number
}

export interface Rates {
  readonly writesPerSecond: number
  readonly searchesPerSecond: number
}

/** Between two looks for a document, and a tenth of what passed so far: a tighter loop would take from the engine what is measured. */
const probePauseMs = 5
const probeMsMax = 60_000
/** Between two probes, so that they are few beside the other writes. */
const probeEveryMs = 50

export class MoveLoad {
  readonly searches: Sample[] = []
  /** From the 202 of a write until a search finds it. */
  readonly delays: Sample[] = []
  readonly failures: string[] = []
  /** What the document of an id was last given; of acknowledged writes. */
  readonly written = new Map<number, number>()
  lastTask = 0
  readonly #pool: Pool
  readonly #server: SearchServer
  readonly #uid: string
  readonly #corpus: Corpus
  readonly #documents: number
  #serial = 0
  #isOver = false
  readonly #open = new Set<Promise<void>>()

  /** @param documents  ids below it are there already. */
  constructor(server: SearchServer, uid: string, corpus: Corpus, documents: number) {
    this.#pool = new Pool(server.url, { connections: 64 })
    this.#server = server
    this.#uid = uid
    this.#corpus = corpus
    this.#documents = documents
  }

  /** Runs until `stop`. */
  start({ writesPerSecond, searchesPerSecond }: Rates): void {
    this.#run(this.#every(1_000 / writesPerSecond, () => this.#write()))
    this.#run(this.#every(1_000 / searchesPerSecond, () => this.#search()))
    this.#run(this.#probes())
  }

  async stop(): Promise<void> {
    this.#isOver = true
    while (this.#open.size > 0) await Promise.all(this.#open)
  }

  async close(): Promise<void> {
    await this.#pool.close()
  }

  #run(work: Promise<void>): void {
    const running = work.finally(() => this.#open.delete(running))
    this.#open.add(running)
  }

  /** Does not wait for answers: what is slow does not lower the rate. */
  async #every(pauseMs: number, act: () => Promise<void>): Promise<void> {
    for (let due = performance.now(); !this.#isOver; due += pauseMs) {
      const left = due - performance.now()
      if (left > 0) await pause(left)
      this.#run(act())
    }
  }

  async #write(): Promise<void> {
    this.#serial += 1
    const serial = this.#serial
    // Every other one is new; the others replace one that is there, each id at most once at a time.
    const id = serial % 2 === 0 ? this.#documents + serial : (serial * 7_919) % this.#documents
    const document = { ...this.#corpus.document(id), serial }
    const before = this.written.get(id)
    this.written.set(id, serial)
    const reply = await this.#ask('POST', `/indexes/${this.#uid}/documents`, `${JSON.stringify(document)}\n`)
    if (reply?.status !== 202) {
      if (before === undefined) this.written.delete(id)
      else this.written.set(id, before)
      this.failures.push(`write: ${reply?.status ?? 'no answer'} ${reply?.text.slice(0, 200) ?? ''}`)
      return
    }
    this.lastTask = Math.max(this.lastTask, JSON.parse(reply.text).taskUid)
  }

  async #search(): Promise<void> {
    const at = performance.now()
    const body = JSON.stringify({ q: this.#corpus.text(2), limit: 20 })
    const reply = await this.#ask('POST', `/indexes/${this.#uid}/search`, body, 'application/json')
    this.searches.push({ at, tookMs: performance.now() - at })
    if (reply?.status !== 200)
      this.failures.push(`search: ${reply?.status ?? 'no answer'} ${reply?.text.slice(0, 200) ?? ''}`)
  }

  async #probes(): Promise<void> {
    const probeFrom = 10 * this.#documents
    for (let probe = 0; !this.#isOver; probe += 1) {
      const id = probeFrom + probe
      const word = `needle${id}`
      const document = `${JSON.stringify({ id, title: word, serial: -1 })}\n`
      const reply = await this.#ask('POST', `/indexes/${this.#uid}/documents`, document)
      if (reply?.status !== 202) this.failures.push(`probe: ${reply?.status ?? 'no answer'}`)
      else {
        this.written.set(id, -1)
        this.lastTask = Math.max(this.lastTask, JSON.parse(reply.text).taskUid)
        const at = performance.now()
        await this.#shows(word, id)
        this.delays.push({ at, tookMs: performance.now() - at })
      }
      await pause(probeEveryMs)
    }
  }

  async #shows(word: string, id: number): Promise<void> {
    const body = JSON.stringify({ q: word, limit: 1 })
    for (const beganAt = performance.now(); ; ) {
      const reply = await this.#ask('POST', `/indexes/${this.#uid}/search`, body, 'application/json')
      if (reply?.status === 200 && JSON.parse(reply.text).hits[0]?.id === id) return
      const passedMs = performance.now() - beganAt
      if (passedMs > probeMsMax) throw new Error(`document ${id} does not show`)
      await pause(probePauseMs + passedMs / 10)
    }
  }

  async #ask(method: 'GET' | 'POST', path: string, body: string, type = 'application/x-ndjson') {
    try {
      const headers = { authorization: `Bearer ${this.#server.key}`, 'content-type': type }
      const { statusCode, body: answer } = await this.#pool.request({ method, path, headers, body })
      return { status: statusCode, text: await answer.text() }
    } catch {
      return undefined
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
