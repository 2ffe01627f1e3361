/** Clients of the simulator: writes in bursts, some of them cancelled, some refused when they arrive. */
import type { Operation } from '../../src/journal/change.ts'
import type { Random } from '../../src/lib/random.ts'
import type { Spread } from '../../src/store/catalogue.ts'
import type { Model } from './model.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimStore } from './sim-store.ts'

export interface ClientOptions {
  readonly scheduler: Scheduler
  readonly random: Random
  /** Draws what came later; `undefined` = none of that. */
  readonly hardships: Random | undefined
  readonly store: SimStore
  readonly model: Model
  /** How the index of each name lies. */
  readonly spreads: ReadonlyMap<string, Spread | null>
  readonly stormMs: number
  /** Nodes that may refuse documents which are odd for them. */
  readonly pickyNodes: readonly string[]
}

export function scheduleClients(options: ClientOptions): void {
  const { scheduler, random, hardships, spreads, stormMs, pickyNodes } = options
  const names = [...spreads.keys()]
  const writes = 15 + random.integer(45)
  const run = async () => {
    const uid = names[random.integer(names.length)]!
    const isRefused = random.float() < 0.05
    const cancelAfterMs = random.float() < 0.1 ? random.integer(30) : undefined
    await write(options, uid, { ...randomWrite(random, pickyNodes), isRefused }, cancelAfterMs)
  }
  for (let at = 0; at < writes; at += 1) {
    // In bursts, so that the nodes batch.
    const burst = random.integer(6) * (stormMs / 6)
    scheduler.after(burst + random.integer(random.float() < 0.7 ? 200 : 3_000), () => void run())
  }
  if (hardships !== undefined && hardships.float() < 0.4) scheduleBacklogs(options, hardships)
}

interface Wanted {
  readonly operation: Operation
  readonly lines: readonly unknown[] | null
  readonly isRefused: boolean
}

async function write(options: ClientOptions, uid: string, wanted: Wanted, cancelAfterMs?: number): Promise<void> {
  const { scheduler, store, model, spreads } = options
  const spread = spreads.get(uid) ?? null
  const change = await store.append({ uid, spread, ...wanted })
  if (change === undefined) return
  await model.appended(change, spread)
  if (cancelAfterMs !== undefined && change.index !== null)
    scheduler.after(cancelAfterMs, () => void store.cancel(change.task))
}

/** Many small changes of one index at once, which lanes send as few large ones. */
function scheduleBacklogs(options: ClientOptions, random: Random): void {
  const { scheduler, spreads, stormMs, pickyNodes } = options
  const names = [...spreads.keys()]
  for (let count = 1 + random.integer(2); count > 0; count -= 1) {
    const uid = names[random.integer(names.length)]!
    const at = random.integer(stormMs)
    const isPure = random.float() < 0.5
    for (let size = 8 + random.integer(25); size > 0; size -= 1) {
      const wanted = isPure || random.float() < 0.9 ? smallWrite(random) : randomWrite(random, pickyNodes)
      const isRefused = random.float() < 0.02
      scheduler.after(at + random.integer(60), () => void write(options, uid, { ...wanted, isRefused }))
    }
  }
}

function smallWrite(random: Random): { readonly operation: Operation; readonly lines: readonly unknown[] } {
  const id = random.integer(8)
  const luck = random.float()
  if (luck < 0.25) return { operation: { kind: 'documents-delete', provided: 1 }, lines: [String(id)] }
  const merge = luck < 0.6
  const line = { id, value: random.integer(1_000_000), ...(merge ? {} : { group: random.integer(3) }) }
  const bad = random.float() < 0.02 ? { bad: 'always' } : {}
  return {
    operation: { kind: 'documents-put', merge, skipCreation: false, primaryKey: null, received: 1, distinct: 1 },
    lines: [{ ...line, ...bad }],
  }
}

function randomWrite(
  random: Random,
  pickyNodes: readonly string[],
): { readonly operation: Operation; readonly lines: readonly unknown[] | null } {
  const id = () => random.integer(8)
  const filter = `group = ${random.integer(3)}`
  const luck = random.integer(100)
  if (luck < 55) {
    const bad = random.float() < 0.2 ? { bad: ['always', 'x', 'y'][random.integer(3)]! } : {}
    const isOdd = pickyNodes.length > 0 && random.float() < 0.2
    const odd = isOdd ? { odd: pickyNodes[random.integer(pickyNodes.length)]! } : {}
    const count = 1 + random.integer(4)
    const merge = random.float() < 0.4
    const lines = Array.from({ length: count }, (_, at) => ({
      id: id(),
      value: random.integer(1_000_000),
      ...(merge ? {} : { group: random.integer(3) }),
      ...(at === 0 ? { ...bad, ...odd } : {}),
    }))
    const distinct = new Set(lines.map((line) => line.id)).size
    const skipCreation = random.float() < 0.2
    return {
      operation: { kind: 'documents-put', merge, skipCreation, primaryKey: null, received: count, distinct },
      lines,
    }
  }
  if (luck < 68) {
    const lines = Array.from({ length: random.integer(3) }, () => String(id()))
    return { operation: { kind: 'documents-delete', provided: lines.length }, lines }
  }
  if (luck < 74) return { operation: { kind: 'documents-delete-by-filter', filter }, lines: null }
  if (luck < 80) return { operation: { kind: 'documents-edit', function: 'count', filter, context: null }, lines: null }
  if (luck < 83) return { operation: { kind: 'documents-clear' }, lines: null }
  if (luck < 86) return { operation: { kind: 'index-delete' }, lines: null }
  if (luck < 88) return { operation: { kind: 'index-create', primaryKey: 'id' }, lines: null }
  const settings = [
    { filterableAttributes: ['group'] },
    { filterableAttributes: ['group'] },
    { filterableAttributes: null },
    { refuses: 'x' },
    { refuses: 'y' },
    { broken: true },
    { other: random.integer(5) },
  ][random.integer(7)]!
  return { operation: { kind: 'settings', settings }, lines: null }
}
