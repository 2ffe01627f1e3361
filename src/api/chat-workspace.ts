/** Settings of a chat workspace (M-F24): which provider answers, and what it is told of the search. */
import type { Json, JsonObject } from '../lib/json.ts'
import { bodyRoot, type Decoder, type Field, nullable, object, oneOf, string } from './decode.ts'
import { ApiError, type ErrorCode } from './errors.ts'
import { maskSecret } from './secrets.ts'

const sources = ['openAi', 'mistral', 'azureOpenAi', 'vLlm'] as const

export interface ChatPrompts {
  readonly system: string
  readonly searchDescription: string
  readonly searchQParam: string
  readonly searchFilterParam: string
  readonly searchIndexUidParam: string
}

export interface ChatWorkspace {
  readonly source: (typeof sources)[number]
  readonly orgId: string | null
  readonly projectId: string | null
  readonly apiVersion: string | null
  readonly deploymentId: string | null
  readonly baseUrl: string | null
  readonly apiKey: string | null
  readonly prompts: ChatPrompts
}

const defaultPrompts: ChatPrompts = {
  system:
    'You answer questions with the help of a search engine. Search before you answer, several times with different words when one search is not enough, and say when nothing was found. In filters, equality is written with `=`. When a search fails, read its message and correct the call.',
  searchDescription:
    'Searches one index. Put the words that documents should contain into `q`, and conditions on fields into `filter`; either may be empty.',
  searchQParam: 'The words to search for. Few and specific words find the best documents.',
  searchFilterParam:
    'Conditions on fields, for example "price > 100 AND category = \'electronics\'". Operators: =, !=, >, >=, <, <=, IN, NOT IN, TO, EXISTS, IS NULL, IS EMPTY, and parentheses. Fields that can be filtered on: ',
  searchIndexUidParam: 'The index to search in.',
}

/** Workspaces by name. */
export type ChatWorkspaces = Readonly<Record<string, ChatWorkspace>>

export const defaultChatWorkspace: ChatWorkspace = {
  source: 'openAi',
  orgId: null,
  projectId: null,
  apiVersion: null,
  deploymentId: null,
  baseUrl: null,
  apiKey: null,
  prompts: defaultPrompts,
}

/** undefined = unchanged, null = back to the default. */
type Change<T> = { readonly [K in keyof T]: T[K] | null | undefined }
type WorkspaceChange = Change<Omit<ChatWorkspace, 'prompts'>> & {
  readonly prompts: Change<ChatPrompts> | null | undefined
}

function changed<T>(decode: Decoder<T>, code?: ErrorCode): Field<T | null | undefined> {
  const field = { decode: nullable(decode), fallback: () => undefined }
  return code === undefined ? field : { ...field, code }
}

const body = object<WorkspaceChange>({
  source: changed(oneOf(...sources)),
  orgId: changed(string, 'invalid_chat_completion_org_id'),
  projectId: changed(string, 'invalid_chat_completion_project_id'),
  apiVersion: changed(string, 'invalid_chat_completion_api_version'),
  deploymentId: changed(string, 'invalid_chat_completion_deployment_id'),
  baseUrl: changed(string, 'invalid_chat_completion_base_api'),
  apiKey: changed(string, 'invalid_chat_completion_api_key'),
  prompts: changed(
    object<Change<ChatPrompts>>({
      system: changed(string, 'invalid_chat_completion_system_prompt'),
      searchDescription: changed(string, 'invalid_chat_completion_search_description_prompt'),
      searchQParam: changed(string, 'invalid_chat_completion_search_query_param_prompt'),
      searchFilterParam: changed(string, 'invalid_chat_completion_search_filter_param_prompt'),
      searchIndexUidParam: changed(string, 'invalid_chat_completion_search_index_uid_param_prompt'),
    }),
  ),
})

/**
 * A workspace after `PATCH /chats/{workspace}/settings`.
 *
 * @param before  null = there was none.
 * @throws ApiError what is wrong with a field, or missing for the source.
 */
export function applyChatSettings(before: ChatWorkspace | null, sent: Json): ChatWorkspace {
  const { prompts, ...fields } = body(sent, bodyRoot)
  const base = before ?? defaultChatWorkspace
  const after = {
    ...merged(base, defaultChatWorkspace, fields),
    prompts: prompts === null ? defaultPrompts : merged(base.prompts, defaultPrompts, prompts ?? {}),
  }
  if (after.source === 'azureOpenAi' && [after.baseUrl, after.deploymentId, after.apiVersion].includes(null))
    throw new ApiError(
      'bad_request',
      'azureOpenAi requires setting a valid `baseUrl`, `deploymentId`, and `apiVersion`',
    )
  if (after.source === 'vLlm' && after.baseUrl === null)
    throw new ApiError('bad_request', 'vLlm requires setting a valid `baseUrl`')
  return after
}

function merged<T extends object>(before: T, defaults: T, change: Partial<Change<T>>): T {
  const names = Object.keys(before) as (keyof T)[]
  const entries = names.map((name) => {
    const value = change[name]
    return [name, value === undefined ? before[name] : (value ?? defaults[name])] as const
  })
  return Object.fromEntries(entries) as T
}

/** As answers show it, the key masked. */
export function renderChatSettings({ prompts, ...workspace }: ChatWorkspace): JsonObject {
  const { apiKey } = workspace
  return { ...workspace, apiKey: apiKey === null ? null : maskSecret(apiKey), prompts: { ...prompts } }
}

export const chatNotFound = (uid: string, quote: '`' | ''): ApiError =>
  new ApiError('chat_not_found', `${quote === '' ? 'chat' : 'Chat'} ${quote}${uid}${quote} not found`)
