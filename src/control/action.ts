/** What a key may do (M-G3): the 58 names a key can list, and what each of them grants. */

/** Actions that a route asks for. */
const plainActions = [
  'search',
  'documents.add',
  'documents.get',
  'documents.delete',
  'indexes.create',
  'indexes.get',
  'indexes.update',
  'indexes.delete',
  'indexes.swap',
  'indexes.compact',
  'tasks.cancel',
  'tasks.delete',
  'tasks.get',
  'tasks.compact',
  'settings.get',
  'settings.update',
  'stats.get',
  'metrics.get',
  'dumps.create',
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
  'chats.get',
  'chats.delete',
  'chatsSettings.get',
  'chatsSettings.update',
  'webhooks.get',
  'webhooks.create',
  'webhooks.update',
  'webhooks.delete',
  'fields.post',
  'dynamicSearchRules.get',
  'dynamicSearchRules.create',
  'dynamicSearchRules.update',
  'dynamicSearchRules.delete',
] as const
export type Action = (typeof plainActions)[number]

/** Every name a key can list, in the order in which the reference prints them. */
export const keyActions = [
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
  'dynamicSearchRules.*',
  'dynamicSearchRules.get',
  'dynamicSearchRules.create',
  'dynamicSearchRules.update',
  'dynamicSearchRules.delete',
  'tasks.compact',
] as const
export type KeyAction = (typeof keyActions)[number]

const instanceWideFamilies: ReadonlySet<string> = new Set([
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

/** Actions that a key limited to some indexes never grants, and may not name (message 75). */
export function isInstanceWide(action: string): boolean {
  return instanceWideFamilies.has(action.split('.')[0]!) || action === 'tasks.compact'
}

/** What the listed names grant. Unknown names grant nothing. */
export function grantsOf(names: readonly string[], isForAllIndexes: boolean): ReadonlySet<Action> {
  const granted = plainActions.filter(
    (action) => (isForAllIndexes || !isInstanceWide(action)) && names.some((name) => covers(name, action)),
  )
  return new Set(granted)
}

function covers(name: string, action: Action): boolean {
  if (name === action || name === '*') return true
  const [group, verb] = action.split('.')
  // Reading keys would reveal every other key, so that `*.get` leaves it out (M-G3).
  if (name === '*.get') return (verb === 'get' && group !== 'keys') || action === 'fields.post'
  return name.endsWith('.*') && name.slice(0, -2) === group && verb !== undefined
}

export const allActions: ReadonlySet<Action> = new Set(plainActions)
/** What a tenant token can open (M-G5). */
export const tokenActions: ReadonlySet<Action> = new Set<Action>(['search', 'chatCompletions'])
