/** The one canonical form of a path, computed before anything looks at it; whatever is not canonical is refused (P-08). */
import { ApiError } from '../api/errors.ts'

export const urlBytesMax = 8 * 1024

export interface RequestPath {
  /** Without `/v1`, without a trailing slash, `/` at least; escapes as sent. */
  readonly path: string
  /** Query string without its `?`, as sent. */
  readonly search: string
}

/** Nearly all paths: nothing to decode, no dots. */
const plainPath = /^(?:\/[A-Za-z0-9_-]+)+$/
const legalSegment = /^(?:[A-Za-z0-9_~!$&'()*+,=:@.-]|%[0-9A-Fa-f]{2})+$/
/** `%2f`, `%5c`, `%00`, `%2e`, and the control characters: a second decoding would change the route. */
const forbiddenEscape = /%(?:2f|5c|2e|3b|25|7f|[01][0-9a-f])/i

/** @throws ApiError `uri_too_long`, or `bad_request` for a path that two programs could read differently. */
export function canonicalPath(url: string): RequestPath {
  if (url.length > urlBytesMax) {
    throw new ApiError('uri_too_long', `The URL is longer than ${urlBytesMax} bytes.`)
  }
  const mark = url.indexOf('?')
  const sent = mark < 0 ? url : url.slice(0, mark)
  const search = mark < 0 ? '' : url.slice(mark + 1)
  const path = withoutVersion(sent.length > 1 && sent.endsWith('/') ? sent.slice(0, -1) : sent)
  if (!plainPath.test(path) && path !== '/') checkSegments(path)
  return { path, search }
}

function withoutVersion(path: string): string {
  if (!path.startsWith('/v1')) return path
  if (path.length === 3) return '/'
  return path.charCodeAt(3) === 0x2f ? path.slice(3) : path
}

function checkSegments(path: string): void {
  const [first, ...segments] = path.split('/')
  const isLegal =
    first === '' &&
    segments.every((segment) => legalSegment.test(segment) && segment !== '.' && segment !== '..') &&
    !forbiddenEscape.test(path)
  if (!isLegal || !isUtf8(path)) throw new ApiError('bad_request', 'The path of the request is not in canonical form.')
}

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}
