/**
 * `POST /chats/{workspace}/chat/completions` (M-F24): the gateway talks to the model, and the searches that the model asks
 * for run as the caller's own: over the indexes that the key sees, by their logical names, under a token's filters.
 */
import { setImmediate } from 'node:timers/promises'
import { defaultDocumentTemplate } from '../api/document-template.ts'
import { ApiError } from '../api/errors.ts'
import { insideQuery } from '../api/multi-search-query.ts'
import { renderTemplate } from '../api/render-query.ts'
import { seesIndex } from '../control/principal.ts'
import { assert } from '../lib/assert.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { checkChatRequest, streamChat } from '../upstream/chat-provider.ts'
import { readWorkspace } from './chat-handlers.ts'
import type { Call, Handler } from './exchange.ts'
import { answerMultiSearch } from './multi-search.ts'
import { EngineError } from './relay.ts'
import { readJson } from './request-body.ts'

/** That showing one document may take: it runs on the event loop of the gateway. */
const renderMsMax = 20

export const completeChat: Handler = async (call) => {
  const { parts, exchange, principal, headers, signal } = call
  const sent = checkChatRequest(await readJson(exchange.request, headers, parts.limits.bodyBytesMax))
  const workspace = await readWorkspace(call)
  const settings = new Map<string, JsonObject>()
  for (const { index } of exchange.table.indexes(principal.project.id)) {
    if (!seesIndex(principal, index.uid)) continue
    const { chat = {} } = await parts.journal.completedSettings(index.id)
    settings.set(index.uid, isObject(chat) ? chat : {})
  }
  const indexes = [...settings].map(([uid, { description }]) => ({ uid, description: textOr(description, '') }))
  const search = (uid: string, q: string, filter: string) => searched(call, uid, settings.get(uid) ?? {}, { q, filter })
  const events = streamChat(sent, { workspace, egress: parts.egress, indexes, search, signal })
  return {
    kind: 'stream',
    status: 200,
    contentType: 'text/event-stream',
    body: encoded(events),
    headers: { 'cache-control': 'no-cache' },
  }
}

async function* encoded(events: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  for await (const event of events) yield Buffer.from(event)
}

/** Found documents, each as the index's template shows it; or what is wrong with the search, for the model to read. */
async function searched(
  call: Call,
  uid: string,
  { searchParameters, documentTemplate }: JsonObject,
  { q, filter }: { readonly q: string; readonly filter: string },
): Promise<string> {
  const parameters = searchParameters !== undefined && isObject(searchParameters) ? searchParameters : {}
  const query = { ...parameters, indexUid: uid, q, ...(filter === '' ? {} : { filter }) }
  try {
    const text = textOr(documentTemplate, defaultDocumentTemplate)
    const shown: string[] = []
    for (const document of await hitsOf(call, query)) {
      await setImmediate()
      const input = { kind: 'document', document, isSearchable: () => true } as const
      shown.push(textOr(renderTemplate({ kind: 'text', text }, input, renderMsMax).rendered, ''))
    }
    return shown.join('\n')
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof EngineError)) throw error
    return error.message.replace(insideQuery(0), '')
  }
}

async function hitsOf(call: Call, query: JsonObject): Promise<readonly JsonObject[]> {
  const answer = await answerMultiSearch(call, { queries: [query] })
  assert(answer.kind === 'bytes', 'a search of one index is answered with bytes')
  const { results } = JSON.parse(Buffer.from(answer.body).toString('utf8')) as {
    readonly results: readonly { readonly hits: readonly JsonObject[] }[]
  }
  return results[0]?.hits ?? []
}

const textOr = (value: Json | undefined, fallback: string): string => (typeof value === 'string' ? value : fallback)
