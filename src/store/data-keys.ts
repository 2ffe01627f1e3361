/** Keeps a process's key ring in step with the database: once a minute, and at once when a value names a key that is not known. */
import type { Clock } from '../lib/clock.ts'
import type { SealingKey } from '../lib/seal.ts'
import type { Database, StoreLogger } from './database.ts'
import { createKeyRing, type KeyRing, readDataKeys } from './key-ring.ts'
import { StoreUnavailable } from './ports.ts'

const readAgainMs = 60_000

export interface DataKeys {
  readonly ring: KeyRing
  read(): Promise<void>
  /** From now on the ring is kept in step. May be called twice. */
  follow(): void
  close(): Promise<void>
}

export function keepDataKeys(
  database: Database,
  {
    masters,
    clock,
    logger,
  }: { readonly masters: () => Promise<readonly SealingKey[]>; readonly clock: Clock; readonly logger: StoreLogger },
): DataKeys {
  const closing = new AbortController()
  let reading: Promise<void> | undefined
  let following: Promise<void> | undefined
  const ring = createKeyRing({ clock, onUnknown: () => void readQuietly() })

  async function read(): Promise<void> {
    ring.load(await readDataKeys(database), await masters())
  }

  function readQuietly(): Promise<void> {
    reading ??= read()
      .catch((error: unknown) => {
        const isNews = !(error instanceof StoreUnavailable) && !closing.signal.aborted
        if (isNews) logger.error({ err: error }, 'the keys of the store cannot be read')
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }

  async function follow(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(readAgainMs, closing.signal)
      } catch {
        return
      }
      await readQuietly()
    }
  }

  return {
    ring,
    read,
    follow() {
      following ??= follow()
    },
    async close() {
      closing.abort(new Error('closed'))
      await following
      await reading
    },
  }
}
