/**
 * Heads of plain HTTP/1.1 requests: those that leave no room for opinions. Everything else is `undefined` here and read by
 * `node:http`, which then sees every byte of it, so that this file never decides what a strange request means. What is
 * taken for plain is read as `node:http` reads it (`plain-listener.test.ts` compares them), with one framing only: a single
 * `Content-Length` in its one spelling, or no body.
 */

export interface RequestHead {
  readonly method: string
  /** Path and query string, as sent. */
  readonly url: string
  /** Names and values in turn, as sent. */
  readonly rawHeaders: readonly string[]
  /** 0 = there is no body. */
  readonly bodyBytes: number
  /** Where the body begins. */
  readonly end: number
}

/** Longer ones are left to `node:http`, which has the limits that clients are told of. */
const headBytesMax = 16 * 1024
const headerLinesMax = 64
/** V8 copies slices up to this length. */
const sharedLengthMax = 12
const headEnd = Buffer.from('\r\n\r\n')

/** Methods with nothing peculiar in their framing: no HEAD, no CONNECT. Browsers ask with OPTIONS before they search. */
const requestLine = /^(GET|POST|PUT|PATCH|DELETE|OPTIONS) (\/[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*) HTTP\/1\.1\r\n/

function tableOf(isIn: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (isIn(code) ? 1 : 0))
}
const isToken = tableOf((code) => /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(code)))
const isText = tableOf((code) => code === 0x09 || (code >= 0x20 && code <= 0x7e))

/**
 * What a header means to the framing. The names of `unusual` change how the message or the connection is read; a message
 * with one of them is not plain.
 */
type Meaning = 'length' | 'host' | 'connection' | 'unusual'
const meanings: ReadonlyMap<string, Meaning> = new Map([
  ['content-length', 'length'],
  ['host', 'host'],
  ['connection', 'connection'],
  ['transfer-encoding', 'unusual'],
  ['expect', 'unusual'],
  ['upgrade', 'unusual'],
  ['proxy-connection', 'unusual'],
  ['trailer', 'unusual'],
  ['te', 'unusual'],
  ['http2-settings', 'unusual'],
])
const lengthsOfNames = tableOf((length) => [...meanings.keys()].some((name) => name.length === length))
const plainLength = /^(?:0|[1-9]\d{0,6})$/

/**
 * @param bodyBytesMax  a longer body is not plain; below 10,000,000.
 * @returns undefined when the head is not whole, or is not plain.
 */
export function readRequestHead(bytes: Buffer, bodyBytesMax: number): RequestHead | undefined {
  const end = bytes.indexOf(headEnd)
  if (end < 0 || end > headBytesMax) return undefined
  const text = bytes.toString('latin1', 0, end + 2)
  const line = requestLine.exec(text)
  if (line === null) return undefined
  const method = line[1]!
  const isBodiless = method === 'GET' || method === 'OPTIONS'
  const rawHeaders: string[] = []
  let bodyBytes = -1
  let hostCount = 0
  let connectionCount = 0
  for (let at = line[0].length; at < text.length; ) {
    let colon = at
    while (isToken[text.charCodeAt(colon)] === 1) colon += 1
    if (colon === at || text.charCodeAt(colon) !== 0x3a) return undefined
    let from = colon + 1
    while (isBlank(text.charCodeAt(from))) from += 1
    let lineEnd = from
    while (isText[text.charCodeAt(lineEnd)] === 1) lineEnd += 1
    // A carriage return or a line feed of its own is not in `isText`, and ends up here.
    if (text.charCodeAt(lineEnd) !== 0x0d || text.charCodeAt(lineEnd + 1) !== 0x0a) return undefined
    let to = lineEnd
    while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1
    const name = text.slice(at, colon)
    // Of its own: a long slice would keep the whole head in memory for as long as somebody remembers, say, a credential.
    const value = to - from > sharedLengthMax ? bytes.toString('latin1', from, to) : text.slice(from, to)
    at = lineEnd + 2
    rawHeaders.push(name, value)
    if (rawHeaders.length > headerLinesMax * 2) return undefined
    if (lengthsOfNames[name.length] !== 1) continue
    switch (meanings.get(name) ?? meanings.get(name.toLowerCase())) {
      case undefined:
        break
      case 'length':
        if (bodyBytes >= 0 || isBodiless || !plainLength.test(value)) return undefined
        bodyBytes = Number(value)
        if (bodyBytes > bodyBytesMax) return undefined
        break
      case 'host':
        hostCount += 1
        break
      case 'connection':
        connectionCount += 1
        if (value !== 'keep-alive' && value.toLowerCase() !== 'keep-alive') return undefined
        break
      case 'unusual':
        return undefined
    }
  }
  if (hostCount !== 1 || connectionCount > 1) return undefined
  return { method, url: line[2]!, rawHeaders, bodyBytes: Math.max(0, bodyBytes), end: end + headEnd.length }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
