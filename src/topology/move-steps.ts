/**
 * The course of a move (design 5), as a total table: what may follow each step. Pure.
 *
 * `planned → copying → catching_up → verifying → switching → keeping_back → closing → closed`. Until `switching` begins the
 * old replica serves and the new one is only a copy, so everything before it can be given up without a trace.
 */

export const moveSteps = [
  'planned',
  'copying',
  'catching_up',
  'verifying',
  'switching',
  'keeping_back',
  'closing',
  'undoing',
  'clearing',
  'cancelling',
  'failing',
  'closed',
  'undone',
  'cancelled',
  'failed',
] as const

export type MoveStep = (typeof moveSteps)[number]

/** What an operator may want of an open move. */
export const moveWishes = ['cancel', 'undo', 'close'] as const

export type MoveWish = (typeof moveWishes)[number]

export type MoveEvent =
  | 'done'
  /** What the step builds on is gone: the target's disk was replaced, or its copy can no longer be brought up to date. */
  | 'lost'
  /** It cannot be done. */
  | 'failed'
  | MoveWish

type Course = Readonly<Record<MoveStep, Readonly<Partial<Record<MoveEvent, MoveStep>>>>>

const course: Course = {
  planned: { done: 'copying', failed: 'failing', cancel: 'cancelling' },
  copying: { done: 'catching_up', lost: 'clearing', failed: 'failing', cancel: 'cancelling' },
  catching_up: { done: 'verifying', lost: 'clearing', failed: 'failing', cancel: 'cancelling' },
  verifying: { done: 'switching', lost: 'clearing', failed: 'failing', cancel: 'cancelling' },
  // The new replica may be lost for good before it is let in: then only an operator can end it.
  switching: { done: 'keeping_back', cancel: 'undoing' },
  keeping_back: { done: 'closing', close: 'closing', undo: 'undoing' },
  closing: { done: 'closed' },
  undoing: { done: 'undone' },
  clearing: { done: 'planned', cancel: 'cancelling' },
  cancelling: { done: 'cancelled' },
  failing: { done: 'failed' },
  closed: {},
  undone: {},
  cancelled: {},
  failed: {},
}

/** The step that follows; `undefined` = the event has no place there. */
export function stepAfter(step: MoveStep, event: MoveEvent): MoveStep | undefined {
  return course[step][event]
}

export function isEnded(step: MoveStep): boolean {
  return Object.keys(course[step]).length === 0
}

/** Steps in which data goes from node to node: only so many at once take part in them on a node. */
export function isBusy(step: MoveStep): boolean {
  return step === 'copying' || step === 'catching_up' || step === 'verifying' || step === 'switching'
}

/** What may be wanted at a step, for messages. */
export function wishesAt(step: MoveStep): readonly MoveWish[] {
  return moveWishes.filter((wish) => course[step][wish] !== undefined)
}
