/**
 * A client as an application has it: the official package against one gateway, and against the other one when the first
 * does not answer.
 */
import {
  type EnqueuedTaskPromise,
  Meilisearch,
  MeilisearchApiError,
  type SearchParams,
  type SearchResponse,
} from 'meilisearch'
import type { Document, Write } from './model.ts'
import { masterKey } from './server.ts'

/** Longer than a node that hangs is waited for, shorter than the test likes to wait for a gateway that does. */
const answerMsMax = 40_000

export type Outcome<T> =
  | { readonly kind: 'answered'; readonly value: T }
  /** An answer that is an error. */
  | { readonly kind: 'refused'; readonly status: number; readonly code: string; readonly message: string }
  /** No gateway answered: what was asked may have happened or not. */
  | { readonly kind: 'lost'; readonly reason: string }

export class FleetClient {
  readonly #clients: readonly Meilisearch[]
  #first = 0

  constructor(urls: readonly string[]) {
    this.#clients = urls.map((host) => new Meilisearch({ host, apiKey: masterKey, timeout: answerMsMax }))
  }

  /** Reads may be asked again; the one that did not answer is not the first to be asked next time. */
  search(index: string, query: string, params: SearchParams): Promise<Outcome<SearchResponse<Document>>> {
    return this.#ask((client) => client.index<Document>(index).search(query, params), true)
  }

  tasks(params: Parameters<Meilisearch['tasks']['getTasks']>[0]) {
    return this.#ask((client) => client.tasks.getTasks(params), true)
  }

  /** The number of its task. A write that got no answer is not sent again: the list of tasks tells what came of it. */
  async write(write: Write, customMetadata: string): Promise<Outcome<number>> {
    const outcome = await this.#ask((client) => sent(client, write, customMetadata), false)
    return outcome.kind === 'answered' ? { kind: 'answered', value: outcome.value.taskUid } : outcome
  }

  async settings(index: string, settings: Parameters<ReturnType<Meilisearch['index']>['updateSettings']>[0]) {
    return this.#ask((client) => client.index(index).updateSettings(settings), false)
  }

  async #ask<T>(call: (client: Meilisearch) => Promise<T>, mayRepeat: boolean): Promise<Outcome<T>> {
    let reason = ''
    for (let turn = 0; turn < this.#clients.length; turn += 1) {
      const number = this.#first
      try {
        return { kind: 'answered', value: await call(this.#clients[number]!) }
      } catch (error) {
        if (error instanceof MeilisearchApiError) {
          const { status } = error.response
          return { kind: 'refused', status, code: error.cause?.code ?? '', message: error.message }
        }
        reason = `${String(error)} ${error instanceof Error ? String(error.cause ?? '') : ''}`
        if (this.#first === number) this.#first = (number + 1) % this.#clients.length
        if (!mayRepeat) break
      }
    }
    return { kind: 'lost', reason }
  }
}

function sent(client: Meilisearch, write: Write, customMetadata: string): EnqueuedTaskPromise {
  const index = client.index<Document>(write.index)
  switch (write.kind) {
    case 'put':
      return index.addDocuments([...write.documents], { customMetadata })
    case 'put-existing':
      return index.addDocuments([...write.documents], { customMetadata, skipCreation: true })
    case 'merge':
      return index.updateDocuments([...write.documents], { customMetadata })
    case 'delete':
      return index.deleteDocuments([...write.ids], { customMetadata })
    case 'delete-group':
      return index.deleteDocuments({ filter: `group = ${write.group}` }, { customMetadata })
    case 'clear':
      return index.deleteAllDocuments({ customMetadata })
    case 'bad':
      return client.index(write.index).addDocuments([...write.documents], { customMetadata })
  }
}
