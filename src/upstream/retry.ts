/** How long a read goes on trying a node that cannot be reached: long enough for a local engine to start again. */
export interface RetryBounds {
  readonly forMs: number
  readonly firstPauseMs: number
  readonly pauseMsMax: number
}

export const readRetry: RetryBounds = { forMs: 3_000, firstPauseMs: 10, pauseMsMax: 250 }

/** The pause before attempt `attempt` (1 = the first repetition); `undefined` = give up. */
export function pauseBefore(attempt: number, elapsedMs: number, bounds: RetryBounds = readRetry): number | undefined {
  if (elapsedMs >= bounds.forMs) return undefined
  return Math.min(bounds.firstPauseMs * 2 ** (attempt - 1), bounds.pauseMsMax, bounds.forMs - elapsedMs)
}
