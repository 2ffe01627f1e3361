/** What a key grants: its listed names, wildcards expanded once, so that a request asks a set (M-G3). */
import { type Action, actions, allows, isGlobal } from '../api/actions.ts'

const plainActions = actions.filter((action) => !action.includes('*'))

/** Actions that a route can ask for. Instance-wide ones need a key for all indexes. */
export function grantsOf(granted: readonly string[], isForAllIndexes: boolean): ReadonlySet<Action> {
  return new Set(plainActions.filter((action) => (isForAllIndexes || !isGlobal(action)) && allows(granted, action)))
}

export const allGrants: ReadonlySet<Action> = new Set(plainActions)

/** What a tenant token can open (M-G5). */
export const tokenGrants: ReadonlySet<Action> = new Set<Action>(['search', 'chatCompletions'])
