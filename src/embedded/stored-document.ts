/**
 * Documents as stored: their id and their JSON text, with top-level members in the order of field numbers. Values keep the
 * text in which they were sent, so that numbers survive to the last digit.
 */

export interface StoredDocument {
  readonly id: string
  /** JSON text, without `_vectors` of embedders. */
  readonly text: string
}

export function encodeDocument(document: StoredDocument): Uint8Array {
  const idBytes = Buffer.byteLength(document.id)
  const bytes = Buffer.allocUnsafe(2 + idBytes + Buffer.byteLength(document.text))
  bytes.writeUInt16LE(idBytes, 0)
  bytes.write(document.id, 2)
  bytes.write(document.text, 2 + idBytes)
  return bytes
}

export function decodeDocument(bytes: Uint8Array): StoredDocument {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = 2 + buffer.readUInt16LE(0)
  return { id: buffer.toString('utf8', 2, start), text: buffer.toString('utf8', start) }
}

export function decodeDocumentId(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.toString('utf8', 2, 2 + buffer.readUInt16LE(0))
}
