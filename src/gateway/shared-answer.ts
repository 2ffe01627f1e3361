/** The answer of a read that several clients share, with what is each client's own: the ids in it. */
import type { AnswerHeaders } from './answer.ts'

export interface SharedAnswer {
  /** JSON. */
  readonly text: string
  /** Fresh ids in the text: of the request and of its queries. */
  readonly uids: readonly string[]
  readonly headers: AnswerHeaders
}

/** The text as another client gets it: ids are never told twice, as with a node (M-A1). */
export function withFreshUids({ text, uids }: SharedAnswer, newUid: () => string): string {
  return uids.reduce((changed, uid) => {
    // They stand near the end, and nowhere else.
    const at = changed.lastIndexOf(uid)
    return at < 0 ? changed : `${changed.slice(0, at)}${newUid()}${changed.slice(at + uid.length)}`
  }, text)
}
