/** Values as text: in strings, in messages, and as JSON. */
import { Character, FunctionPointer, integerMax, Range, sortedNames, type Value } from './values.ts'

/** As interpolation and `to_string` write it. */
export function displayText(value: Value): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'number') return floatText(value)
  if (value instanceof Character) return value.text
  return debugText(value)
}

/** As it stands inside arrays and maps that are written. `quotesCharacters`: as error messages do. */
export function debugText(value: Value, quotesCharacters = false): string {
  if (value === undefined) return '()'
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return debugFloatText(value)
  if (typeof value === 'string') return quoted(value)
  if (Array.isArray(value)) return `[${value.map((item) => debugText(item, quotesCharacters)).join(', ')}]`
  if (value instanceof Map)
    return `#{${sortedNames(value)
      .map((name) => `${quoted(name)}: ${debugText(value.get(name), quotesCharacters)}`)
      .join(', ')}}`
  if (value instanceof Character) return quotesCharacters ? `'${value.text}'` : value.text
  if (value instanceof Range) {
    const end = value.end === integerMax ? '' : String(value.end)
    return `${value.start}${value.isInclusive ? '..=' : '..'}${end}`
  }
  return value instanceof FunctionPointer ? functionText(value) : '<sequence>'
}

function functionText(pointer: FunctionPointer): string {
  return `Fn(${pointer.name})`
}

function quoted(text: string): string {
  let out = '"'
  for (const char of text) {
    if (char === '"' || char === '\\') out += `\\${char}`
    else if (char === '\n') out += '\\n'
    else if (char === '\r') out += '\\r'
    else if (char === '\t') out += '\\t'
    else if (char === '\0') out += '\\0'
    else if (/\p{Cc}|\p{Cf}|\p{Co}|\p{Cn}|\p{Zl}|\p{Zp}/u.test(char)) out += `\\u{${char.codePointAt(0)!.toString(16)}}`
    else out += char
  }
  return `${out}"`
}

const naturalMax = Math.fround(10_000_000_000_000)
const naturalMin = Math.fround(0.000_000_000_000_1)

function floatText(value: number): string {
  const size = Math.abs(value)
  if (size === 0) return '0.0'
  if (!Number.isFinite(value)) return specialFloat(value)
  if (size > naturalMax || size < naturalMin) return scientific(value)
  const text = plain(value)
  return Number.isInteger(value) ? `${text}.0` : text
}

function debugFloatText(value: number): string {
  if (!Number.isFinite(value)) return specialFloat(value)
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return scientific(value)
  const text = Object.is(value, -0) ? '-0' : plain(value)
  return Number.isInteger(value) ? `${text}.0` : text
}

const specialFloat = (value: number): string => (Number.isNaN(value) ? 'NaN' : value > 0 ? 'inf' : '-inf')

function scientific(value: number): string {
  return value.toExponential().replace('e+', 'e')
}

/** Without an exponent. */
export function plain(value: number): string {
  const text = String(value)
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text)
  if (match === null) return text
  const [, sign, first, rest = '', power] = match
  const digits = `${first}${rest}`
  const shift = Number(power)
  return shift < 0 ? `${sign}0.${'0'.repeat(-shift - 1)}${digits}` : `${sign}${digits.padEnd(shift + 1, '0')}`
}

/** A floating-point number as the reference writes it in documents. */
export function jsonFloat(value: number): string {
  if (!Number.isFinite(value)) return 'null'
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  const [mantissa = '', power = '0'] = Math.abs(value).toExponential().split('e')
  const digits = mantissa.replace('.', '')
  const sign = value < 0 ? '-' : ''
  const point = Number(power) + 1
  if (digits.length <= point && point <= 16) return `${sign}${digits.padEnd(point, '0')}.0`
  if (point > 0 && point <= 16) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
  if (point > -5 && point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  const tail = digits.length === 1 ? '' : `.${digits.slice(1)}`
  return `${sign}${digits[0]}${tail}e${point - 1}`
}
