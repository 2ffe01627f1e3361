/** Deadlines over a passed-in clock, so that the simulator drives them too. */
import { setMaxListeners } from 'node:events'
import type { Clock } from '../lib/clock.ts'

/** An abort controller that many wait on: all lanes of a node, all requests of a lane. */
export function manyWaiting(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/** Runs `run` with a signal that aborts after `ms` or with `parent`. */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  parent: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController()
  const timer = new AbortController()
  const onParent = () => over.abort(parent.reason)
  if (parent.aborted) onParent()
  parent.addEventListener('abort', onParent, { once: true })
  clock.sleep(ms, timer.signal).then(
    () => over.abort(new Error(`no answer within ${ms} ms`)),
    () => {},
  )
  try {
    return await run(over.signal)
  } finally {
    timer.abort()
    parent.removeEventListener('abort', onParent)
  }
}

/** Doubling from 100 ms to 5 s, with jitter of a half. `failures` counts from 1. */
export function backoffMs(failures: number, random: { float(): number }): number {
  const full = Math.min(5_000, 100 * 2 ** Math.min(failures - 1, 10))
  return full * (0.5 + random.float() / 2)
}
