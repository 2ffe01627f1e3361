/**
 * Which batches have which status, kind and index, for the filters of `GET /batches`. As in the reference, a batch stays
 * with the names that its tasks had when it ended: a swap or a rename, which belongs to all names that it mentions, takes no
 * earlier batch along.
 */
import type { TaskFilter } from '../api/tasks.ts'
import { Bitmap } from '../lib/bitmap.ts'
import { isObject, type Json } from '../lib/json.ts'
import type { BatchRecord } from './batch-record.ts'

const families = { all: 'b', status: 'S', kind: 'K', index: 'I' } as const
type Family = keyof typeof families

export class BatchSets {
  readonly #sets: Record<Family, Map<string, Bitmap>> = {
    all: new Map([['', Bitmap.of()]]),
    status: new Map(),
    kind: new Map(),
    index: new Map(),
  }

  /** Not to be changed. */
  get all(): Bitmap {
    return this.#sets.all.get('')!
  }

  /** Batches that match what the filter says of statuses, kinds and indexes. */
  matching({ statuses, types, indexUids }: TaskFilter): Bitmap {
    let found = this.all.clone()
    const narrow = (family: Family, names: readonly string[] | undefined) => {
      if (names === undefined) return
      found = found.and(Bitmap.union(names.map((name) => this.#sets[family].get(name) ?? Bitmap.of())))
    }
    narrow('status', statuses)
    narrow('kind', types)
    narrow('index', indexUids)
    return found
  }

  /** Batches that belong to several indexes at once, or to none: they are not listed by index. */
  ofNoIndex(): Bitmap {
    return this.#sets.kind.get('indexSwap') ?? Bitmap.of()
  }

  note(batch: BatchRecord): void {
    for (const [family, name] of placesOf(batch)) {
      const known = this.#sets[family].get(name)
      if (known === undefined) this.#sets[family].set(name, Bitmap.of(batch.uid))
      else known.add(batch.uid)
    }
  }

  forget(batch: BatchRecord): void {
    for (const [family, name] of placesOf(batch)) {
      const known = this.#sets[family].get(name)
      known?.remove(batch.uid)
      if (known?.isEmpty() && family !== 'all') this.#sets[family].delete(name)
    }
  }

  /** What to store, by key. */
  *saved(): Iterable<readonly [string, Bitmap]> {
    for (const family of Object.keys(families) as Family[])
      for (const [name, bitmap] of this.#sets[family]) yield [`${families[family]}:${name}`, bitmap]
  }

  /** Answers whether the key is one of these. */
  load(key: string, bitmap: () => Bitmap): boolean {
    const family = (Object.keys(families) as Family[]).find((each) => key.startsWith(`${families[each]}:`))
    if (family === undefined) return false
    this.#sets[family].set(key.slice(2), bitmap())
    return true
  }
}

function* placesOf(batch: BatchRecord): Generator<readonly [Family, string]> {
  yield ['all', '']
  for (const name of Object.keys(batch.statuses)) yield ['status', name]
  for (const name of Object.keys(batch.types)) yield ['kind', name]
  for (const name of namesOf(batch)) yield ['index', name]
}

function namesOf({ indexUids, details }: BatchRecord): ReadonlySet<string> {
  const isText = (value: Json | undefined): value is string => typeof value === 'string'
  const swaps = Array.isArray(details.swaps) ? details.swaps : []
  const swapped = swaps.flatMap((swap) => (isObject(swap) && Array.isArray(swap.indexes) ? swap.indexes : []))
  return new Set([...Object.keys(indexUids), ...[...swapped, details.newIndexUid].filter(isText)])
}
