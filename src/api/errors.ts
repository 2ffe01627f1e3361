/**
 * Every error a client can see: one row per code. Messages are made where the error is thrown; status, type and link
 * come from here, so that they cannot differ between two places.
 */
import { errorTable } from './error-table.ts'

export type ErrorType = 'invalid_request' | 'auth' | 'internal' | 'system'
export type ErrorCode = keyof typeof errorTable

/** The error object of M-B1, exactly these four strings. */
export interface ErrorBody {
  readonly message: string
  readonly code: string
  readonly type: ErrorType
  readonly link: string
}

/** The caller is wrong, or must be told. Rendered and logged in one place. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ErrorCode
  /** Extra response headers, for example `Retry-After`. */
  readonly headers: Readonly<Record<string, string>>
  readonly #status: number | undefined

  /** `status`: of the answer, where it is not that of the table (a missing index within a multi-search). */
  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; headers?: Readonly<Record<string, string>>; status?: number } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.headers = options.headers ?? {}
    this.#status = options.status
  }

  get status(): number {
    return this.#status ?? errorTable[this.code].status
  }

  get body(): ErrorBody {
    return errorBody(this.code, this.message)
  }
}

export function errorBody(code: ErrorCode, message: string): ErrorBody {
  return { message, code, type: errorTable[code].type, link: `https://docs.meilisearch.com/errors#${code}` }
}
