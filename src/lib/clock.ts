/** Time, passed in so that tests and the simulator can drive it. */

/** Single alarms, where a promise and a signal for each would cost too much. */
export interface Timers {
  /** Calls `run` once after `ms`; answers a function that takes it back. */
  after(ms: number, run: () => void): () => void
}

export interface Clock extends Timers {
  /** Wall clock, milliseconds since 1970. */
  now(): number
  /** Monotonic, milliseconds from an arbitrary start, with fractions. */
  monotonic(): number
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemTimers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: systemTimers.after,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = () => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }, ms)
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
}
