/** One process of a fleet: a node, a gateway or a worker. Can be killed, stopped in its tracks and started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'

const launcher = join(import.meta.dirname, '..', '..', 'bin', 'flapjack')
const startMsMax = 60_000
const stopMsMax = 10_000
/** Whoever had the port meanwhile lets it go. */
const startTries = 5
const keptOutput = 20_000

export type Standing = 'up' | 'paused' | 'down'

export class FleetProcess {
  readonly name: string
  readonly #args: readonly string[]
  readonly #env: Readonly<Record<string, string>>
  #child: ChildProcess | undefined
  #standing: Standing = 'down'
  #output = ''

  /** @param args  of `flapjack`; must have `--json`, so that the ready line can be read. */
  constructor(name: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    this.name = name
    this.#args = args
    this.#env = env
  }

  get standing(): Standing {
    return this.#standing
  }

  get output(): string {
    return this.#output
  }

  /** Resolves when it says that it serves. */
  async start(): Promise<void> {
    for (let turn = 1; ; turn += 1) {
      if (await this.#launch()) return
      if (turn === startTries) throw new Error(`${this.name} did not start:\n${this.#output}`)
    }
  }

  async #launch(): Promise<boolean> {
    const child = spawn(process.execPath, [launcher, ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#env },
    })
    this.#child = child
    const keep = (text: string) => {
      this.#output = (this.#output + text).slice(-keptOutput)
    }
    child.stderr.on('data', (chunk: Buffer) => keep(chunk.toString()))
    const isReady = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        resolve(false)
      }, startMsMax)
      let printed = ''
      child.stdout.on('data', (chunk: Buffer) => {
        printed += chunk.toString()
        keep(chunk.toString())
        if (/"(?:url|roles)":/.test(printed)) resolve(true)
      })
      child.once('exit', () => resolve(false))
      child.once('close', () => clearTimeout(timer))
      child.stdout.once('data', () => clearTimeout(timer))
    })
    this.#standing = isReady ? 'up' : 'down'
    return isReady
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    this.#standing = 'down'
    await this.#end('SIGKILL')
  }

  /** As a machine that hangs: connections stay open and nothing answers. */
  pause(): void {
    this.#standing = 'paused'
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
    this.#standing = 'up'
  }

  async stop(): Promise<void> {
    if (this.#standing === 'paused') this.resume()
    this.#standing = 'down'
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), stopMsMax)
    await this.#end('SIGTERM')
    clearTimeout(timer)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await exit
  }
}
