/**
 * Every route there is (M-A, M-I2, P-09): who may call it and what becomes of it. A route that is not here does not exist.
 *
 * - `pass`: forwarded with the index's physical name in the path; the answer streams back.
 * - `rewrite`: names inside body or answer are translated too (`index-places.ts`).
 * - `emulate`: answered from route table, journal or catalogue; no engine is asked for it.
 * - `refuse`: never available to a tenant, with the refusal that is told.
 */
import type { Action } from '../api/actions.ts'
import type { Feature } from '../api/features.ts'
import { type SettingName, settingRoutes } from '../api/settings.ts'
import type { LimitClass } from '../control/rate-limits.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Which bound holds for the body, and how it is read. */
export type BodyKind = 'none' | 'search' | 'small' | 'documents'

export type HandlerName =
  | 'root'
  | 'health'
  | 'jwks'
  | 'version'
  | 'stats'
  | 'metrics'
  | 'listIndexes'
  | 'createIndex'
  | 'readIndex'
  | 'updateIndex'
  | 'deleteIndex'
  | 'compactIndex'
  | 'swapIndexes'
  | 'listSearchRules'
  | 'clearSearchRules'
  | 'readSearchRule'
  | 'updateSearchRule'
  | 'deleteSearchRule'
  | 'forwardRead'
  | 'search'
  | 'explain'
  | 'multiSearch'
  | 'renderTemplate'
  | 'putDocuments'
  | 'clearDocuments'
  | 'deleteDocument'
  | 'deleteBatch'
  | 'deleteByFilter'
  | 'editDocuments'
  | 'readSettings'
  | 'writeSettings'
  | 'resetSettings'
  | 'listTasks'
  | 'readTask'
  | 'readTaskDocuments'
  | 'cancelTasks'
  | 'deleteTasks'
  | 'compactTasks'
  | 'listBatches'
  | 'readBatch'
  | 'listKeys'
  | 'createKey'
  | 'readKey'
  | 'updateKey'
  | 'deleteKey'
  | 'listWebhooks'
  | 'createWebhook'
  | 'readWebhook'
  | 'updateWebhook'
  | 'deleteWebhook'
  | 'readFeatures'
  | 'updateFeatures'
  | 'createDump'
  | 'createSnapshot'
  | 'createExport'
  | 'readNetwork'
  | 'updateNetwork'
  | 'listChats'
  | 'readChat'
  | 'deleteChat'
  | 'readChatSettings'
  | 'updateChatSettings'
  | 'resetChatSettings'
  | 'completeChat'

/** Why a route is never available: as an action that no key holds, as a feature that is off, or as another edition's. */
export type Refusal =
  | { readonly kind: 'action' }
  | { readonly kind: 'feature'; readonly feature: Feature; readonly action: string }
  | { readonly kind: 'edition' }

export type Treatment = 'pass' | 'rewrite' | 'emulate' | 'refuse'

export interface RoutePolicy {
  readonly method: Method
  /** Segments in braces are parameters: `{uid}` is always an index. */
  readonly path: string
  /** null = open to everyone. */
  readonly action: Action | null
  /** Further actions that must be granted too. */
  readonly alsoActions?: readonly Action[]
  readonly treatment: Treatment
  readonly body: BodyKind
  /** Absent for refused routes. */
  readonly handler?: HandlerName
  readonly refusal?: Refusal
  /** Changes something, so that a read-only project refuses it. */
  readonly writes?: true
  /** Must be switched on by the project (M-H6). */
  readonly feature?: { readonly feature: Feature; readonly action: string }
  /** Settings routes: the setting's name in a whole settings object. */
  readonly setting?: SettingName
}

type Row = Omit<RoutePolicy, 'method' | 'path' | 'action'>

function route(method: Method, path: string, action: Action | null, row: Row): RoutePolicy {
  return { method, path, action, ...row }
}

const pass = (body: BodyKind, handler: HandlerName): Row => ({ treatment: 'pass', body, handler })
const rewrite = (body: BodyKind, handler: HandlerName): Row => ({ treatment: 'rewrite', body, handler })
const emulate = (handler: HandlerName, body: BodyKind = 'none'): Row => ({ treatment: 'emulate', body, handler })
const write = (handler: HandlerName, body: BodyKind = 'none'): Row => ({ ...emulate(handler, body), writes: true })
const refuse = (refusal: Refusal): Row => ({ treatment: 'refuse', body: 'none', refusal })

const settingsPath = '/indexes/{uid}/settings'

/** Writes of settings behind a flag are judged by their decoder, as in the reference: reads and resets need no flag. */
const settingsRoutes: readonly RoutePolicy[] = settingRoutes.flatMap(({ path, name, method }) => {
  const at = `${settingsPath}/${path}`
  return [
    route('GET', at, 'settings.get', { ...rewrite('none', 'readSettings'), setting: name }),
    route(method, at, 'settings.update', { ...write('writeSettings', 'small'), setting: name }),
    route('DELETE', at, 'settings.update', { ...write('resetSettings'), setting: name }),
  ]
})

const rules = (action = 'Using the `/dynamic-search-rules` routes') =>
  ({ feature: 'dynamicSearchRules', action }) as const
const chats = (action: string) => ({ feature: 'chatCompletions', action }) as const
const notGranted: Refusal = { kind: 'action' }

/** A plan shows settings and nodes: keys for searches alone do not see it (C-46). */
export const explainActions: readonly Action[] = ['settings.get', 'network.get']

export const routePolicies: readonly RoutePolicy[] = [
  route('GET', '/', null, emulate('root')),
  route('GET', '/health', null, emulate('health')),
  route('GET', '/.well-known/jwks.json', null, emulate('jwks')),
  route('GET', '/version', 'version', emulate('version')),
  route('GET', '/stats', 'stats.get', emulate('stats')),
  route('GET', '/metrics', 'metrics.get', {
    ...emulate('metrics'),
    feature: { feature: 'metrics', action: 'Getting metrics' },
  }),

  route('GET', '/indexes', 'indexes.get', emulate('listIndexes')),
  route('POST', '/indexes', 'indexes.create', write('createIndex', 'small')),
  route('GET', '/indexes/{uid}', 'indexes.get', emulate('readIndex')),
  route('PATCH', '/indexes/{uid}', 'indexes.update', write('updateIndex', 'small')),
  route('DELETE', '/indexes/{uid}', 'indexes.delete', write('deleteIndex')),
  route('GET', '/indexes/{uid}/stats', 'stats.get', pass('none', 'forwardRead')),
  route('POST', '/indexes/{uid}/fields', 'fields.post', pass('small', 'forwardRead')),
  route('POST', '/indexes/{uid}/compact', 'indexes.compact', write('compactIndex')),
  route('POST', '/swap-indexes', 'indexes.swap', write('swapIndexes', 'small')),

  route('GET', '/indexes/{uid}/documents', 'documents.get', pass('none', 'forwardRead')),
  route('POST', '/indexes/{uid}/documents', 'documents.add', write('putDocuments', 'documents')),
  route('PUT', '/indexes/{uid}/documents', 'documents.add', write('putDocuments', 'documents')),
  route('DELETE', '/indexes/{uid}/documents', 'documents.delete', write('clearDocuments')),
  route('POST', '/indexes/{uid}/documents/fetch', 'documents.get', pass('small', 'forwardRead')),
  route('POST', '/indexes/{uid}/documents/delete-batch', 'documents.delete', write('deleteBatch', 'documents')),
  route('POST', '/indexes/{uid}/documents/delete', 'documents.delete', write('deleteByFilter', 'small')),
  route('POST', '/indexes/{uid}/documents/edit', 'documents.add', {
    ...write('editDocuments', 'small'),
    alsoActions: ['documents.get', 'documents.delete'],
    feature: { feature: 'editDocumentsByFunction', action: 'Using the documents edit route' },
  }),
  route('GET', '/indexes/{uid}/documents/{id}', 'documents.get', pass('none', 'forwardRead')),
  route('DELETE', '/indexes/{uid}/documents/{id}', 'documents.delete', write('deleteDocument')),

  route('GET', '/indexes/{uid}/search', 'search', pass('none', 'search')),
  route('POST', '/indexes/{uid}/search', 'search', pass('search', 'search')),
  route('POST', '/indexes/{uid}/facet-search', 'search', pass('search', 'search')),
  route('GET', '/indexes/{uid}/similar', 'search', pass('none', 'search')),
  route('POST', '/indexes/{uid}/similar', 'search', pass('search', 'search')),
  route('POST', '/indexes/{uid}/explain', 'search', {
    ...emulate('explain', 'search'),
    alsoActions: explainActions,
  }),
  route('POST', '/multi-search', 'search', rewrite('search', 'multiSearch')),

  route('GET', settingsPath, 'settings.get', rewrite('none', 'readSettings')),
  route('PATCH', settingsPath, 'settings.update', write('writeSettings', 'small')),
  route('DELETE', settingsPath, 'settings.update', write('resetSettings')),
  ...settingsRoutes,

  route('GET', '/tasks', 'tasks.get', emulate('listTasks')),
  route('DELETE', '/tasks', 'tasks.delete', write('deleteTasks')),
  route('POST', '/tasks/cancel', 'tasks.cancel', write('cancelTasks')),
  route('POST', '/tasks/compact', 'tasks.compact', {
    ...emulate('compactTasks'),
    feature: { feature: 'taskQueueCompactionRoute', action: 'Using the /tasks/compact route' },
  }),
  route('GET', '/tasks/{task}', 'tasks.get', emulate('readTask')),
  route('GET', '/tasks/{task}/documents', 'tasks.get', {
    ...emulate('readTaskDocuments'),
    feature: { feature: 'getTaskDocumentsRoute', action: 'Getting the documents of an enqueued task' },
  }),
  route('GET', '/batches', 'tasks.get', emulate('listBatches')),
  route('GET', '/batches/{batch}', 'tasks.get', emulate('readBatch')),

  route('GET', '/keys', 'keys.get', emulate('listKeys')),
  route('POST', '/keys', 'keys.create', write('createKey', 'small')),
  route('GET', '/keys/{key}', 'keys.get', emulate('readKey')),
  route('PATCH', '/keys/{key}', 'keys.update', write('updateKey', 'small')),
  route('DELETE', '/keys/{key}', 'keys.delete', write('deleteKey')),

  route('GET', '/webhooks', 'webhooks.get', emulate('listWebhooks')),
  route('POST', '/webhooks', 'webhooks.create', write('createWebhook', 'small')),
  route('GET', '/webhooks/{webhook}', 'webhooks.get', emulate('readWebhook')),
  route('PATCH', '/webhooks/{webhook}', 'webhooks.update', write('updateWebhook', 'small')),
  route('DELETE', '/webhooks/{webhook}', 'webhooks.delete', write('deleteWebhook')),

  route('GET', '/experimental-features', 'experimental.get', emulate('readFeatures')),
  route('PATCH', '/experimental-features', 'experimental.update', write('updateFeatures', 'small')),
  route('POST', '/dumps', 'dumps.create', write('createDump')),
  route('POST', '/snapshots', 'snapshots.create', write('createSnapshot')),
  route('POST', '/export', 'export', write('createExport', 'small')),
  route('POST', '/render-template', 'settings.get', {
    ...rewrite('small', 'renderTemplate'),
    alsoActions: ['documents.get'],
    feature: { feature: 'renderRoute', action: 'calling the /render-template route' },
  }),

  route('GET', '/network', 'network.get', {
    ...emulate('readNetwork'),
    feature: { feature: 'network', action: 'Using the /network route' },
  }),
  route('PATCH', '/network', 'network.update', {
    ...write('updateNetwork', 'small'),
    feature: { feature: 'network', action: 'Using the /network route' },
  }),
  route('POST', '/network/control', 'network.update', refuse({ kind: 'edition' })),

  route('POST', '/logs/stream', 'metrics.get', refuse(notGranted)),
  route('DELETE', '/logs/stream', 'metrics.get', refuse(notGranted)),
  route('POST', '/logs/stderr', 'metrics.get', refuse(notGranted)),

  route('POST', '/dynamic-search-rules', 'dynamicSearchRules.get', {
    ...emulate('listSearchRules', 'small'),
    feature: rules('Calling the `POST /dynamic-search-rules` route'),
  }),
  route('DELETE', '/dynamic-search-rules', 'dynamicSearchRules.delete', {
    ...write('clearSearchRules'),
    feature: rules(),
  }),
  route('GET', '/dynamic-search-rules/{rule}', 'dynamicSearchRules.get', {
    ...emulate('readSearchRule'),
    feature: rules('Calling the `GET /dynamic-search-rules/{:ruleUid}` route'),
  }),
  route('PATCH', '/dynamic-search-rules/{rule}', 'dynamicSearchRules.update', {
    ...write('updateSearchRule', 'small'),
    feature: rules(),
  }),
  route('DELETE', '/dynamic-search-rules/{rule}', 'dynamicSearchRules.delete', {
    ...write('deleteSearchRule'),
    feature: rules(),
  }),

  route('GET', '/chats', 'chats.get', { ...emulate('listChats'), feature: chats('listing the chats') }),
  route('GET', '/chats/{workspace}', 'chats.get', { ...emulate('readChat'), feature: chats('displaying a chat') }),
  route('DELETE', '/chats/{workspace}', 'chats.delete', { ...write('deleteChat'), feature: chats('deleting a chat') }),
  route('GET', '/chats/{workspace}/settings', 'chatsSettings.get', {
    ...emulate('readChatSettings'),
    feature: chats('using the /chats/settings route'),
  }),
  route('PATCH', '/chats/{workspace}/settings', 'chatsSettings.update', {
    ...write('updateChatSettings', 'small'),
    feature: chats('using the /chats/settings route'),
  }),
  route('DELETE', '/chats/{workspace}/settings', 'chatsSettings.update', {
    ...write('resetChatSettings'),
    feature: chats('using the /chats/settings route'),
  }),
  route('POST', '/chats/{workspace}/chat/completions', 'chatCompletions', {
    ...emulate('completeChat', 'small'),
    alsoActions: ['search'],
    feature: chats('using the /chats chat completions route'),
  }),
]

/** Which rate limit counts the route (P-19): what reads documents, what queues work for an index, everything else. */
export function limitClassOf({ action, writes }: RoutePolicy): LimitClass {
  if (action === 'search' || action === 'documents.get') return 'search'
  const isOfIndex = /^(documents|indexes|settings)\./.test(action ?? '')
  return writes === true && isOfIndex ? 'write' : 'admin'
}

/** Names of a route's parameters, in order. */
export function parameterNames({ path }: RoutePolicy): readonly string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!)
}
