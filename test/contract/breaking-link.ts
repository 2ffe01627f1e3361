/** A TCP link to a local port that breaks and changes bytes on purpose. */

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'

export interface LinkFaults {
  /** All connections end whenever so many more bytes went through; 0 = never. */
  breakEvery: number
  /** The next so many long pieces that go through have a bit changed in their middle. */
  corruptPieces: number
}

export interface BreakingLink {
  readonly url: string
  readonly faults: LinkFaults
  /** Bytes that came from either end. */
  bytes(): number
  breaks(): number
  close(): Promise<void>
}

/** Shorter ones may be heads of requests. */
const longPieceMin = 16 * 1024

/** @param port  where it leads, asked for at each connection. */
export async function startBreakingLink(port: () => number): Promise<BreakingLink> {
  const faults: LinkFaults = { breakEvery: 0, corruptPieces: 0 }
  const sockets = new Set<Socket>()
  let bytes = 0
  let breaks = 0
  let breakAt = Number.POSITIVE_INFINITY
  const carry = (from: Socket, to: Socket) => {
    from.on('data', (piece) => {
      if (faults.breakEvery > 0 && breakAt === Number.POSITIVE_INFINITY) breakAt = bytes + faults.breakEvery
      bytes += piece.length
      if (faults.breakEvery > 0 && bytes >= breakAt) {
        breakAt = bytes + faults.breakEvery
        breaks += 1
        for (const socket of sockets) socket.destroy()
        return
      }
      if (faults.corruptPieces > 0 && piece.length >= longPieceMin) {
        faults.corruptPieces -= 1
        piece[piece.length >> 1]! ^= 4
      }
      if (!to.write(piece)) {
        from.pause()
        to.once('drain', () => from.resume())
      }
    })
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }
  const server = createServer((near) => {
    const far = connect(port(), '127.0.0.1')
    sockets.add(near).add(far)
    carry(near, far)
    carry(far, near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    bytes: () => bytes,
    breaks: () => breaks,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
