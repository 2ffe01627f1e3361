/** Exchange and renaming of indexes by `swap-indexes` (M-A3). Pure. */
import { type ErrorBody, errorBody } from '../api/errors.ts'
import type { RegistryEntry } from './meta-env.ts'

export interface IndexSwap {
  readonly indexes: readonly [string, string]
  readonly rename: boolean
}

export type SwapOutcome =
  | {
      readonly put: readonly RegistryEntry[]
      /** Names that no index has any more. */
      readonly gone: readonly string[]
      /** Old name → new name of what was moved. */
      readonly names: ReadonlyMap<string, string>
    }
  | { readonly error: ErrorBody }

/** Messages 16, 17 and 19. */
export function swapIndexes(
  swaps: readonly IndexSwap[],
  find: (uid: string) => RegistryEntry | undefined,
): SwapOutcome {
  const missing: string[] = []
  const taken: (readonly [string, string])[] = []
  for (const { indexes, rename } of swaps) {
    const [left, right] = indexes
    if (find(left) === undefined) missing.push(left)
    if (rename ? find(right) !== undefined : find(right) === undefined) {
      if (rename) taken.push(indexes)
      else missing.push(right)
    }
  }
  const [onlyMissing, ...othersMissing] = [...new Set(missing)].sort()
  if (onlyMissing !== undefined)
    return {
      error: errorBody(
        'index_not_found',
        othersMissing.length === 0
          ? `Index \`${onlyMissing}\` not found.`
          : `Indexes ${[onlyMissing, ...othersMissing].map((uid) => `\`${uid}\``).join(', ')} not found.`,
      ),
    }
  const [onlyTaken, ...othersTaken] = taken
  if (onlyTaken !== undefined)
    return {
      error: errorBody(
        'index_already_exists',
        othersTaken.length === 0
          ? `Cannot rename \`${onlyTaken[0]}\` to \`${onlyTaken[1]}\` as the index already exists. Hint: You can remove \`${onlyTaken[1]}\` first and then do your remove.`
          : `The following indexes are being renamed but cannot because their new name conflicts with an already existing index: ${taken.map(([, uid]) => `\`${uid}\``).join(', ')}. Renaming doesn't overwrite the other index name.`,
      ),
    }
  const put: RegistryEntry[] = []
  const gone: string[] = []
  const names = new Map<string, string>()
  for (const { indexes, rename } of swaps) {
    const [left, right] = indexes
    names.set(left, right)
    put.push({ ...find(left)!, uid: right })
    if (rename) gone.push(left)
    else {
      names.set(right, left)
      put.push({ ...find(right)!, uid: left })
    }
  }
  return { put, gone, names }
}
