/**
 * JSON whose whole numbers keep every digit, also beyond 2⁵³: while they are values they are strings behind a mark that
 * nobody can know, and become numbers again when they are written.
 */
import { randomBytes } from 'node:crypto'
import type { Json } from './json.ts'

const mark = `#${randomBytes(12).toString('hex')}:`
const marked = new RegExp(`"${mark}(-?\\d+)"`, 'g')
const longRun = /\d{16}/
/** Strings, which stay as they are, and long whole numbers. */
const token = /"(?:[^"\\]|\\.)*"|(?<=[\s:,[])-?\d{16,}(?=[\s,\]}])/g

/** @param text  valid JSON. The value is for `exactText` to write, and for nobody else. */
export function parseExact(text: string): Json {
  if (!longRun.test(text)) return JSON.parse(text) as Json
  const safe = text.replace(token, (found) =>
    found.startsWith('"') || Number.isSafeInteger(Number(found)) ? found : `"${mark}${found}"`,
  )
  return JSON.parse(safe) as Json
}

/** JSON text of what `parseExact` gave, or of something with it inside. */
export function exactText(json: string): string {
  return json.includes(mark) ? json.replace(marked, '$1') : json
}

/** A string or number as people read it. */
export function plainText(value: string | number): string {
  const text = String(value)
  return text.startsWith(mark) ? text.slice(mark.length) : text
}
