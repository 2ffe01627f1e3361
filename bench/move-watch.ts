/** Moves of a running `flapjack up`, over its operators' address: opened, followed closely, and timed step by step. */
import { type MoveStep, moveSteps } from '../src/topology/move-steps.ts'
import { pause } from './move-load.ts'

export interface Operator {
  readonly url: string
  readonly token: string
}

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field
type Answer = any

export interface Timeline {
  readonly id: string
  /** When each step was first seen, milliseconds of `performance.now()`, in order. */
  readonly steps: readonly { readonly step: string; readonly at: number }[]
  /** As the API showed it last. */
  readonly move: Answer
}

const lookMs = 10

export async function askOperator({ url, token }: Operator, method: string, path: string, body?: object) {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const answer: Answer = await response.json()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`)
  return answer
}

/** Waits until the move is at `step`, or further on its way there: a step may be over before anybody looks. */
export async function followMove(operator: Operator, id: string, step: MoveStep): Promise<Timeline> {
  const steps: { step: string; at: number }[] = []
  for (;;) {
    const move = await askOperator(operator, 'GET', `/internal/moves/${id}`)
    if (steps.at(-1)?.step !== move.step) steps.push({ step: move.step, at: performance.now() })
    if (move.step === step || isFurther(move.step, step)) return { id, steps, move }
    if (move.finishedAt !== null) throw new Error(`the move ended: ${JSON.stringify(move)}`)
    await pause(lookMs)
  }
}

const way: readonly MoveStep[] = moveSteps.slice(0, moveSteps.indexOf('undoing'))

function isFurther(step: MoveStep, wanted: MoveStep): boolean {
  return way.includes(wanted) && way.indexOf(step) > way.indexOf(wanted)
}

/** From the moment in which a step was seen until the next one was. */
export function lasted({ steps }: Timeline, step: string): { readonly from: number; readonly to: number } {
  const at = steps.findIndex((one) => one.step === step)
  const [from, to] = [steps[at]?.at, steps[at + 1]?.at]
  // A step may be over before anybody looks.
  return { from: from ?? Number.NaN, to: to ?? Number.NaN }
}
