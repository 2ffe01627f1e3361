/** Which of the moves that wait may begin to copy (P-31): limits, order and times of day. Pure. */

export const movePriorities = ['urgent', 'normal', 'low'] as const

/** Of moves that wait for the same node the more urgent goes first. `urgent` begins at any time of day. */
export type MovePriority = (typeof movePriorities)[number]

/** How many moves are busy at once. */
export interface MoveLimits {
  readonly perNode: number
  /** In the whole installation. */
  readonly total: number
}

/** Moves copy from or to one node (P-31), and altogether. */
export const moveLimitsDefault: MoveLimits = { perNode: 2, total: 16 }

/** 0 is the most urgent. */
export function rankOf(priority: MovePriority | undefined): number {
  return movePriorities.indexOf(priority ?? 'normal')
}
