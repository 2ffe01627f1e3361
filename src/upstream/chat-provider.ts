/**
 * A conversation with a model over an OpenAI-compatible API (M-F24): the model's answer is passed on as it comes, and the
 * searches that it asks for are run in between. Where requests may go is the egress policy's affair.
 */
import { Agent, request } from 'undici'
import type { ChatWorkspace } from '../api/chat-workspace.ts'
import { ApiError } from '../api/errors.ts'
import type { EgressPolicy } from '../lib/egress-policy.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

const searchFunction = '_meiliSearchInIndex'
/** Functions by which a client asks to be told of the searches; models do not see them. */
const reports = ['_meiliSearchProgress', '_meiliSearchSources', '_meiliAppendConversationMessage']
/** Answers of the model in one conversation, the searches in between included. */
const turnsMax = 20
const eventBytesMax = 4 * 2 ** 20
const errorBytesMax = 64 * 1024
const baseUrls: Readonly<Record<string, string>> = {
  openAi: 'https://api.openai.com/v1',
  mistral: 'https://api.mistral.ai/v1',
}

export interface ChatParts {
  readonly workspace: ChatWorkspace
  readonly egress: EgressPolicy
  /** Indexes that the caller may search, with what their settings say of them. */
  readonly indexes: readonly { readonly uid: string; readonly description: string }[]
  /** Text of the documents found, or what is wrong with the search. */
  readonly search: (indexUid: string, q: string, filter: string) => Promise<string>
  readonly signal: AbortSignal
}

/** What a client asks. @throws ApiError what is not served. */
export function checkChatRequest(sent: Json): JsonObject {
  if (!isObject(sent)) throw new ApiError('bad_request', 'Invalid value type: expected an object')
  if (typeof sent.model !== 'string') throw new ApiError('bad_request', 'Missing field `model`')
  if (!Array.isArray(sent.messages)) throw new ApiError('bad_request', 'Missing field `messages`')
  if (sent.stream !== true)
    throw new ApiError(
      'unimplemented_non_streaming_chat_completions',
      'Non-streamed chat completions is not implemented',
    )
  if (typeof sent.n === 'number' && sent.n !== 1)
    throw new ApiError(
      'unimplemented_multi_choice_chat_completions',
      `You tried to specify n = ${sent.n} but only single choices are supported (n = 1).`,
    )
  for (const name of toolNames(sent)) {
    if (name === searchFunction) throw new ApiError('bad_request', `${searchFunction} function is already defined.`)
    if (!reports.includes(name))
      throw new ApiError(
        'unimplemented_external_function_calling',
        `${name}: External functions are not supported yet.`,
      )
  }
  return sent
}

function toolNames({ tools }: JsonObject): readonly string[] {
  const list: readonly Json[] = Array.isArray(tools) ? tools : []
  return list.flatMap((tool) => {
    const name = isObject(tool) && tool.function !== undefined && isObject(tool.function) ? tool.function.name : null
    return typeof name === 'string' ? [name] : []
  })
}

interface ToolCall {
  readonly id: string
  readonly name: string
  arguments: string
}

/** Server-sent events of the answer, the last of them `[DONE]`. Failures of the provider are events, too. */
export async function* streamChat(sent: JsonObject, parts: ChatParts): AsyncGenerator<string> {
  const { workspace } = parts
  const agent = new Agent({ connect: { lookup: parts.egress.lookup } })
  const base = { ...sent, tools: [searchTool(parts)] }
  const messages: Json[] = [
    { role: 'system', content: workspace.prompts.system },
    ...(sent.messages as readonly Json[]),
  ]
  try {
    for (let turn = 0; turn < turnsMax; turn += 1) {
      const calls = new Map<number, ToolCall>()
      for await (const chunk of ask(agent, { ...base, messages: [...messages] }, parts)) {
        if (gather(chunk, calls)) continue
        yield event(chunk)
      }
      if (calls.size === 0) break
      messages.push({ role: 'assistant', tool_calls: [...calls.values()].map(toolCallJson) })
      for (const call of calls.values())
        messages.push({ role: 'tool', tool_call_id: call.id, content: await searched(call, parts) })
    }
  } catch (error) {
    parts.signal.throwIfAborted()
    yield event(failure(error))
  } finally {
    await agent.destroy()
  }
  yield 'data: [DONE]\n\n'
}

const event = (value: Json): string => `data: ${JSON.stringify(value)}\n\n`

class ProviderRefusal extends Error {
  readonly body: Json
  constructor(body: Json) {
    super('the provider refused')
    this.body = body
  }
}

function failure(error: unknown): JsonObject {
  const event_id = null
  if (error instanceof ProviderRefusal) {
    const told = isObject(error.body) && error.body.error !== undefined ? error.body.error : error.body
    const inner = isObject(told) ? told : {}
    return {
      type: 'error',
      error: {
        type: inner.type ?? 'provider_error',
        code: inner.code ?? null,
        message: inner.message ?? 'The provider refused the request.',
        param: inner.param ?? null,
        event_id,
      },
    }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { type: 'error', error: { type: 'connection_error', code: null, message, param: null, event_id } }
}

/** Chunks of one answer. */
async function* ask(
  agent: Agent,
  body: JsonObject,
  { workspace, egress, signal }: ChatParts,
): AsyncGenerator<JsonObject> {
  const url = completionsUrl(workspace)
  const fault = egress.fault(url)
  if (fault !== undefined) throw new Error(fault)
  const answer = await request(url, {
    method: 'POST',
    headers: providerHeaders(workspace),
    body: JSON.stringify(body),
    dispatcher: agent,
    signal,
    bodyTimeout: 120_000,
  })
  if (answer.statusCode !== 200) throw new ProviderRefusal(await readRefusal(answer.body))
  let text = ''
  const decoder = new TextDecoder()
  for await (const piece of answer.body) {
    text += decoder.decode(piece as Buffer, { stream: true })
    if (text.length > eventBytesMax) throw new Error('the provider sent an event that is too large')
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end).trim()
      text = text.slice(end + 1)
      if (!line.startsWith('data:')) continue
      const data = line.slice(5).trim()
      if (data === '[DONE]') return
      const chunk = JSON.parse(data) as Json
      if (isObject(chunk)) yield chunk
    }
  }
}

async function readRefusal(body: AsyncIterable<Buffer>): Promise<Json> {
  let text = ''
  for await (const piece of body) if (text.length < errorBytesMax) text += piece.toString('utf8')
  try {
    return JSON.parse(text) as Json
  } catch {
    return { message: text.slice(0, 1000) }
  }
}

function completionsUrl({ source, baseUrl, deploymentId, apiVersion }: ChatWorkspace): URL {
  const base = (baseUrl ?? baseUrls[source] ?? '').replace(/\/+$/, '')
  if (source === 'azureOpenAi')
    return new URL(
      `${base}/openai/deployments/${encodeURIComponent(deploymentId ?? '')}/chat/completions?api-version=${encodeURIComponent(apiVersion ?? '')}`,
    )
  return new URL(`${base}/chat/completions`)
}

function providerHeaders({ source, apiKey, orgId, projectId }: ChatWorkspace): Record<string, string> {
  const key = apiKey ?? ''
  return {
    'content-type': 'application/json',
    accept: 'text/event-stream',
    ...(source === 'azureOpenAi' ? { 'api-key': key } : { authorization: `Bearer ${key}` }),
    ...(orgId === null ? {} : { 'openai-organization': orgId }),
    ...(projectId === null ? {} : { 'openai-project': projectId }),
  }
}

function searchTool({ workspace: { prompts }, indexes }: ChatParts): JsonObject {
  const described = indexes.map(({ uid, description }) => `\n\n - ${uid}: ${description}\n`).join('')
  return {
    type: 'function',
    function: {
      name: searchFunction,
      description: prompts.searchDescription + described,
      parameters: {
        type: 'object',
        properties: {
          index_uid: { type: 'string', enum: indexes.map(({ uid }) => uid), description: prompts.searchIndexUidParam },
          q: { type: 'string', description: prompts.searchQParam },
          filter: { type: 'string', description: prompts.searchFilterParam },
        },
        required: ['index_uid', 'q', 'filter'],
        additionalProperties: false,
      },
      strict: true,
    },
  }
}

/** Whether the chunk belongs to calls of the search, which are ours and not the client's. */
function gather(chunk: JsonObject, calls: Map<number, ToolCall>): boolean {
  const choices: readonly Json[] = Array.isArray(chunk.choices) ? chunk.choices : []
  const choice = choices[0]
  if (choice === undefined || !isObject(choice)) return false
  if (choice.finish_reason === 'tool_calls') return true
  const delta = choice.delta
  if (delta === undefined || !isObject(delta) || !Array.isArray(delta.tool_calls)) return false
  for (const part of delta.tool_calls as readonly Json[]) {
    if (!isObject(part) || part.function === undefined || !isObject(part.function)) continue
    const index = typeof part.index === 'number' ? part.index : 0
    const text = typeof part.function.arguments === 'string' ? part.function.arguments : ''
    const known = calls.get(index)
    if (known !== undefined) known.arguments += text
    else calls.set(index, { id: String(part.id ?? ''), name: String(part.function.name ?? ''), arguments: text })
  }
  return true
}

const toolCallJson = ({ id, name, arguments: text }: ToolCall): JsonObject => ({
  id,
  type: 'function',
  function: { name, arguments: text },
})

async function searched(call: ToolCall, { indexes, search }: ChatParts): Promise<string> {
  let asked: Json
  try {
    asked = JSON.parse(call.arguments) as Json
  } catch {
    return 'The arguments of the call are not valid JSON.'
  }
  if (call.name !== searchFunction || !isObject(asked)) return `There is no function \`${call.name}\`.`
  const uid = String(asked.index_uid ?? '')
  if (!indexes.some((index) => index.uid === uid)) return `Index \`${uid}\` not found.`
  return search(uid, String(asked.q ?? ''), String(asked.filter ?? ''))
}
