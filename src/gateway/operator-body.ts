/** What operators send, read field by field. Each throws ApiError `miroir_invalid_request`, which says what would be right. */
import { ApiError } from '../api/errors.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'

/** @param body  as read; `undefined` = it is not JSON, or too long. */
export function fieldsOf(body: Json | undefined, known: readonly string[]): JsonObject {
  if (!isObject(body)) throw wrong('The body is to be a JSON object of at most 64 KiB.')
  const unknown = Object.keys(body).find((name) => !known.includes(name))
  if (unknown !== undefined) throw wrong(`There is no field \`${unknown}\`: ${known.join(', ')} are known.`)
  return body
}

export function textAt(body: JsonObject, name: string): string | undefined {
  const value = body[name] ?? undefined
  if (value === undefined || (typeof value === 'string' && value !== '' && value.length <= 1_000)) return value
  throw wrong(`\`${name}\` is a text of at most 1000 characters.`)
}

export function wholeAt(body: JsonObject, name: string, min: number, max: number): number | undefined {
  const value = body[name] ?? undefined
  const isWhole = typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
  if (value === undefined || isWhole) return value
  throw wrong(`\`${name}\` is a whole number from ${min} to ${max}.`)
}

/** A name within a path. */
export function decodedName(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw wrong(`\`${text}\` cannot be read.`)
  }
}

export function wrong(message: string): ApiError {
  return new ApiError('miroir_invalid_request', message)
}
