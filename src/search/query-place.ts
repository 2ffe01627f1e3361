/** Refusals of one query among several: its place stands before the message (M-B3). */
import { ApiError } from '../api/errors.ts'
import { insideQuery } from '../api/multi-search-query.ts'
import { RefusedByNode } from './leg.ts'

export type Refusal = ApiError | RefusedByNode

export const isRefusalError = (error: unknown): error is Refusal =>
  error instanceof ApiError || error instanceof RefusedByNode

export function inside(position: number, error: Refusal): Refusal {
  const message = `${insideQuery(position)}${error instanceof ApiError ? error.message : error.body.message}`
  if (error instanceof ApiError) return new ApiError(error.code, message, { cause: error, status: error.status })
  return new RefusedByNode(error.status, { ...error.body, message })
}

/** The place of the query that was refused. */
export function placeOf(refusal: Refusal): number | undefined {
  const message = refusal instanceof ApiError ? refusal.message : refusal.body.message
  const [, at] = /^Inside `\.queries\[(\d+)\]`/.exec(message) ?? []
  return at === undefined ? undefined : Number(at)
}

/** Runs `run`; its refusal gets the query's place. */
export function insideCall<T>(position: number, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw isRefusalError(error) ? inside(position, error) : error
  }
}

/** The answers of several queries that are asked at once. @throws the refusal of the first that is refused. */
export async function insideEach<T>(
  asked: readonly { readonly position: number; readonly answer: Promise<T> }[],
): Promise<readonly T[]> {
  const outcomes = await Promise.all(
    asked.map(async ({ position, answer }) => {
      try {
        return { answer: await answer }
      } catch (error) {
        if (isRefusalError(error)) return { refusal: inside(position, error) }
        throw error
      }
    }),
  )
  return outcomes.map((outcome) => {
    if (outcome.refusal !== undefined) throw outcome.refusal
    return outcome.answer
  })
}

/** The refusal of a request that held only some of the queries, at the places that they have in the whole. */
export function replaced(refusal: RefusedByNode, positions: readonly number[]): RefusedByNode {
  const { body, status } = refusal
  const message = body.message.replace(/^(Inside `\.queries\[)(\d+)\]/, (text, start: string, at: string) => {
    const position = positions[Number(at)]
    return position === undefined ? text : `${start}${position}]`
  })
  return new RefusedByNode(status, { ...body, message })
}
