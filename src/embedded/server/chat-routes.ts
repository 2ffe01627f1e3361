/** Chat workspaces and their conversations (M-F24). Workspaces are kept beside keys and flags. */
import { Readable } from 'node:stream'
import { type Action, allows } from '../../api/actions.ts'
import { applyChatSettings, type ChatWorkspace, chatNotFound, renderChatSettings } from '../../api/chat-workspace.ts'
import { defaultDocumentTemplate } from '../../api/document-template.ts'
import { ApiError } from '../../api/errors.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { andFilters } from '../../api/filter.ts'
import { checkIndexUid, matchesSomeIndexPattern } from '../../api/index-uid.ts'
import { decodeIndexPage, renderPage } from '../../api/page-query.ts'
import { decodeSearchQuery } from '../../api/search-query.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { checkChatRequest, streamChat } from '../../upstream/chat-provider.ts'
import { type Answer, type Call, json, noContent, type Route, readJson, readOptions } from './call.ts'
import { forcedFilter, invalidKey } from './key-ring.ts'

const prefix = 'chat:'

const route = (
  method: Route['method'],
  path: string,
  action: Action,
  flagged: string,
  handle: Route['handle'],
): Route => ({
  method,
  path,
  action,
  handle(call) {
    if (!call.parts.features().chatCompletions) throw featureNotEnabled('chatCompletions', flagged)
    return handle(call)
  },
})

const settingsRoute = 'using the /chats/settings route'

export const chatRoutes: readonly Route[] = [
  route('GET', '/chats', 'chats.get', 'listing the chats', ({ parts, search }) => {
    const uids = parts.core.store.list(prefix).map(({ key }) => ({ uid: key.slice(prefix.length) }))
    return json(renderPage(uids, decodeIndexPage(search)))
  }),
  route('GET', '/chats/{workspace}', 'chats.get', 'displaying a chat', (call) => {
    const uid = checkIndexUid(call.params[0] ?? '')
    if (workspaceOf(call, uid) === null) throw chatNotFound(uid, '')
    return json({ uid })
  }),
  route('DELETE', '/chats/{workspace}', 'chats.delete', 'deleting a chat', async ({ parts, params }) => {
    const uid = params[0] ?? ''
    if (!(await parts.core.store.delete(prefix + uid))) throw chatNotFound(uid, '')
    return noContent
  }),
  route('GET', '/chats/{workspace}/settings', 'chatsSettings.get', settingsRoute, (call) =>
    json(renderChatSettings(needWorkspace(call))),
  ),
  route('PATCH', '/chats/{workspace}/settings', 'chatsSettings.update', settingsRoute, async (call) => {
    const sent = await readJson(call)
    const uid = checkIndexUid(call.params[0] ?? '')
    const next = applyChatSettings(workspaceOf(call, uid), sent)
    await call.parts.core.store.put(prefix + uid, toJson(next))
    return json(renderChatSettings(next))
  }),
  route('DELETE', '/chats/{workspace}/settings', 'chatsSettings.update', settingsRoute, async (call) => {
    needWorkspace(call)
    const next = applyChatSettings(null, {})
    await call.parts.core.store.put(prefix + (call.params[0] ?? ''), toJson(next))
    return json(renderChatSettings(next))
  }),
  route(
    'POST',
    '/chats/{workspace}/chat/completions',
    'chatCompletions',
    'using the /chats chat completions route',
    complete,
  ),
]

const toJson = ({ prompts, ...workspace }: ChatWorkspace): JsonObject => ({ ...workspace, prompts: { ...prompts } })

function workspaceOf({ parts }: Call, uid: string): ChatWorkspace | null {
  const stored = parts.core.store.get(prefix + uid)
  return stored === undefined ? null : applyChatSettings(null, stored)
}

function needWorkspace(call: Call): ChatWorkspace {
  const uid = call.params[0] ?? ''
  const found = workspaceOf(call, uid)
  if (found === null) throw chatNotFound(uid, '`')
  return found
}

async function complete(call: Call): Promise<Answer> {
  const sent = checkChatRequest(await readJson(call))
  const { parts, access } = call
  if (!allows(access.actions, 'search')) throw invalidKey()
  const workspace = needWorkspace(call)
  const uids = parts.core.indexes().flatMap(({ uid }) => (matchesSomeIndexPattern(access.indexes, uid) ? [uid] : []))
  const indexes = await Promise.all(
    uids.map(async (uid) => ({ uid, description: textOr((await chatOf(call, uid)).description, '') })),
  )
  const closed = new AbortController()
  const stream = streamChat(sent, {
    workspace,
    egress: parts.egress,
    indexes,
    search: (uid, q, filter) => search(call, uid, q, filter),
    signal: closed.signal,
  })
  const body = Readable.from(stream)
  body.once('close', () => closed.abort())
  return {
    status: 200,
    body,
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' },
  }
}

/** The `chat` setting of an index. */
async function chatOf({ parts }: Call, uid: string): Promise<JsonObject> {
  const { chat } = await parts.core.settings(uid)
  return chat !== undefined && isObject(chat) ? chat : {}
}

/** Found documents, each as the index's template shows it; or what is wrong with the search, for the model to read. */
async function search(call: Call, uid: string, q: string, filter: string): Promise<string> {
  const { core } = call.parts
  const chat = await chatOf(call, uid)
  const parameters = chat.searchParameters !== undefined && isObject(chat.searchParameters) ? chat.searchParameters : {}
  try {
    const query = decodeSearchQuery({ ...parameters, q, ...(filter === '' ? {} : { filter }) })
    const forced = forcedFilter(call.access, uid)
    const restricted = forced === null ? query : { ...query, filter: andFilters(forced, query.filter) }
    const found = JSON.parse(Buffer.from(await core.search(uid, restricted, readOptions(call))).toString()) as {
      readonly hits: readonly JsonObject[]
    }
    const template = textOr(chat.documentTemplate, defaultDocumentTemplate)
    const texts = await Promise.all(found.hits.map((hit) => rendered(call, template, hit)))
    return texts.join('\n')
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return error.message
  }
}

async function rendered({ parts }: Call, template: string, document: JsonObject): Promise<string> {
  const answer = await parts.core.renderTemplate({
    template: {
      kind: 'inlineDocumentTemplate',
      indexUid: null,
      embedder: null,
      fragment: null,
      inline: template,
      documentTemplateMaxBytes: null,
    },
    input: { kind: 'inlineDocument', indexUid: null, id: null, inline: document },
  })
  const { rendered: text } = JSON.parse(Buffer.from(answer).toString()) as { readonly rendered: string }
  return text
}

const textOr = (value: Json | undefined, fallback: string): string => (typeof value === 'string' ? value : fallback)
