/** Routes below one path of the operators' listener: what they are asked, and how they refuse. */
import { ApiError } from '../api/errors.ts'
import type { Json } from '../lib/json.ts'
import { StoreUnavailable } from '../store/ports.ts'
import type { AdminReply } from './gateway-admin.ts'

export interface OperatorRequest {
  readonly method: string
  readonly url: URL
  /** Reads the body; `undefined` = it is not JSON, or too long. */
  readonly body: () => Promise<Json | undefined>
}

/**
 * Of a request whose token was checked; `undefined` = it is about something else.
 *
 * @param base   such as `/internal/moves`. @param reply  is given what follows it, cut at slashes: `['']` for the path itself.
 */
export async function answerBelow(
  base: string,
  request: OperatorRequest,
  reply: (parts: readonly string[]) => Promise<AdminReply>,
): Promise<AdminReply | undefined> {
  const { pathname } = request.url
  if (pathname !== base && !pathname.startsWith(`${base}/`)) return undefined
  try {
    return await reply(pathname.slice(base.length + 1).split('/'))
  } catch (error) {
    if (error instanceof StoreUnavailable) return refusal(new ApiError('miroir_not_ready', 'The database is away.'))
    if (error instanceof ApiError) return refusal(error)
    throw error
  }
}

/** There is no such route. */
export function unknownRoute({ method, url }: OperatorRequest): ApiError {
  return new ApiError('miroir_not_found', `There is no \`${method} ${url.pathname}\`.`)
}

function refusal(error: ApiError): AdminReply {
  return { status: error.status, body: { ...error.body } }
}
