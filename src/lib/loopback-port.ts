/** Ports on the loopback interface. */
import { connect, createServer } from 'node:net'

/** Something else listens where we were told to. */
export class PortInUse extends Error {
  override readonly name = 'PortInUse'
  readonly port: number

  constructor(host: string, port: number) {
    super(`port ${port} on ${host} is in use by another program`)
    this.port = port
  }
}

/**
 * Below what Linux, macOS and Windows give to outgoing connections and to port 0: whoever binds one of these later, or
 * again after a restart, does not find it taken by a connection.
 */
const portMin = 10_000
const portCount = 20_000
/** Processes that look for ports at the same time begin at places far from each other. */
const portsPerProcess = 97
let tried = 0

/**
 * A port that is free now, from 10,000 to 29,999. Somebody else may take it before its user does, who then asks again.
 * @throws when none of them is free
 */
export async function freePort(): Promise<number> {
  for (let turn = 0; turn < portCount; turn += 1) {
    const port = portMin + ((process.pid * portsPerProcess + tried) % portCount)
    tried += 1
    if (await isFree(port)) return port
  }
  throw new Error(`no port from ${portMin} to ${portMin + portCount - 1} is free on the loopback interface`)
}

/** Whether it can be bound now, on the loopback interface. */
export async function isFree(port: number): Promise<boolean> {
  return checkPort('127.0.0.1', port).then(
    () => true,
    (error: unknown) => {
      if (error instanceof PortInUse) return false
      throw error
    },
  )
}

/** Fails early, before anything is started, when the address cannot be taken. Port 0 is always free. @throws PortInUse */
export function checkPort(host: string, port: number): Promise<void> {
  if (port === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => {
      reject('code' in error && error.code === 'EADDRINUSE' ? new PortInUse(host, port) : error)
    })
    server.listen(port, host, () => server.close(() => resolve()))
  })
}

/** Whether something accepts connections there, within a second. */
export function isListening(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const answer = (isOpen: boolean) => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.setTimeout(1000, () => answer(false))
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
  })
}
