/** Where payload bytes go: small ones travel in the row, large ones become blobs. */
import { once } from '../lib/byte-stream.ts'
import type { Blobs } from '../store/blobs.ts'
import { inlinePayloadBytesMax, type Payload } from './change.ts'

export interface PayloadStore {
  stage(bytes: AsyncIterable<Uint8Array>): Promise<Payload>
  discard(payload: Payload): Promise<void>
  open(payload: Payload): AsyncIterable<Uint8Array>
}

export function openPayloadStore(blobs: Blobs): PayloadStore {
  return {
    async stage(bytes) {
      const iterator = bytes[Symbol.asyncIterator]()
      const head: Uint8Array[] = []
      let byteCount = 0
      while (byteCount <= inlinePayloadBytesMax) {
        const next = await iterator.next()
        if (next.done === true) return { kind: 'inline', bytes: Buffer.concat(head) }
        head.push(next.value)
        byteCount += next.value.byteLength
      }
      return { kind: 'blob', ...(await blobs.write(continued(head, iterator))) }
    },
    async discard(payload) {
      if (payload.kind === 'blob') await blobs.delete(payload.name)
    },
    open: (payload) => (payload.kind === 'blob' ? blobs.open(payload.name) : once(payload.bytes)),
  }
}

async function* continued(head: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* head
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
  } finally {
    await rest.return?.()
  }
}
