/** Status and type of every error code (M-B2, M-B3, P-2). The `api` room's owner completes it. */
import type { ErrorType } from './errors.ts'

type Row = { readonly status: number; readonly type: ErrorType }

export const errorTable = {
  internal: { status: 500, type: 'internal' },
  bad_request: { status: 400, type: 'invalid_request' },
  index_not_found: { status: 404, type: 'invalid_request' },
  index_already_exists: { status: 409, type: 'invalid_request' },
} satisfies Record<string, Row>
