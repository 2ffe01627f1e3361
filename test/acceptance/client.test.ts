/** The official client against a running server, through the gateway. With MEILISEARCH_BIN, real Meilisearch stands behind it. */
import { after, before } from 'node:test'
import { clientSuite } from './client-suite.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

let flapjack: RunningFlapjack
before(async () => {
  const isReal = process.env.MEILISEARCH_BIN !== undefined
  flapjack = await startFlapjack({ args: isReal ? ['--engine', 'meilisearch'] : [] })
})
after(() => flapjack.stop())

clientSuite('through the gateway', 'gateway', () => flapjack)
