/** The few request headers that mean something to us, read in one pass. All others are dropped (P-08). */
import { ApiError } from '../api/errors.ts'
import { headerNames } from '../api/names.ts'

export interface RequestHeaders {
  readonly host: string | undefined
  readonly origin: string | undefined
  readonly authorization: string | undefined
  readonly meiliApiKey: string | undefined
  readonly flapjackApiKey: string | undefined
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
  readonly contentLength: string | undefined
  readonly acceptEncoding: string | undefined
  readonly requestId: string | undefined
  readonly includeMetadata: string | undefined
  readonly session: string | undefined
  readonly minSettingsVersion: string | undefined
  readonly requestedHeaders: string | undefined
  readonly requestedMethod: string | undefined
}

type Known = { -readonly [K in keyof RequestHeaders]: RequestHeaders[K] }

const lowerCaseNames: readonly (readonly [string, keyof RequestHeaders])[] = [
  ['host', 'host'],
  ['origin', 'origin'],
  ['authorization', 'authorization'],
  ['x-meili-api-key', 'meiliApiKey'],
  ['x-flapjack-api-key', 'flapjackApiKey'],
  ['content-type', 'contentType'],
  ['content-encoding', 'contentEncoding'],
  ['content-length', 'contentLength'],
  ['accept-encoding', 'acceptEncoding'],
  ['x-request-id', 'requestId'],
  ['meili-include-metadata', 'includeMetadata'],
  [headerNames.session.toLowerCase(), 'session'],
  [headerNames.minSettingsVersion.toLowerCase(), 'minSettingsVersion'],
  ['access-control-request-headers', 'requestedHeaders'],
  ['access-control-request-method', 'requestedMethod'],
]

/** In the two spellings that nearly all clients use, so that few names are changed to be found: `x-request-id`, `X-Request-Id`. */
const names: ReadonlyMap<string, keyof RequestHeaders> = new Map(
  lowerCaseNames.flatMap(([name, field]) => [
    [name, field],
    [name.replace(/(?<![a-z])[a-z]/g, (letter) => letter.toUpperCase()), field],
  ]),
)

/** Lists by nature: several are one. */
const mayRepeat: ReadonlySet<keyof RequestHeaders> = new Set(['acceptEncoding', 'requestedHeaders'])

/**
 * @param raw  names and values in turn, as Node reads them.
 * @throws ApiError `bad_request` when one of them is sent twice: which of the two holds would be a matter of taste.
 */
export function readHeaders(raw: readonly string[]): RequestHeaders {
  const known: Known = {
    host: undefined,
    origin: undefined,
    authorization: undefined,
    meiliApiKey: undefined,
    flapjackApiKey: undefined,
    contentType: undefined,
    contentEncoding: undefined,
    contentLength: undefined,
    acceptEncoding: undefined,
    requestId: undefined,
    includeMetadata: undefined,
    session: undefined,
    minSettingsVersion: undefined,
    requestedHeaders: undefined,
    requestedMethod: undefined,
  }
  for (let at = 0; at < raw.length; at += 2) {
    const sent = raw[at]!
    // Of no length that one of them has, for example `Accept`-something.
    if ((sent.length < 12 || sent.length > 30) && sent.length !== 4 && sent.length !== 6) continue
    const name = names.get(sent) ?? names.get(sent.toLowerCase())
    if (name === undefined) continue
    if (known[name] !== undefined) {
      if (!mayRepeat.has(name)) throw new ApiError('bad_request', `The header \`${sent.toLowerCase()}\` is sent twice.`)
      known[name] = `${known[name]}, ${raw[at + 1]}`
    } else known[name] = raw[at + 1]!
  }
  return known
}

/** Whether `Meili-Include-Metadata` asks for metadata; every other value is no. */
export function asksMetadata({ includeMetadata }: RequestHeaders): boolean {
  return includeMetadata === 'true' || includeMetadata === '1'
}

const bearer = /^bearer(?: +|$)/i

/**
 * The credential of a request (P-04): `Authorization: Bearer`, else one of the two headers of their own.
 * @returns undefined when there is none.
 * @throws ApiError `ambiguous_credentials` when two say different things.
 */
export function credentialOf(headers: RequestHeaders): string | undefined {
  const { authorization, meiliApiKey, flapjackApiKey } = headers
  let credential: string | undefined
  if (authorization !== undefined) {
    if (authorization.startsWith('Bearer ')) credential = authorization.slice(7).trim()
    else if (bearer.test(authorization)) credential = authorization.replace(bearer, '').trim()
  }
  if (meiliApiKey === undefined && flapjackApiKey === undefined) return credential
  for (const other of [meiliApiKey, flapjackApiKey]) {
    if (other === undefined) continue
    if (credential !== undefined && credential !== other) {
      throw new ApiError('ambiguous_credentials', 'Two headers of the request carry different credentials.')
    }
    credential = other
  }
  return credential
}
