/** One `flapjack engine` as a process of its own, spoken to over HTTP. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Json, JsonObject } from '../../src/lib/json.ts'

const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')
const taskMsMax = 60_000

export interface EngineProcess {
  readonly url: string
  call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<EngineAnswer>
  /** Sends a write and waits for its task, which must succeed. */
  write(method: string, path: string, body: unknown): Promise<JsonObject>
  waitForTask(taskUid: number): Promise<JsonObject>
  /** Ends it in order. */
  stop(): Promise<void>
  /** As a crash does. */
  kill(): Promise<void>
}

export interface EngineAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  readonly json: JsonObject
}

export interface EngineExit {
  readonly code: number | null
  /** All that it said. */
  readonly text: string
}

/** Serves when it resolves. Rejects with what the process said when it ends before. */
export async function startEngine(
  folder: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<EngineProcess> {
  const { child, exit } = spawnEngine(['--data-dir', folder, ...args], env)
  const lines = createInterface({ input: child.stdout! })
  const url = await Promise.race([
    new Promise<string>((resolve) =>
      lines.on('line', (line) => {
        const announced = /"url": ?"([^"]+)"/.exec(line)
        if (announced !== null) resolve(announced[1]!)
      }),
    ),
    exit.then(({ code, text }) => {
      throw new Error(`the engine ended with ${code}: ${text}`)
    }),
  ])
  return clientOf(url, async (signal) => {
    child.kill(signal)
    await exit
  })
}

/** Speaks to the engine at `url`; `end` ends its process. */
export function clientOf(url: string, end: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>): EngineProcess {
  const call: EngineProcess['call'] = async (method, path, body, headers = {}) => {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array
    const answer = await fetch(url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: isRaw ? body : JSON.stringify(body) }),
    })
    const bytes = Buffer.from(await answer.arrayBuffer())
    return {
      status: answer.status,
      headers: answer.headers,
      body: bytes,
      get json() {
        return JSON.parse(bytes.toString('utf8')) as JsonObject
      },
    }
  }
  const waitForTask = async (taskUid: number): Promise<JsonObject> => {
    for (const deadline = Date.now() + taskMsMax; Date.now() < deadline; ) {
      const task = (await call('GET', `/tasks/${taskUid}`)).json
      if (['succeeded', 'failed', 'canceled'].includes(String(task.status))) return task
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error(`task ${taskUid} did not end`)
  }
  return {
    url,
    call,
    waitForTask,
    async write(method, path, body) {
      const answer = await call(method, path, body)
      assert(answer.status < 300, answer.body.toString())
      const task = await waitForTask(Number(answer.json.taskUid))
      assert.equal(task.status, 'succeeded', JSON.stringify(task))
      return task
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  }
}

/** Runs `flapjack engine` until it ends by itself. */
export async function engineExit(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<EngineExit> {
  return spawnEngine(args, env).exit
}

function spawnEngine(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): { readonly child: ChildProcess; readonly exit: Promise<EngineExit> } {
  const child = spawn(process.execPath, [launcher, 'engine', '--json', '--http-addr', '127.0.0.1:0', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, ...env },
  })
  let text = ''
  for (const output of [child.stdout!, child.stderr!])
    output.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-20_000)
    })
  const exit = new Promise<EngineExit>((resolve) => child.once('close', (code) => resolve({ code, text })))
  return { child, exit }
}

/** The `results` of a list. */
export function resultsOf(answer: EngineAnswer): readonly JsonObject[] {
  const results: Json | undefined = answer.json.results
  assert(Array.isArray(results), answer.body.toString())
  return results as readonly JsonObject[]
}
