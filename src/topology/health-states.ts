/**
 * How a node is, as a total machine over what probes and lanes see of it (P-38). Pure.
 *
 * `starting → up → suspect → down → lost`, and `wiped` while a new disk is filled from the journal. Each way back takes
 * several good probes in a row, so that a node that comes and goes does not look well in between.
 */

export const healthStates = ['starting', 'up', 'suspect', 'down', 'lost', 'wiped'] as const

export type HealthState = (typeof healthStates)[number]

export interface Health {
  readonly state: HealthState
  /** When it came to be so, ms. */
  readonly since: number
  /** Bad probes in a row. */
  readonly failures: number
  /** Good ones in a row. */
  readonly successes: number
}

/** One look at a node. */
export interface Sight {
  /** `skewed`: it answers, and its clock is far from ours. */
  readonly probe: 'good' | 'bad' | 'skewed'
  /** What its lanes say: a worker speaks with it, or has no answer, or none has its lease. */
  readonly lanes: 'speak' | 'silent' | 'none'
  /** Its disk is new, and what was on the old one is being built again. */
  readonly isFilling: boolean
}

export interface HealthRules {
  /** Bad probes in a row that make it suspect, down; good ones that make it up. */
  readonly suspectAfter: number
  readonly downAfter: number
  readonly upAfter: number
  /** So long is it down before it counts as lost, ms. */
  readonly lostAfterMs: number
  /** So long may it take to start, ms. */
  readonly startMsMax: number
}

/** P-38. */
export const healthRules: HealthRules = {
  suspectAfter: 2,
  downAfter: 5,
  upAfter: 2,
  lostAfterMs: 300_000,
  startMsMax: 120_000,
}

/** What a look comes to. */
type Verdict =
  | 'well'
  | 'filling'
  /** Something is wrong that may pass. */
  | 'shaky'
  | 'away'
  /** Away for so long that it is not waited for. */
  | 'gone'
  /** Not enough was seen to think otherwise. */
  | 'unclear'

export const verdicts: readonly Verdict[] = ['well', 'filling', 'shaky', 'away', 'gone', 'unclear']

const course: Readonly<Record<HealthState, Readonly<Record<Verdict, HealthState>>>> = {
  starting: same('starting', { well: 'up', filling: 'wiped', away: 'down', gone: 'down' }),
  up: same('up', { filling: 'wiped', shaky: 'suspect', away: 'down', gone: 'down' }),
  suspect: same('suspect', { well: 'up', filling: 'wiped', away: 'down', gone: 'down' }),
  down: same('down', { well: 'up', filling: 'wiped', gone: 'lost' }),
  lost: same('lost', { well: 'up', filling: 'wiped' }),
  wiped: same('wiped', { well: 'up', shaky: 'suspect', away: 'down', gone: 'down' }),
}

/** A state that stays as it is but for some verdicts. */
function same(state: HealthState, others: Partial<Record<Verdict, HealthState>>): Record<Verdict, HealthState> {
  return { well: state, filling: state, shaky: state, away: state, gone: state, unclear: state, ...others }
}

export function stateAfter(state: HealthState, verdict: Verdict): HealthState {
  return course[state][verdict]
}

/** Of a node that was just made, or is being started again. */
export function freshHealth(now: number): Health {
  return { state: 'starting', since: now, failures: 0, successes: 0 }
}

/** Its health after one more look. */
export function observe(before: Health, sight: Sight, rules: HealthRules, now: number): Health {
  const failures = sight.probe === 'bad' ? before.failures + 1 : 0
  const successes = sight.probe === 'good' ? before.successes + 1 : 0
  const state = stateAfter(before.state, verdictOf(before, sight, { failures, successes }, rules, now))
  return { state, since: state === before.state ? before.since : now, failures, successes }
}

function verdictOf(
  { state, since }: Health,
  { probe, lanes, isFilling }: Sight,
  { failures, successes }: Pick<Health, 'failures' | 'successes'>,
  rules: HealthRules,
  now: number,
): Verdict {
  if (successes >= rules.upAfter && lanes !== 'silent') return isFilling ? 'filling' : 'well'
  if (probe === 'skewed') return 'shaky'
  if (probe === 'good') return 'unclear'
  if (state === 'starting') return now - since >= rules.startMsMax ? 'away' : 'unclear'
  // A worker that speaks with it knows better: it is our own way there that is broken.
  if (failures >= rules.downAfter && lanes !== 'speak') {
    return state === 'down' && now - since >= rules.lostAfterMs ? 'gone' : 'away'
  }
  return failures >= rules.suspectAfter || lanes === 'silent' ? 'shaky' : 'unclear'
}

/** Nothing can be asked of it for now. */
export function isAway(state: HealthState): boolean {
  return state === 'down' || state === 'lost'
}
