/**
 * A Redis or Valkey server for tests: a real one where the PATH has it, else a stand-in that speaks as much of the protocol
 * as the scripts of limits need, with the same arithmetic.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../../src/lib/loopback-port.ts'

export interface TestRedis {
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

const startsMax = 5

/** @param port  Default: a free one. */
export async function startRedis(port?: number): Promise<TestRedis> {
  const program = findProgram()
  if (program === undefined) return startStandIn(port ?? 0)
  for (let attempt = 1; ; attempt += 1) {
    const started = await startProgram(program, port ?? (await freePort()))
    if (started !== undefined) return started
    // Somebody else took the port first.
    if (attempt === startsMax) throw new Error(`${program} does not start`)
  }
}

function findProgram(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const paths = ['valkey-server', 'redis-server'].flatMap((name) => folders.map((folder) => join(folder, name)))
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** `undefined` = it ended at once. */
async function startProgram(program: string, port: number): Promise<TestRedis | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-redis-'))
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  let said = ''
  for await (const piece of child.stdout.iterator({ destroyOnReturn: false })) {
    said += String(piece)
    if (said.includes('Ready to accept connections')) break
  }
  child.stdout.resume()
  if (!said.includes('Ready to accept connections')) {
    await ended
    await rm(folder, { recursive: true, force: true })
    return undefined
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async close() {
      child.kill('SIGKILL')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function startStandIn(wantedPort: number): Promise<TestRedis> {
  const buckets = new Map<string, { tokens: number; at: number }>()
  const sockets = new Set<Socket>()
  const take = (key: string, capacity: number, rate: number, wanted: number) => {
    const now = Date.now()
    const { tokens, at } = buckets.get(key) ?? { tokens: capacity, at: now }
    const filled = Math.min(capacity, tokens + Math.max(0, now - at) * rate)
    const granted = Math.min(wanted, Math.floor(filled))
    buckets.set(key, { tokens: filled - granted, at: Math.max(now, at) })
    const left = String(filled - granted)
    return `*2\r\n:${granted}\r\n$${left.length}\r\n${left}\r\n`
  }
  const answer = ([name = '', , , key = '', ...values]: readonly string[]) => {
    const [capacity = 0, rate = 0, wanted = 0] = values.map(Number)
    switch (name.toLowerCase()) {
      case 'eval':
        return take(key, capacity, rate, wanted)
      case 'evalsha':
        return '-NOSCRIPT No matching script.\r\n'
      case 'info':
        return '$9\r\nloading:0\r\n'
      default:
        return '+OK\r\n'
    }
  }
  const server = createServer((socket) => {
    sockets.add(socket)
    let rest = ''
    socket.on('data', (piece) => {
      rest += piece.toString('latin1')
      for (let read = readCommand(rest); read !== undefined; read = readCommand(rest)) {
        rest = rest.slice(read.end)
        socket.write(answer(read.words))
      }
    })
    socket.on('error', () => undefined)
  })
  server.listen(wantedPort, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** One command, an array of bulk strings; `undefined`: it is not whole yet. */
function readCommand(text: string): { readonly words: readonly string[]; readonly end: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text)
  if (head === null) return undefined
  const words: string[] = []
  let end = head[0].length
  for (let count = Number(head[1]); count > 0; count -= 1) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(end))
    if (size === null) return undefined
    const from = end + size[0].length
    end = from + Number(size[1]) + 2
    if (text.length < end) return undefined
    words.push(text.slice(from, end - 2))
  }
  return { words, end }
}
