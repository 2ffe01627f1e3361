/**
 * A child process that is kept running: started again with a growing pause when it ends by itself, ended by its recorded
 * identity, its output in a file. A record on disk lets the next start end what a killed parent left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import type { Clock } from '../lib/clock.ts'
import { endProcess, identityOf, type ProcessIdentity, parseIdentity } from './process-identity.ts'

export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface ChildOptions {
  readonly name: string
  /** Called before every start, so that a restart may take another port. */
  readonly prepare: () => Promise<Launch>
  /** Resolves when the child serves; called after every start. Rejects when it does not; the child is then started anew. */
  readonly ready: (signal: AbortSignal) => Promise<void>
  /** Output of the child. One earlier file is kept beside it. */
  readonly logFile: string
  /** Where the running child's identity is kept. */
  readonly recordFile: string
  /** How long it may take to end after SIGTERM, before SIGKILL. */
  readonly graceMs: number
  readonly logger: Logger
  readonly clock: Clock
}

export interface SupervisedChild {
  /** Of the process that runs now. */
  readonly pid: number | undefined
  /** Ends the process that runs now, however it is; it is started again as one that ended by itself. */
  restart(): Promise<void>
  stop(): Promise<void>
}

const pauseMsMin = 100
const pauseMsMax = 10_000
/** A child that ran this long is healthy: the next pause begins short again. */
const healthyMs = 30_000
const logBytesMax = 10 * 1024 * 1024

/** The child did not come up at all. */
export class ChildFailed extends Error {
  override readonly name = 'ChildFailed'
}

/** Resolves once the child serves for the first time. @throws ChildFailed with the end of its output. */
export async function superviseChild(options: ChildOptions): Promise<SupervisedChild> {
  const { name, logger, clock } = options
  const stopping = new AbortController()
  let current: RunningChild | undefined
  await endLeftOver(options)
  current = await launch(options, stopping.signal)

  async function keepRunning(): Promise<void> {
    let pauseMs = pauseMsMin
    while (!stopping.signal.aborted) {
      const startedAt = clock.monotonic()
      if (current) {
        const code = await current.ended
        if (stopping.signal.aborted) return
        logger.error({ child: name, code }, 'child ended; starting it again')
        if (clock.monotonic() - startedAt > healthyMs) pauseMs = pauseMsMin
      }
      await clock.sleep(pauseMs, stopping.signal)
      pauseMs = Math.min(pauseMs * 2, pauseMsMax)
      try {
        current = await launch(options, stopping.signal)
      } catch (error) {
        current = undefined
        if (!stopping.signal.aborted) logger.error({ child: name, err: error }, 'child did not start')
      }
    }
  }
  // Ends only by `stop`, whose abort makes the pause reject.
  const kept = keepRunning().catch(() => undefined)

  return {
    get pid() {
      return current?.identity.pid
    },
    async restart() {
      await current?.end()
    },
    async stop() {
      stopping.abort(new Error('stopping'))
      if (current) await current.end()
      await kept
      if (current) await current.end()
      rmSync(options.recordFile, { force: true })
    },
  }
}

interface RunningChild {
  readonly identity: ProcessIdentity
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>
  end(): Promise<void>
}

async function launch(options: ChildOptions, stopping: AbortSignal): Promise<RunningChild> {
  const { name, recordFile, logFile, graceMs, clock } = options
  const { command, args, env } = await options.prepare()
  stopping.throwIfAborted()
  mkdirSync(dirname(logFile), { recursive: true })
  rotate(logFile)
  const log = openSync(logFile, 'a', 0o600)
  let child: ChildProcess
  try {
    // Its standard input ends when we do: an engine of ours ends with it, even after `kill -9`.
    // In a group of its own, so that Ctrl-C reaches only us and the order of stopping is ours.
    child = spawn(command, args, { env: { ...env }, stdio: ['pipe', log, log], detached: true })
  } finally {
    closeSync(log)
  }
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  const identity = child.pid === undefined ? undefined : identityOf(child.pid)
  if (!identity) throw new ChildFailed(`${name} did not start (${await ended})${endOfLog(logFile)}`)
  writeRecord(recordFile, identity)

  const waiting = new AbortController()
  const abortWaiting = () => waiting.abort(stopping.reason)
  stopping.addEventListener('abort', abortWaiting, { once: true })
  const early = ended.then((code) => {
    throw new ChildFailed(`${name} ended before it served (${code})${endOfLog(logFile)}`)
  })
  try {
    await Promise.race([options.ready(waiting.signal), early])
  } catch (error) {
    await endProcess(identity, graceMs, clock)
    throw error
  } finally {
    early.catch(() => undefined)
    stopping.removeEventListener('abort', abortWaiting)
    waiting.abort(new Error('done'))
  }
  return { identity, ended, end: () => endProcess(identity, graceMs, clock) }
}

/** Ends the process that an earlier parent recorded here and did not live to stop. */
async function endLeftOver({ name, recordFile, graceMs, logger, clock }: ChildOptions): Promise<void> {
  let text: string
  try {
    text = readFileSync(recordFile, 'utf8')
  } catch {
    return
  }
  const recorded = parseIdentity(text)
  if (recorded) {
    logger.debug({ child: name, pid: recorded.pid }, 'ending what an earlier run left')
    await endProcess(recorded, graceMs, clock)
  }
}

function writeRecord(path: string, identity: ProcessIdentity): void {
  mkdirSync(dirname(path), { recursive: true })
  const draft = `${path}.draft`
  writeFileSync(draft, JSON.stringify(identity), { mode: 0o600 })
  renameSync(draft, path)
}

function rotate(logFile: string): void {
  const size = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0
  if (size > logBytesMax) renameSync(logFile, `${logFile}.1`)
}

function endOfLog(logFile: string): string {
  try {
    const lines = readFileSync(logFile, 'utf8').trim().split('\n').slice(-5)
    return `:\n${lines.join('\n')}\n(all of its output: ${logFile})`
  } catch {
    return ''
  }
}
