/** The official client against a running server, through the gateway. With MEILISEARCH_BIN, real Meilisearch stands behind it. */
import { after, before } from 'node:test'
import { clientSuite } from './client-suite.ts'
import { inEveryLayout } from './layouts.ts'
import { type RunningFlapjack, startFlapjack } from './server.ts'

inEveryLayout(({ args }) => {
  let flapjack: RunningFlapjack
  before(async () => {
    flapjack = await startFlapjack({ args })
  })
  after(() => flapjack.stop())

  clientSuite('through the gateway', 'gateway', () => flapjack)
})
