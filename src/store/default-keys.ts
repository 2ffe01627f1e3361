/** The four keys that every project starts with (M-G4), in the order in which they are listed. */
import type { NewKey } from './ports.ts'

export const defaultKeys: readonly Omit<NewKey, 'uid'>[] = [
  {
    name: 'Default Search API Key',
    description: 'Use it to search from the frontend',
    actions: ['search'],
    indexes: ['*'],
    expiresAt: null,
  },
  {
    name: 'Default Admin API Key',
    description: 'Use it for anything that is not a search operation. Caution! Do not expose it on a public frontend',
    actions: ['*'],
    indexes: ['*'],
    expiresAt: null,
  },
  {
    name: 'Default Read-Only Admin API Key',
    description:
      'Use it to read information across the whole database. Caution! Do not expose this key on a public frontend',
    actions: ['*.get', 'keys.get'],
    indexes: ['*'],
    expiresAt: null,
  },
  {
    name: 'Default Chat API Key',
    description: 'Use it to chat and search from the frontend',
    actions: ['chatCompletions', 'search'],
    indexes: ['*'],
    expiresAt: null,
  },
]
