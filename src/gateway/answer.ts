/** What a handler answers, as data. `render.ts` writes it. */

export type AnswerHeaders = Readonly<Record<string, string>>

export type Answer =
  | { readonly kind: 'json'; readonly status: number; readonly body: unknown; readonly headers?: AnswerHeaders }
  | { readonly kind: 'empty'; readonly status: number; readonly headers?: AnswerHeaders }
  | {
      readonly kind: 'bytes'
      readonly status: number
      readonly contentType: string
      readonly body: Uint8Array
      readonly headers?: AnswerHeaders
    }
  | {
      readonly kind: 'stream'
      readonly status: number
      readonly contentType: string
      readonly body: AsyncIterable<Uint8Array>
      readonly headers?: AnswerHeaders
    }

export function json(status: number, body: unknown, headers: AnswerHeaders = {}): Answer {
  return { kind: 'json', status, body, headers }
}

export function empty(status: number): Answer {
  return { kind: 'empty', status }
}
