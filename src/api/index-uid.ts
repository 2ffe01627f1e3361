/** Names of indexes and patterns over them (M-A3, M-G1). */
import { type At, type Decoder, invalidValue, string } from './decode.ts'
import { invalidParameter, type ParameterDecoder } from './decode-query.ts'
import { ApiError } from './errors.ts'

/** Bytes of an index's name; the message text says 512, as in the reference. */
export const indexUidBytesMax = 400

/** @param bytesMax lower when the name gets a prefix (M-I1). */
export function isIndexUid(uid: string, bytesMax = indexUidBytesMax): boolean {
  return uid.length <= bytesMax && /^[A-Za-z0-9_-]+$/.test(uid)
}

/** An exact name, or the beginning of one and a star, or a star. */
export function isIndexPattern(pattern: string): boolean {
  const stem = pattern.endsWith('*') ? pattern.slice(0, -1) : pattern
  return pattern === '*' || isIndexUid(stem)
}

/** Message 20. */
export function wrongIndexUid(uid: string): string {
  return `\`${uid}\` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric characters, hyphens (-) and underscores (_), and can not be more than 512 bytes.`
}

/** Message 21. */
export function wrongIndexPattern(pattern: string): string {
  return `\`${pattern}\` is not a valid index uid pattern. Index uid patterns can be an integer or a string containing only alphanumeric characters, hyphens (-), underscores (_), and optionally end with a star (*).`
}

/** An index name in a path. @throws ApiError `invalid_index_uid`. */
export function checkIndexUid(uid: string, bytesMax = indexUidBytesMax): string {
  if (!isIndexUid(uid, bytesMax)) throw new ApiError('invalid_index_uid', wrongIndexUid(uid))
  return uid
}

export const indexUid: Decoder<string> = (value, at: At) => {
  const uid = string(value, at)
  if (!isIndexUid(uid)) throw invalidValue(wrongIndexUid(uid), at)
  return uid
}

export const indexPattern: Decoder<string> = (value, at: At) => {
  const pattern = string(value, at)
  if (!isIndexPattern(pattern)) throw invalidValue(wrongIndexPattern(pattern), at)
  return pattern
}

export const indexUidParameter: ParameterDecoder<string> = (text, at) => {
  if (!isIndexUid(text)) throw invalidParameter(wrongIndexUid(text), at)
  return text
}

export function matchesIndexPattern(pattern: string, uid: string): boolean {
  return pattern.endsWith('*') ? uid.startsWith(pattern.slice(0, -1)) : pattern === uid
}

export function matchesSomeIndexPattern(patterns: readonly string[], uid: string): boolean {
  return patterns.some((pattern) => matchesIndexPattern(pattern, uid))
}

/** The patterns that match what both lists match. */
export function intersectIndexPatterns(some: readonly string[], others: readonly string[]): readonly string[] {
  // A star stands at the end only, so that of two patterns that share a name one includes the other.
  const narrower = (a: string, b: string) => (matchesIndexPattern(a, b) ? b : matchesIndexPattern(b, a) ? a : undefined)
  return [...new Set(some.flatMap((a) => others.flatMap((b) => narrower(a, b) ?? [])))]
}

/** Message 16. */
export function indexNotFound(uid: string): ApiError {
  return new ApiError('index_not_found', `Index \`${uid}\` not found.`)
}
