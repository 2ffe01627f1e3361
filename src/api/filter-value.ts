/** The `filter` of a request before it is parsed: a string, or arrays of strings. */
import type { Json } from '../lib/json.ts'
import type { Decoder } from './decode.ts'
import type { ParameterDecoder } from './decode-query.ts'
import { parseJsonText } from './json-text.ts'

/** Takes the value as it is; its shape is judged by `parseFilter`, as in the reference. */
export const filterJson: Decoder<Json> = (value) => value

/** In a query string: parsed as JSON when it is valid JSON, a plain filter otherwise. A blank one is none. */
export const filterParameter: ParameterDecoder<Json> = (text) => {
  if (text.trim() === '') return null
  try {
    return parseJsonText(text)
  } catch {
    return text
  }
}
