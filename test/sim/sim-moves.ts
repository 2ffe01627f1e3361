/** Moves in the simulator: an operator has one index go elsewhere while everything fails, and sometimes thinks better of it. */
import type { Random } from '../../src/lib/random.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimStore } from './sim-store.ts'

export function scheduleMove({
  scheduler,
  random,
  store,
  names,
  stormMs,
  kind,
}: {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly store: SimStore
  readonly names: readonly string[]
  readonly stormMs: number
  /** To another node; of a spread index some shards, from several nodes to one; or over another number of shards. */
  readonly kind: 'whole' | 'parts' | 'reshard'
}): void {
  const uid = names[random.integer(names.length)]
  if (uid === undefined) return
  const keepMs = random.integer(5_000)
  const wish = random.float() < 0.4 ? (['cancel', 'undo', 'close'] as const)[random.integer(3)] : undefined
  const wishAfterMs = random.integer(random.float() < 0.5 ? 500 : 5_000)
  // The index may not be there yet, or have no room to go to.
  const begin = async (tries: number) => {
    const move =
      kind === 'reshard'
        ? await store.reshard(uid, random, keepMs)
        : await store.move(uid, random, keepMs, kind === 'parts')
    if (move === undefined) {
      if (tries > 1) scheduler.after(1_000, () => void begin(tries - 1))
    } else if (wish !== undefined) scheduler.after(wishAfterMs, () => void store.wish(move.id, wish))
  }
  scheduler.after(random.integer(stormMs / 2), () => void begin(10))
}
