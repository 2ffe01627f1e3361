/**
 * The way over a store of objects that both sides reach (P-29): a folder, or a bucket. Where the store presigns addresses and both
 * engines take them, the bytes go from the one engine to the store and from there to the other, and none through this process; else
 * this process brings them. A part is sealed before it leaves the source, or this process, under a key that nobody keeps; it
 * goes as soon as the target has it.
 *
 * Memory of this process, where it brings the bytes: three parts, plain and sealed; else none.
 */
import { randomBytes } from 'node:crypto'
import { errorBody } from '../../api/errors.ts'
import type { EngineReply } from '../../engine/engine.ts'
import { SealBroken } from '../../lib/seal.ts'
import { openPart, partKeyBytes, sealPart } from '../../lib/sealed-part.ts'
import { type ObjectStore, ObjectsUnavailable, readWhole } from '../../store/objects/object-store.ts'
import type { FileEnds, PartWay } from './snapshot-transfer.ts'

/** A break costs one part. */
const partBytesMax = 8 * 2 ** 20
const aheadByAddress = 4
const aheadBySelf = 1
/** Addresses are made anew for each request. */
const addressSeconds = 900

interface Placed {
  readonly start: number
  readonly end: number
  /** Digest of the bytes, where they went through this process. */
  readonly digest: string
}

/** Below which the parts of a file lie. */
const folderOf = (name: string): string => `transfers/${name}`

/** Whatever a transfer left behind goes. Where the store does not answer it stays: a few parts that nobody can open. */
export async function dropParts(objects: ObjectStore, name: string): Promise<void> {
  try {
    for await (const object of objects.list(`${folderOf(name)}/`)) await objects.delete(object.name)
  } catch (error) {
    if (!(error instanceof ObjectsUnavailable)) throw error
  }
}

/** Whether the engines get addresses, or this process brings the bytes, follows from the store and from both of them. */
export async function placedWay(ends: FileEnds, objects: ObjectStore): Promise<PartWay<Placed>> {
  const { source, target, name, byteCount, signal } = ends
  const key = randomBytes(partKeyBytes)
  // Of this transfer alone: what another one of the same file still puts down is never read.
  const folder = `${folderOf(name)}/${randomBytes(6).toString('hex')}`
  const objectOf = ({ start, end }: Pick<Placed, 'start' | 'end'>) => `${folder}/${start}-${end}`
  const { presign } = objects
  const offers = await Promise.all([source.offer(signal), target.offer(signal)])
  const takeAddresses = offers.every((offer) => offer.kind === 'answered' && offer.value?.hasAddresses === true)

  const byAddress = (addressOf: NonNullable<ObjectStore['presign']>): Omit<PartWay<Placed>, 'partBytesMax'> => ({
    ahead: aheadByAddress,
    take: (start, end) =>
      asked(async () => {
        const address = await addressOf(objectOf({ start, end }), 'PUT', addressSeconds)
        const sent = await source.send(name, { start, end, address, key }, signal)
        return sent.kind === 'answered' ? { kind: 'answered', value: { start, end, digest: '' } } : sent
      }),
    give: async (part) =>
      part === null
        ? target.write(name, byteCount, null, signal)
        : asked(async () => {
            const address = await addressOf(objectOf(part), 'GET', addressSeconds)
            return target.fetch(name, byteCount, { start: part.start, end: part.end, address, key }, signal)
          }),
  })
  const bySelf: Omit<PartWay<Placed>, 'partBytesMax'> = {
    ahead: aheadBySelf,
    take: async (start, end) => {
      const part = await source.read(name, start, end, signal)
      if (part.kind !== 'answered') return part
      const { bytes, digest } = part.value
      return asked(async () => {
        await objects.put(objectOf({ start, end }), sealPart(key, { name, start, bytes }), { signal })
        return { kind: 'answered', value: { start, end, digest } }
      })
    },
    give: async (part) =>
      part === null
        ? target.write(name, byteCount, null, signal)
        : asked(async () => {
            const sealed = await readWhole(objects.get(objectOf(part), { signal }))
            const { start, digest } = part
            const bytes = openPart(key, { name, start, bytes: sealed })
            return target.write(name, byteCount, { start, bytes, digest }, signal)
          }),
  }
  const { ahead, take, give } = presign !== null && takeAddresses ? byAddress(presign) : bySelf
  return {
    ...{ partBytesMax, ahead, take },
    async give(part) {
      const given = await give(part)
      // One that stays is no more than a part too many until the copy ends.
      if (part !== null && given.kind === 'answered') await objects.delete(objectOf(part)).catch(() => undefined)
      return given
    },
  }
}

/** What the store throws is a break, as any other; a part that does not open is a wrong one. */
async function asked<T>(ask: () => Promise<EngineReply<T>>): Promise<EngineReply<T>> {
  try {
    return await ask()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (!(error instanceof SealBroken)) return { kind: 'failed', reason }
    return { kind: 'refused', status: 422, error: errorBody('bad_request', reason) }
  }
}
