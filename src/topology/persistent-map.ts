/**
 * An immutable map from strings to objects that know their own key: a hash array mapped trie with 32 ways.
 *
 * An update copies the few small nodes on one path and shares the rest, so that a table of a million entries is replaced in
 * microseconds and a reader that holds the old one sees no change. Entries cost one slot; keys are not stored twice.
 *
 * @see Bagwell, Ideal hash trees, 2001.
 */

const bitsPerLevel = 5
const levelMask = 31
const shiftMax = 30

class Branch<V> {
  readonly edit: object | undefined
  bitmap: number
  slots: Slot<V>[]
  constructor(edit: object | undefined, bitmap: number, slots: Slot<V>[]) {
    this.edit = edit
    this.bitmap = bitmap
    this.slots = slots
  }
}

/** Values whose 32-bit hashes are equal. */
class Bucket<V> {
  readonly values: readonly V[]
  constructor(values: readonly V[]) {
    this.values = values
  }
}

type Slot<V> = Branch<V> | Bucket<V> | V

/** FNV-1a over UTF-16 code units with a final mix, so that names that differ in their last letters spread. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}

function countBits(bits: number): number {
  let count = bits - ((bits >>> 1) & 0x55555555)
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333)
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

export class PersistentMap<V extends object> {
  readonly #keyOf: (value: V) => string
  readonly #root: Branch<V>
  readonly size: number

  private constructor(keyOf: (value: V) => string, root: Branch<V>, size: number) {
    this.#keyOf = keyOf
    this.#root = root
    this.size = size
  }

  static empty<V extends object>(keyOf: (value: V) => string): PersistentMap<V> {
    return new PersistentMap<V>(keyOf, new Branch<V>(undefined, 0, []), 0)
  }

  /** Builds in place, much faster than repeated `set`. A later value replaces an earlier one with the same key. */
  static from<V extends object>(keyOf: (value: V) => string, values: Iterable<V>): PersistentMap<V> {
    const edit = {}
    const root = new Branch<V>(edit, 0, [])
    let size = 0
    for (const value of values) {
      const key = keyOf(value)
      if (insert(root, keyOf, value, key, hashOf(key), 0, edit).added) size += 1
    }
    return new PersistentMap<V>(keyOf, root, size)
  }

  get(key: string): V | undefined {
    const hash = hashOf(key)
    let branch = this.#root
    for (let shift = 0; ; shift += bitsPerLevel) {
      const bit = 1 << ((hash >>> shift) & levelMask)
      if ((branch.bitmap & bit) === 0) return undefined
      const slot = branch.slots[countBits(branch.bitmap & (bit - 1))]!
      if (slot instanceof Branch) {
        branch = slot
        continue
      }
      if (slot instanceof Bucket) return slot.values.find((value) => this.#keyOf(value) === key)
      return this.#keyOf(slot) === key ? slot : undefined
    }
  }

  /** A map with `value` in place of any value with the same key. */
  set(value: V): PersistentMap<V> {
    const key = this.#keyOf(value)
    const { branch, added } = insert(this.#root, this.#keyOf, value, key, hashOf(key), 0, undefined)
    return new PersistentMap<V>(this.#keyOf, branch, this.size + (added ? 1 : 0))
  }

  /** The same map when the key is not there. */
  delete(key: string): PersistentMap<V> {
    const branch = remove(this.#root, this.#keyOf, key, hashOf(key), 0)
    if (branch === this.#root) return this
    return new PersistentMap<V>(this.#keyOf, branch ?? new Branch<V>(undefined, 0, []), this.size - 1)
  }

  /** In no particular order. */
  *values(): IterableIterator<V> {
    const open: Slot<V>[] = [this.#root]
    for (let slot = open.pop(); slot !== undefined; slot = open.pop()) {
      if (slot instanceof Branch) open.push(...slot.slots)
      else if (slot instanceof Bucket) yield* slot.values
      else yield slot
    }
  }
}

type Inserted<V> = { readonly branch: Branch<V>; readonly added: boolean }

function insert<V>(
  branch: Branch<V>,
  keyOf: (value: V) => string,
  value: V,
  key: string,
  hash: number,
  shift: number,
  edit: object | undefined,
): Inserted<V> {
  const bit = 1 << ((hash >>> shift) & levelMask)
  const at = countBits(branch.bitmap & (bit - 1))
  if ((branch.bitmap & bit) === 0) {
    const slots = edit !== undefined && branch.edit === edit ? branch.slots : branch.slots.slice()
    slots.splice(at, 0, value)
    return { branch: put(branch, branch.bitmap | bit, slots, edit), added: true }
  }
  const slot = branch.slots[at]!
  const { next, added } = insertIntoSlot(slot, keyOf, value, key, hash, shift, edit)
  if (next === slot) return { branch, added }
  const slots = edit !== undefined && branch.edit === edit ? branch.slots : branch.slots.slice()
  slots[at] = next
  return { branch: put(branch, branch.bitmap, slots, edit), added }
}

function insertIntoSlot<V>(
  slot: Slot<V>,
  keyOf: (value: V) => string,
  value: V,
  key: string,
  hash: number,
  shift: number,
  edit: object | undefined,
): { readonly next: Slot<V>; readonly added: boolean } {
  if (slot instanceof Branch) {
    const inserted = insert(slot, keyOf, value, key, hash, shift + bitsPerLevel, edit)
    return { next: inserted.branch, added: inserted.added }
  }
  if (slot instanceof Bucket) {
    const others = slot.values.filter((other) => keyOf(other) !== key)
    return { next: new Bucket([...others, value]), added: others.length === slot.values.length }
  }
  const other = keyOf(slot)
  if (other === key) return { next: value, added: false }
  return { next: join(slot, hashOf(other), value, hash, shift + bitsPerLevel, edit), added: true }
}

/** Two values that share a slot of the level above. */
function join<V>(
  one: V,
  oneHash: number,
  two: V,
  twoHash: number,
  shift: number,
  edit: object | undefined,
): Branch<V> | Bucket<V> {
  if (shift > shiftMax) return new Bucket([one, two])
  const oneAt = (oneHash >>> shift) & levelMask
  const twoAt = (twoHash >>> shift) & levelMask
  if (oneAt === twoAt) {
    return new Branch<V>(edit, 1 << oneAt, [join(one, oneHash, two, twoHash, shift + bitsPerLevel, edit)])
  }
  return new Branch<V>(edit, (1 << oneAt) | (1 << twoAt), oneAt < twoAt ? [one, two] : [two, one])
}

function put<V>(branch: Branch<V>, bitmap: number, slots: Slot<V>[], edit: object | undefined): Branch<V> {
  if (edit === undefined || branch.edit !== edit) return new Branch<V>(edit, bitmap, slots)
  branch.bitmap = bitmap
  branch.slots = slots
  return branch
}

/** The branch without the key; the same branch when it is not there; `undefined` when nothing is left. */
function remove<V>(
  branch: Branch<V>,
  keyOf: (value: V) => string,
  key: string,
  hash: number,
  shift: number,
): Branch<V> | undefined {
  const bit = 1 << ((hash >>> shift) & levelMask)
  if ((branch.bitmap & bit) === 0) return branch
  const at = countBits(branch.bitmap & (bit - 1))
  const slot = branch.slots[at]!
  let next: Slot<V> | undefined
  if (slot instanceof Branch) {
    next = remove(slot, keyOf, key, hash, shift + bitsPerLevel)
    if (next instanceof Branch && next.slots.length === 1 && !(next.slots[0] instanceof Branch)) next = next.slots[0]
  } else if (slot instanceof Bucket) {
    const others = slot.values.filter((other) => keyOf(other) !== key)
    next = others.length === slot.values.length ? slot : others.length === 1 ? others[0] : new Bucket(others)
  } else next = keyOf(slot) === key ? undefined : slot
  if (next === slot) return branch
  const slots = branch.slots.slice()
  if (next !== undefined) {
    slots[at] = next
    return new Branch<V>(undefined, branch.bitmap, slots)
  }
  if (slots.length === 1) return undefined
  slots.splice(at, 1)
  return new Branch<V>(undefined, branch.bitmap & ~bit, slots)
}
