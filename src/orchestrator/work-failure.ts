/** A failure of long work whose message the client may read; anything else is told without its text. */
export class WorkFailure extends Error {
  override readonly name = 'WorkFailure'
}
