/** Keys as the command line shows them. Their values are derived from the project's master key, never stored. */
import { keyValue } from '../control/key-value.ts'
import type { ApiKey, Project } from '../store/catalogue.ts'
import { formatColumns } from './terminal.ts'

export type KeyView = {
  readonly uid: string
  readonly key: string
  readonly name: string | null
  readonly description: string | null
  readonly actions: readonly string[]
  readonly indexes: readonly string[]
  readonly expiresAt: string | null
  readonly createdAt: string
}

export function showKeys(project: Pick<Project, 'masterKey'>, keys: readonly ApiKey[]): readonly KeyView[] {
  return keys.map(({ uid, name, description, actions, indexes, expiresAt, createdAt }) => ({
    uid,
    key: keyValue(project.masterKey, uid),
    name,
    description,
    actions,
    indexes,
    expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString(),
    createdAt: new Date(createdAt).toISOString(),
  }))
}

export function keyLines(keys: readonly KeyView[]): string {
  const rows = keys.map((key) => [
    key.name ?? '',
    key.key,
    key.actions.join(','),
    key.indexes.join(','),
    key.expiresAt ?? 'never',
    key.uid,
  ])
  return formatColumns([['NAME', 'KEY', 'ACTIONS', 'INDEXES', 'EXPIRES', 'UID'], ...rows])
}
