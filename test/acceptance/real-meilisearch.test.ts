/**
 * The same suite against a real Meilisearch, when MEILISEARCH_BIN names one: it proves that what the suite expects is what
 * Meilisearch does. Without one there is nothing to prove here, and the embedded engine's run stands alone.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { clientSuite } from './client-suite.ts'

const binary = process.env.MEILISEARCH_BIN
if (binary !== undefined) {
  const masterKey = 'a-master-key-for-the-suite'
  let url = ''
  let stop = async () => {}
  before(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'flapjack-real-'))
    const probe = createServer()
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
    const address = probe.address()
    await new Promise((resolve) => probe.close(resolve))
    if (typeof address !== 'object' || address === null) throw new Error('no address')
    url = `http://127.0.0.1:${address.port}`
    const child = spawn(
      binary,
      [
        '--db-path',
        join(folder, 'data.ms'),
        '--http-addr',
        `127.0.0.1:${address.port}`,
        '--master-key',
        masterKey,
        '--no-analytics',
        '--max-indexing-memory',
        '256MiB',
      ],
      { cwd: folder, stdio: 'ignore' },
    )
    stop = async () => {
      child.kill('SIGKILL')
      await new Promise((resolve) => child.once('exit', resolve))
      await rm(folder, { recursive: true, force: true })
    }
    for (const deadline = Date.now() + 30_000; ; ) {
      if (
        await fetch(`${url}/health`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        break
      if (Date.now() > deadline) throw new Error('Meilisearch did not start')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
  after(() => stop())
  clientSuite('Meilisearch', 'real', () => ({ url, masterKey }))
}
