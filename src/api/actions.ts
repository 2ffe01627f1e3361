/** The 58 actions of keys (M-G3), in the order in which messages list them, and what each grants. */

export const actions = [
  '*',
  'search',
  'documents.*',
  'documents.add',
  'documents.get',
  'documents.delete',
  'indexes.*',
  'indexes.create',
  'indexes.get',
  'indexes.update',
  'indexes.delete',
  'indexes.swap',
  'tasks.*',
  'tasks.cancel',
  'tasks.delete',
  'tasks.get',
  'settings.*',
  'settings.get',
  'settings.update',
  'stats.*',
  'stats.get',
  'metrics.*',
  'metrics.get',
  'dumps.*',
  'dumps.create',
  'snapshots.*',
  'snapshots.create',
  'version',
  'keys.create',
  'keys.get',
  'keys.update',
  'keys.delete',
  'experimental.get',
  'experimental.update',
  'export',
  'network.get',
  'network.update',
  'chatCompletions',
  'chats.*',
  'chats.get',
  'chats.delete',
  'chatsSettings.*',
  'chatsSettings.get',
  'chatsSettings.update',
  '*.get',
  'webhooks.get',
  'webhooks.update',
  'webhooks.delete',
  'webhooks.create',
  'webhooks.*',
  'indexes.compact',
  'fields.post',
  'tasks.compact',
  'dynamicSearchRules.get',
  'dynamicSearchRules.create',
  'dynamicSearchRules.update',
  'dynamicSearchRules.delete',
  'dynamicSearchRules.*',
] as const

export type Action = (typeof actions)[number]

/** Read actions that `*.get` grants although their names do not end so. */
const otherReads: ReadonlySet<string> = new Set(['search', 'version', 'fields.post'])

/** Families whose actions concern the whole instance, so that a key for some indexes cannot have them (message 75). */
const globalFamilies: ReadonlySet<string> = new Set([
  'metrics',
  'dumps',
  'snapshots',
  'version',
  'keys',
  'experimental',
  'export',
  'network',
  'chats',
  'chatsSettings',
  'webhooks',
  'dynamicSearchRules',
])

/** Whether a key with `granted` may do `action` (never a wildcard itself). */
export function allows(granted: readonly string[], action: Action): boolean {
  const family = `${action.slice(0, Math.max(0, action.indexOf('.')))}.*`
  return granted.some(
    (grant) => grant === action || grant === '*' || grant === family || (grant === '*.get' && isRead(action)),
  )
}

/** Whether the action reads, keys excepted: a reader must not learn stronger keys. */
export function isRead(action: Action): boolean {
  return otherReads.has(action) || (action.endsWith('.get') && action !== 'keys.get' && action !== '*.get')
}

/** Whether the action concerns the whole instance. */
export function isGlobal(action: Action): boolean {
  return action === 'tasks.compact' || globalFamilies.has(action.split('.')[0]!)
}

const readOnly = ['*.get', 'search'] as const satisfies readonly Action[]

/** Actions by the names under which keys are offered (P-07). A key stores the actions. */
export const keyPresets = {
  'search-only': ['search'],
  'read-only': readOnly,
  'read-write': [...readOnly, 'documents.*', 'indexes.*', 'settings.*', 'tasks.cancel', 'tasks.delete'],
  admin: ['*'],
} as const satisfies Readonly<Record<string, readonly Action[]>>
