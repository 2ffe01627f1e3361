/** Keeps the bundled PostgreSQL running: when it ends by itself, it is started again on the same folder. */
import type { Logger } from 'pino'
import type { Clock } from '../lib/clock.ts'
import type { PostgresConnection, PostgresServer } from '../store/postgres-server.ts'

export interface DatabaseKeeper {
  readonly connection: PostgresConnection
  stop(): Promise<void>
}

const pauseMsMin = 50
const pauseMsMax = 5000

/** @param start  starts a server; called again after every end that nobody asked for. */
export async function keepDatabase(
  start: () => Promise<PostgresServer>,
  { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
): Promise<DatabaseKeeper> {
  const stopping = new AbortController()
  let server: PostgresServer | undefined = await start()
  const { connection } = server

  async function keepRunning(): Promise<void> {
    let pauseMs = pauseMsMin
    while (!stopping.signal.aborted) {
      if (server) {
        const { code, signal } = await server.exited
        if (stopping.signal.aborted) return
        logger.error({ code, signal }, 'the database ended; starting it again')
        pauseMs = pauseMsMin
      }
      await clock.sleep(pauseMs, stopping.signal)
      pauseMs = Math.min(pauseMs * 2, pauseMsMax)
      try {
        server = await start()
      } catch (error) {
        server = undefined
        logger.error({ err: error }, 'the database did not start')
      }
    }
  }
  // Ends only by `stop`, whose abort makes the pause reject.
  const kept = keepRunning().catch(() => undefined)

  return {
    connection,
    async stop() {
      stopping.abort(new Error('stopping'))
      await server?.stop()
      await kept
      await server?.stop()
    },
  }
}
