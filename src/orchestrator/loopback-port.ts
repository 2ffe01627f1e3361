/** Ports on the loopback interface. */
import { connect, createServer } from 'node:net'
import { assert } from '../lib/assert.ts'

/** Something else listens where we were told to. */
export class PortInUse extends Error {
  override readonly name = 'PortInUse'
  readonly port: number

  constructor(host: string, port: number) {
    super(`port ${port} on ${host} is in use by another program`)
    this.port = port
  }
}

/** A port that is free now; somebody else may take it before its user does, who then asks again. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      assert(address !== null && typeof address === 'object', 'a TCP server has an address')
      server.close(() => resolve(address.port))
    })
  })
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
