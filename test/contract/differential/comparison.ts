/** When two answers are the same: everything but times and request ids, numbers to a millionth, keys in the same order. */
import { isObject, type Json } from '../../../src/lib/json.ts'

export interface Answer {
  readonly status: number
  readonly body: Json
}

const toleranceMax = 1e-6
/** What differs between two runs of one server. */
const volatile: ReadonlySet<string> = new Set(['processingTimeMs', 'requestUid'])

/** The answer without what differs between two runs. */
export function steadyAnswer({ status, body }: Answer): Answer {
  return { status, body: withoutVolatile(body, 0) }
}

function withoutVolatile(value: Json, depth: number): Json {
  if (Array.isArray(value)) return depth < 3 ? value.map((item: Json) => withoutVolatile(item, depth + 1)) : value
  if (!isObject(value) || depth > 2) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !volatile.has(key))
      .map(([key, item]) => [key, key === 'results' ? withoutVolatile(item, depth + 1) : item]),
  )
}

/** Where the two differ first, as a path; undefined when they are the same. */
export function findDifference(expected: Answer, actual: Answer): string | undefined {
  if (expected.status !== actual.status) return `status ${expected.status} ≠ ${actual.status}`
  return differenceOf(expected.body, actual.body, '')
}

function differenceOf(expected: Json, actual: Json, path: string): string | undefined {
  if (typeof expected === 'number' && typeof actual === 'number') {
    const isClose = Math.abs(expected - actual) <= toleranceMax * Math.max(1, Math.abs(expected))
    return isClose ? undefined : `${path}: ${expected} ≠ ${actual}`
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    for (let at = 0; at < Math.min(expected.length, actual.length); at += 1) {
      const found = differenceOf(expected[at]!, actual[at]!, `${path}[${at}]`)
      if (found !== undefined) return found
    }
    return expected.length === actual.length ? undefined : `${path}: ${expected.length} items ≠ ${actual.length}`
  }
  if (isObject(expected) && isObject(actual)) {
    const keys = Object.keys(expected)
    const others = Object.keys(actual)
    for (const key of keys) {
      const value = actual[key]
      if (value === undefined) return `${path}.${key}: missing`
      const found = differenceOf(expected[key]!, value, `${path}.${key}`)
      if (found !== undefined) return found
    }
    if (keys.join('\n') !== others.join('\n')) return `${path}: keys ${keys.join()} ≠ ${others.join()}`
    return undefined
  }
  return expected === actual ? undefined : `${path}: ${JSON.stringify(expected)} ≠ ${JSON.stringify(actual)}`
}
