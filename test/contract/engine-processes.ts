/** Engine processes for the contract suite: the embedded engine, and a real Meilisearch when MEILISEARCH_BIN names one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHttpEngine, type HttpEngine } from '../../src/engine/http-engine.ts'
import { freePort } from '../../src/lib/loopback-port.ts'

const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')
const masterKey = 'a-master-key-for-the-contract'
const startMsMax = 60_000

export interface EngineProcess {
  readonly engine: HttpEngine
  /** Base URL, for what the port does not offer. */
  readonly url: string
  readonly key: string
  /** It is away until `resume`, and keeps its folder. */
  halt(): Promise<void>
  resume(): Promise<void>
  stop(): Promise<void>
}

export interface EngineSource {
  readonly name: string
  start(): Promise<EngineProcess>
}

export function engineSources(): readonly EngineSource[] {
  const embedded = {
    name: 'embedded engine',
    start: () =>
      run((folder, address) => [
        process.execPath,
        [launcher, 'engine', '--json', '--data-dir', folder, '--http-addr', address],
      ]),
  }
  const binary = process.env.MEILISEARCH_BIN
  if (binary === undefined || binary === '') return [embedded]
  const args = ['--no-analytics', '--max-indexing-memory', '256MiB']
  const real = {
    name: 'Meilisearch',
    start: () => run((folder, address) => [binary, ['--db-path', join(folder, 'db'), '--http-addr', address, ...args]]),
  }
  return [embedded, real]
}

async function run(
  command: (folder: string, address: string) => readonly [string, readonly string[]],
): Promise<EngineProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-contract-'))
  const port = await freePort()
  const [program, args] = command(folder, `127.0.0.1:${port}`)
  const start = () =>
    spawn(program, args, {
      cwd: folder,
      stdio: 'ignore',
      env: { ...process.env, MEILI_MASTER_KEY: masterKey },
    })
  let child = start()
  const url = `http://127.0.0.1:${port}`
  const engine = createHttpEngine({ url, key: masterKey })
  const stop = async () => {
    await engine.close()
    await ended(child)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await healthy(engine, child)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    ...{ engine, url, key: masterKey, stop },
    halt: () => ended(child),
    async resume() {
      child = start()
      await healthy(engine, child)
    },
  }
}

async function healthy(engine: HttpEngine, child: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + startMsMax; Date.now() < deadline; ) {
    if (child.exitCode !== null) throw new Error(`the engine ended with ${child.exitCode}`)
    if ((await engine.health(AbortSignal.timeout(5_000))).kind === 'answered') return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the engine did not start')
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exit
}
