/** What leaves a node that carries too much, so that the one that takes it is better off than it was. Pure. */
import type { IndexId } from '../../store/catalogue.ts'

/** A replica that may leave. */
export interface Burden {
  readonly index: IndexId
  readonly uid: string
  readonly bytes: number
}

/**
 * The largest one with which the target still holds less than the node did, and no more than it may. A node with a single
 * index gains nothing: the same load would be elsewhere, and come back.
 *
 * @param dataBytes  what each of the two holds.
 * @param targetBytesMax  what the target is filled up to; null = does not matter.
 */
export function chooseBurden(
  burdens: readonly Burden[],
  dataBytes: { readonly node: number; readonly target: number },
  targetBytesMax: number | null,
): Burden | undefined {
  const fits = burdens.filter(({ bytes }) => {
    const after = dataBytes.target + bytes
    return after < dataBytes.node && (targetBytesMax === null || after <= targetBytesMax)
  })
  return [...fits].sort((a, b) => b.bytes - a.bytes || (a.index < b.index ? -1 : 1))[0]
}
