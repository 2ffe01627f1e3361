/** Index patterns of keys and tenant tokens: an exact uid, or a prefix that ends with `*`. */
import { isIndexUid } from '../topology/physical-name.ts'

export function matchesPattern(pattern: string, uid: string): boolean {
  return pattern.endsWith('*') ? uid.startsWith(pattern.slice(0, -1)) : pattern === uid
}

export function isIndexPattern(text: string): boolean {
  return text === '*' || isIndexUid(text.endsWith('*') ? text.slice(0, -1) : text)
}

/** A list in the reference's debug form: `["a", "b"]` (messages 3 and 4). */
export function debugList(texts: readonly string[]): string {
  return `[${texts.map((text) => JSON.stringify(text)).join(', ')}]`
}
