/** Opens the store for one command and closes it whatever happens. */
import type { Config } from '../config/config.ts'
import type { Store } from '../journal/open-store.ts'
import type { Programs } from './command-context.ts'

export async function withStore<T>(
  programs: Pick<Programs, 'openStore'>,
  config: Config,
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await programs.openStore(config)
  try {
    await store.unlock()
    return await use(store)
  } finally {
    await store.close()
  }
}
