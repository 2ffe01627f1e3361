/**
 * Gateways as further processes on one port, for machines with cores to spare. This process accepts connections and hands
 * them out in turn; it answers none itself, so that its lanes and the gateways do not wait for each other.
 */
import cluster, { type Worker } from 'node:cluster'
import type { Logger } from 'pino'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { Json } from '../lib/json.ts'
import { askProcesses } from './process-questions.ts'

export interface GatewayProcesses {
  readonly port: number
  /** Asks every gateway that runs; one that does not answer in time is left out. */
  ask(question: Json): Promise<readonly Json[]>
  stop(): Promise<void>
}

const pauseMs = 500
const graceMs = 15_000
const answerMsMax = 10_000

/** Resolves when every process listens. One that ends by itself is started again. */
export async function startGatewayProcesses(options: {
  readonly count: number
  /** Our own program and the arguments that make it a gateway. */
  readonly script: string
  readonly args: readonly string[]
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>
  readonly logger: Logger
  readonly clock: Clock
}): Promise<GatewayProcesses> {
  const { count, script, args, env, logger, clock } = options
  const running = new Set<Worker>()
  let isStopping = false
  cluster.setupPrimary({ exec: script, args: [...args] })

  function fork(): Promise<number> {
    const worker = cluster.fork(env)
    running.add(worker)
    return new Promise((resolve, reject) => {
      worker.once('listening', ({ port }) => resolve(port))
      worker.once('exit', (code, signal) => {
        running.delete(worker)
        reject(new Error(`a gateway process ended (${code ?? signal})`))
        if (isStopping) return
        logger.error({ pid: worker.process.pid, code, signal }, 'gateway process ended; starting another')
        void clock.sleep(pauseMs).then(() => (isStopping ? undefined : fork().catch(() => undefined)))
      })
    })
  }

  async function stop(): Promise<void> {
    isStopping = true
    const workers = [...running]
    const ended = workers.map((worker) => new Promise<void>((resolve) => worker.once('exit', () => resolve())))
    for (const worker of workers) worker.process.kill('SIGTERM')
    const waiting = new AbortController()
    const tooLate = clock.sleep(graceMs, waiting.signal).catch(() => undefined)
    await Promise.race([Promise.all(ended), tooLate])
    waiting.abort(new Error('done'))
    for (const worker of running) worker.process.kill('SIGKILL')
  }

  try {
    const ports = await Promise.all(Array.from({ length: count }, fork))
    const port = ports[0]
    assert(port !== undefined, 'at least one gateway process is asked for')
    const ask = (question: Json) => askProcesses(running, question, { timeoutMs: answerMsMax, clock })
    return { port, ask, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
