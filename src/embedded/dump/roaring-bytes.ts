/** Sets of 32-bit numbers in the portable format of Roaring bitmaps, as dumps hold them. */

const cookieWithoutRuns = 12346
const cookieWithRuns = 12347
const arraySizeMax = 4096
const bitmapBytes = 8192
/** More tasks than an engine keeps: a set beyond it is damaged. */
const valuesMax = 2_000_000
/** Containers of fewer have no table of offsets when some are runs. */
const offsetsFrom = 4

export function writeRoaring(values: readonly number[]): Uint8Array {
  const containers = new Map<number, number[]>()
  for (const value of [...new Set(values)].sort((left, right) => left - right)) {
    const list = containers.get(value >>> 16) ?? []
    list.push(value & 0xffff)
    containers.set(value >>> 16, list)
  }
  const bodies = [...containers.values()].map(writeContainer)
  const head = Buffer.alloc(8 + containers.size * 8)
  head.writeUInt32LE(cookieWithoutRuns, 0)
  head.writeUInt32LE(containers.size, 4)
  let at = 8
  for (const [key, list] of containers) {
    head.writeUInt16LE(key, at)
    head.writeUInt16LE(list.length - 1, at + 2)
    at += 4
  }
  let offset = head.length
  for (const body of bodies) {
    head.writeUInt32LE(offset, at)
    at += 4
    offset += body.length
  }
  return Buffer.concat([head, ...bodies])
}

function writeContainer(list: readonly number[]): Buffer {
  if (list.length <= arraySizeMax) {
    const bytes = Buffer.alloc(list.length * 2)
    for (const [index, value] of list.entries()) bytes.writeUInt16LE(value, index * 2)
    return bytes
  }
  const bytes = Buffer.alloc(bitmapBytes)
  for (const value of list) bytes[value >>> 3]! |= 1 << (value & 7)
  return bytes
}

/** What cannot be read is the empty set: the numbers only say which tasks a task once chose. */
export function readRoaring(bytes: Uint8Array): readonly number[] {
  try {
    return readContainers(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch (error) {
    if (error instanceof RangeError) return []
    throw error
  }
}

function readContainers(bytes: Buffer): readonly number[] {
  const cookie = bytes.readUInt32LE(0)
  const hasRuns = (cookie & 0xffff) === cookieWithRuns
  if (!hasRuns && cookie !== cookieWithoutRuns) return []
  const count = hasRuns ? (cookie >>> 16) + 1 : bytes.readUInt32LE(4)
  let at = hasRuns ? 4 : 8
  const runsAt = at
  if (hasRuns) at += Math.ceil(count / 8)
  const descriptions = at
  at += count * 4
  if (!hasRuns || count >= offsetsFrom) at += count * 4
  const values: number[] = []
  for (let index = 0; index < count; index += 1) {
    if (values.length > valuesMax) return []
    const high = bytes.readUInt16LE(descriptions + index * 4) * 65_536
    const size = bytes.readUInt16LE(descriptions + index * 4 + 2) + 1
    if (hasRuns && (bytes.readUInt8(runsAt + (index >>> 3)) >>> (index & 7)) & 1) {
      const runCount = bytes.readUInt16LE(at)
      at += 2
      for (let run = 0; run < runCount; run += 1, at += 4) {
        const start = bytes.readUInt16LE(at)
        const length = bytes.readUInt16LE(at + 2)
        for (let value = start; value <= start + length; value += 1) values.push(high + value)
        if (values.length > valuesMax) return []
      }
    } else if (size <= arraySizeMax) {
      for (let place = 0; place < size; place += 1, at += 2) values.push(high + bytes.readUInt16LE(at))
    } else {
      for (let value = 0; value < 65_536; value += 1)
        if ((bytes.readUInt8(at + (value >>> 3)) >>> (value & 7)) & 1) values.push(high + value)
      at += bitmapBytes
    }
  }
  return values
}
