/** Facet values of one document, for sort, distinct and the spelling of facet strings: packed by field. */

export interface FacetValues {
  readonly numbers: readonly number[]
  readonly strings: readonly { readonly value: string; readonly original: string }[]
}

const none: FacetValues = { numbers: [], strings: [] }

/** Fields without values are left out. */
export function encodeFacetValues(fields: ReadonlyMap<number, FacetValues>): Uint8Array {
  let byteCount = 0
  for (const { numbers, strings } of fields.values()) {
    byteCount += 6 + numbers.length * 8
    for (const { value, original } of strings) byteCount += 4 + Buffer.byteLength(value) + Buffer.byteLength(original)
  }
  const bytes = Buffer.allocUnsafe(byteCount)
  let at = 0
  for (const [field, { numbers, strings }] of fields) {
    at = bytes.writeUInt16LE(field, at)
    at = bytes.writeUInt16LE(numbers.length, at)
    at = bytes.writeUInt16LE(strings.length, at)
    for (const number of numbers) at = bytes.writeDoubleLE(number, at)
    for (const { value, original } of strings) {
      for (const text of [value, original]) {
        const length = bytes.write(text, at + 2)
        bytes.writeUInt16LE(length, at)
        at += 2 + length
      }
    }
  }
  return bytes.subarray(0, at)
}

export function decodeFacetValues(bytes: Uint8Array | undefined, field: number): FacetValues {
  if (bytes === undefined) return none
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  while (at < buffer.length) {
    const found = buffer.readUInt16LE(at) === field
    const numberCount = buffer.readUInt16LE(at + 2)
    const stringCount = buffer.readUInt16LE(at + 4)
    at += 6
    const numbers: number[] = []
    if (found) for (let index = 0; index < numberCount; index += 1) numbers.push(buffer.readDoubleLE(at + index * 8))
    at += numberCount * 8
    const strings: { value: string; original: string }[] = []
    for (let index = 0; index < stringCount; index += 1) {
      const valueEnd = at + 2 + buffer.readUInt16LE(at)
      const originalEnd = valueEnd + 2 + buffer.readUInt16LE(valueEnd)
      if (found) {
        strings.push({
          value: buffer.toString('utf8', at + 2, valueEnd),
          original: buffer.toString('utf8', valueEnd + 2, originalEnd),
        })
      }
      at = originalEnd
    }
    if (found) return { numbers, strings }
  }
  return none
}
