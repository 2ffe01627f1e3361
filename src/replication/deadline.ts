/** Deadlines over a passed-in clock, so that the simulator drives them too. */
import { setMaxListeners } from 'node:events'
import type { Timers } from '../lib/clock.ts'

/** An abort controller that many wait on: all lanes of a node, all requests of a lane. */
export function manyWaiting(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/** Why what nobody needs any more is aborted. Without it every abort would make an error of its own, with its stack. */
export const notNeeded = new Error('not needed any more')

/** Runs `run` with a signal that aborts after `ms` or with `parent`, and when `run` has ended. */
export async function withDeadline<T>(
  clock: Timers,
  ms: number,
  parent: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController()
  const onParent = () => over.abort(parent.reason)
  if (parent.aborted) onParent()
  parent.addEventListener('abort', onParent, { once: true })
  const cancel = clock.after(ms, () => over.abort(new Error(`no answer within ${ms} ms`)))
  try {
    return await run(over.signal)
  } finally {
    parent.removeEventListener('abort', onParent)
    cancel()
    over.abort(notNeeded)
  }
}

/** Doubling from 100 ms to 5 s, with jitter of a half. `failures` counts from 1. */
export function backoffMs(failures: number, random: { float(): number }): number {
  const full = Math.min(5_000, 100 * 2 ** Math.min(failures - 1, 10))
  return full * (0.5 + random.float() / 2)
}
