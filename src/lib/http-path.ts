/** The one canonical form of a request's path, computed before anything looks at it; whatever is not canonical is refused. */

export type HttpPath =
  | {
      readonly kind: 'path'
      /** Begins with `/`, does not end with one (but for the root), escapes as sent. */
      readonly path: string
      /** Query string without its `?`, as sent. */
      readonly search: string
    }
  | { readonly kind: 'refused'; readonly reason: 'too-long' | 'not-canonical' }

export const urlBytesMaxDefault = 8 * 1024

/** Nearly all paths: nothing to decode, no dots. */
const plainPath = /^(?:\/[A-Za-z0-9_-]+)+$/
const legalSegment = /^(?:[A-Za-z0-9_~!$&'()*+,=:@.-]|%[0-9A-Fa-f]{2})+$/
/** `/`, `\`, `.`, `;`, `%` and control characters: decoding them would change the route for the next reader. */
const forbiddenEscape = /%(?:2f|5c|2e|3b|25|7f|[01][0-9a-f])/i

export function readPath(url: string, urlBytesMax = urlBytesMaxDefault): HttpPath {
  if (url.length > urlBytesMax) return { kind: 'refused', reason: 'too-long' }
  const mark = url.indexOf('?')
  const sent = mark < 0 ? url : url.slice(0, mark)
  const search = mark < 0 ? '' : url.slice(mark + 1)
  const path = sent.length > 1 && sent.endsWith('/') ? sent.slice(0, -1) : sent
  if (plainPath.test(path) || path === '/' || isCanonical(path)) return { kind: 'path', path, search }
  return { kind: 'refused', reason: 'not-canonical' }
}

function isCanonical(path: string): boolean {
  const [first, ...segments] = path.split('/')
  return (
    first === '' &&
    segments.length > 0 &&
    segments.every((segment) => legalSegment.test(segment) && segment !== '.' && segment !== '..') &&
    !forbiddenEscape.test(path) &&
    isUtf8(path)
  )
}

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}
