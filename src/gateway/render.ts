/** The one place that writes answers of our own and turns errors into answers and log fields. */
import { ApiError, type ErrorBody, errorBody } from '../api/errors.ts'
import { SealBroken } from '../lib/seal.ts'
import { StoreUnavailable } from '../store/ports.ts'
import type { Answer } from './answer.ts'
import { commonHeaders } from './common-headers.ts'
import type { Exchange } from './exchange.ts'
import { EngineError } from './relay.ts'
import { ClientGone } from './request-body.ts'

/** Seconds after which a client may try again, by code; every 503 and 429 carries one (P-2). */
const retryAfter: Readonly<Partial<Record<string, string>>> = {
  too_many_search_requests: '10',
  task_registry_unavailable: '5',
  route_unavailable: '5',
  miroir_no_quorum: '5',
  index_moving: '1',
}
const retryAfterDefault = '5'

export async function renderAnswer(exchange: Exchange, answer: Answer): Promise<void> {
  const { response } = exchange
  const headers = commonHeaders(exchange)
  for (const [name, value] of Object.entries(answer.headers ?? {})) headers.push(name, value)
  switch (answer.kind) {
    case 'json': {
      const text = JSON.stringify(answer.body)
      headers.push('content-type', 'application/json', 'content-length', String(Buffer.byteLength(text)))
      response.writeHead(answer.status, headers)
      response.end(text)
      return
    }
    case 'empty':
      if (answer.status !== 204) headers.push('content-length', '0')
      response.writeHead(answer.status, headers)
      response.end()
      return
    case 'bytes':
      headers.push('content-type', answer.contentType, 'content-length', String(answer.body.length))
      response.writeHead(answer.status, headers)
      response.end(answer.body)
      return
    case 'stream': {
      headers.push('content-type', answer.contentType)
      response.writeHead(answer.status, headers)
      let goOn = () => {}
      response.once('close', () => goOn())
      for await (const chunk of answer.body) {
        if (response.destroyed) return
        if (response.write(chunk)) continue
        await new Promise<void>((resolve) => {
          goOn = resolve
          response.once('drain', resolve)
        })
      }
      response.end()
    }
  }
}

export interface RenderedError {
  readonly status: number
  readonly body: ErrorBody
  readonly headers: Readonly<Record<string, string>>
}

/** A secret of the project does not open. */
export const projectUnreadable = 'This project cannot be served at the moment.'

/** What a client is told of an error. Anything unexpected is `internal`, with the request id only (P-15). */
export function toRenderedError(error: unknown, requestId: string): RenderedError {
  if (error instanceof ApiError) {
    return { status: error.status, body: { ...error.body, message: legible(error.message) }, headers: error.headers }
  }
  if (error instanceof EngineError) {
    const headers = error.retryAfter === undefined ? {} : { 'retry-after': error.retryAfter }
    return { status: error.status, body: error.body, headers }
  }
  if (error instanceof StoreUnavailable) {
    return {
      status: 503,
      body: errorBody('route_unavailable', 'The service cannot do this at the moment. Nothing was changed; try again.'),
      headers: {},
    }
  }
  if (error instanceof SealBroken) {
    // Which secret it is stands in the log of the store (P-26).
    return { status: 503, body: errorBody('route_unavailable', projectUnreadable), headers: {} }
  }
  return {
    status: 500,
    body: errorBody('internal', `An internal error has occurred. \`request ${requestId}\``),
    headers: {},
  }
}

/** Control characters of echoed input, line breaks apart, are escaped (P-15). */
function legible(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return message.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (character) => JSON.stringify(character).slice(1, -1))
}

/** Answers an error, or ends the connection when the answer has begun. */
export function renderError(exchange: Exchange, error: unknown): void {
  const { response, parts } = exchange
  if (error instanceof ClientGone) {
    exchange.outcome = 'client-gone'
    response.destroy()
    return
  }
  const { status, body, headers } = toRenderedError(error, exchange.requestId)
  exchange.outcome = body.code
  if (status >= 500) {
    const cause = error instanceof ApiError ? (error.cause ?? error) : error
    const fields = { requestId: exchange.requestId, code: body.code, err: cause }
    if (isForeseen(error)) parts.log.warn(fields, 'request failed')
    else parts.log.error(fields, 'request failed: our mistake')
  }
  if (response.headersSent) {
    // Half an answer must not look like a whole one.
    response.destroy()
    return
  }
  renderErrorBody(exchange, status, body, headers)
}

function renderErrorBody(
  exchange: Exchange,
  status: number,
  body: ErrorBody,
  headers: Readonly<Record<string, string>>,
): void {
  const { response } = exchange
  const sent = commonHeaders(exchange)
  for (const [name, value] of Object.entries(headers)) sent.push(name.toLowerCase(), value)
  if ((status === 503 || status === 429) && !sent.includes('retry-after')) {
    sent.push('retry-after', retryAfter[body.code] ?? retryAfterDefault)
  }
  const text = JSON.stringify(body)
  sent.push('content-type', 'application/json', 'content-length', String(Buffer.byteLength(text)))
  response.writeHead(status, sent)
  response.end(text)
}

function isForeseen(error: unknown): boolean {
  return (
    error instanceof ApiError ||
    error instanceof EngineError ||
    error instanceof StoreUnavailable ||
    error instanceof SealBroken
  )
}
