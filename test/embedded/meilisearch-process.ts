/** A real Meilisearch as a process, spoken to as an engine of ours. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { freePort } from '../../src/lib/loopback-port.ts'
import { clientOf, type EngineProcess } from './engine-process.ts'

const startMsMax = 60_000

export async function startMeilisearch(
  binary: string,
  folder: string,
  args: readonly string[] = [],
): Promise<EngineProcess> {
  const port = await freePort()
  const child = spawn(
    binary,
    [
      ...['--db-path', join(folder, 'db'), '--http-addr', `127.0.0.1:${port}`, '--no-analytics'],
      ...['--max-indexing-memory', '256MiB', ...args],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH } },
  )
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-10_000)
  })
  const exit = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    child.kill(signal)
    await exit
  }
  const client = clientOf(`http://127.0.0.1:${port}`, end)
  for (const deadline = Date.now() + startMsMax; Date.now() < deadline; ) {
    if (child.exitCode !== null) throw new Error(`Meilisearch ended with ${child.exitCode}: ${stderr}`)
    const answer = await client.call('GET', '/health').catch(() => undefined)
    if (answer?.status === 200) return client
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await end('SIGKILL')
  throw new Error('Meilisearch did not start')
}
