/** Plain HTTP beside TLS (P-03): every request is sent to the same place over HTTPS, with its method and body. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface SecureRedirect {
  /** `http://host:port` as bound. */
  readonly url: string
  close(): Promise<void>
}

const headersBytesMax = 16 * 1024
const hostForm = /^[A-Za-z0-9.\-_[\]:]{1,260}$/

/** @param securePort  where HTTPS is answered; 443 is left out of addresses. */
export async function startSecureRedirect(options: {
  readonly host: string
  readonly port: number
  readonly securePort: number
}): Promise<SecureRedirect> {
  const suffix = options.securePort === 443 ? '' : `:${options.securePort}`
  const server: Server = createServer(
    { maxHeaderSize: headersBytesMax, requestTimeout: 10_000 },
    (request, response) => {
      const host = (request.headers.host ?? '').replace(/:\d*$/, '')
      const isFit = hostForm.test(host) && (request.url ?? '').startsWith('/')
      response.writeHead(isFit ? 308 : 400, {
        ...(isFit ? { location: `https://${host}${suffix}${request.url}` } : {}),
        'content-length': '0',
        connection: 'close',
      })
      response.end()
    },
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port }, resolve)
  })
  const { address, port } = server.address() as AddressInfo
  return {
    url: `http://${address.includes(':') ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
