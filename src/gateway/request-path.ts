/** The one canonical form of a path, computed before anything looks at it; whatever is not canonical is refused (P-08). */
import { ApiError } from '../api/errors.ts'
import { readPath, urlBytesMaxDefault } from '../lib/http-path.ts'

export interface RequestPath {
  /** Without `/v1`, without a trailing slash, `/` at least; escapes as sent. */
  readonly path: string
  /** Query string without its `?`, as sent. */
  readonly search: string
}

/** @throws ApiError `uri_too_long`, or `bad_request` for a path that two programs could read differently. */
export function canonicalPath(url: string): RequestPath {
  const read = readPath(url)
  if (read.kind === 'refused') {
    throw read.reason === 'too-long'
      ? new ApiError('uri_too_long', `The URL is longer than ${urlBytesMaxDefault} bytes.`)
      : new ApiError('bad_request', 'The path of the request is not in canonical form.')
  }
  return read.path.startsWith('/v1') ? { path: withoutVersion(read.path), search: read.search } : read
}

function withoutVersion(path: string): string {
  if (path.length === 3) return '/'
  return path.charCodeAt(3) === 0x2f ? path.slice(3) : path
}
