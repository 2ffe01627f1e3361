/** Built-in functions of strings and characters. Positions count characters, negative ones from the end. */
import { removed } from './operators.ts'
import { type Native, noMatch, stringMax } from './runtime.ts'
import { tooLarge } from './script-error.ts'
import { displayText } from './value-text.ts'
import { Character, integerMax, Range, Sequence, type Value } from './values.ts'

/** The text of a string or a character. */
const piece = (value: Value): string | undefined =>
  typeof value === 'string' ? value : value instanceof Character ? value.text : undefined

const ofText =
  (compute: (text: string) => Value): Native =>
  (args, _place, runtime) => {
    const [text] = args
    if (typeof text !== 'string' || args.length !== 1) return noMatch
    runtime.charge(text.length)
    return compute(text)
  }

/** Replaces the string where it stands. */
const changing =
  (compute: (text: string) => string): Native =>
  (args, place, runtime) => {
    const [text] = args
    if (typeof text !== 'string' || args.length !== 1) return noMatch
    runtime.charge(text.length)
    place.write(compute(text))
    return undefined
  }

const ofTwo =
  (compute: (text: string, other: string) => Value): Native =>
  (args, _place, runtime) => {
    const [text, value] = args
    const other = piece(value)
    if (typeof text !== 'string' || other === undefined || args.length !== 2) return noMatch
    runtime.charge(text.length >> 3)
    return compute(text, other)
  }

/** Unicode's white space, which has a few characters that JavaScript's has not, and the other way round. */
const trimmed = (text: string): string => text.replace(/^[\p{White_Space}]+/u, '').replace(/[\p{White_Space}]+$/u, '')

const words = (text: string): string[] => text.split(/\p{White_Space}+/u).filter((word) => word !== '')

const small = (value: bigint): number =>
  Number(value > 0xffffffffn ? 0xffffffffn : value < -0xffffffffn ? -0xffffffffn : value)

/** Start and length that a call gave, as indexes into the characters. */
function span(args: readonly Value[], count: number): readonly [number, number] | undefined {
  const [, first, second] = args
  let start: bigint
  let length: bigint
  if (first instanceof Range) {
    start = first.start < 0n ? 0n : first.start
    const end = first.end < start ? start : first.end
    length = end - start + (first.isInclusive ? 1n : 0n)
    if (args.length !== 2) return undefined
  } else if (typeof first === 'bigint' && (args.length === 2 || typeof second === 'bigint')) {
    start = first
    length = typeof second === 'bigint' ? second : integerMax
  } else return undefined
  if (length <= 0n) return [0, 0]
  const from = start < 0n ? Math.max(0, count + small(start)) : small(start)
  return from >= count ? [0, 0] : [from, Math.min(count, from + small(length))]
}

const subString: Native = (args, _place, runtime) => {
  const [text] = args
  if (typeof text !== 'string') return noMatch
  runtime.charge(text.length)
  const chars = Array.from(text)
  const found = span(args, chars.length)
  return found === undefined ? noMatch : chars.slice(...found).join('')
}

const indexOf: Native = (args, _place, runtime) => {
  const [text, value, from = 0n] = args
  const other = piece(value)
  if (typeof text !== 'string' || other === undefined || typeof from !== 'bigint') return noMatch
  runtime.charge(text.length)
  if (text === '') return -1n
  const chars = Array.from(text)
  const start = from < 0n ? Math.max(0, chars.length + small(from)) : small(from)
  if (from > 0n && start >= chars.length) return -1n
  const offset = chars.slice(0, start).join('').length
  const found = text.indexOf(other, offset)
  return found < 0 ? -1n : BigInt(Array.from(text.slice(0, found)).length)
}

const replace: Native = (args, place, runtime) => {
  const [text, found, other] = args
  const [from, to] = [piece(found), piece(other)]
  if (typeof text !== 'string' || from === undefined || to === undefined || args.length !== 3) return noMatch
  if (text === '') return undefined
  // Between all characters when there is nothing to find.
  const parts = from === '' ? ['', ...Array.from(text), ''] : text.split(from)
  runtime.charge(text.length + parts.length * to.length)
  place.write(parts.join(to))
  return undefined
}

const split =
  (isReverse: boolean): Native =>
  (args, _place, runtime) => {
    const [text, by, limit] = args
    if (typeof text !== 'string') return noMatch
    runtime.charge(text.length * 2 + 1)
    if (args.length === 1) return isReverse ? noMatch : text === '' ? [''] : words(text)
    if (typeof by === 'bigint' && args.length === 2 && !isReverse) return halves(text, by)
    const delimiter = piece(by)
    if (delimiter === undefined || (args.length === 3 && typeof limit !== 'bigint')) return noMatch
    const most = typeof limit === 'bigint' ? limit : undefined
    if (text === '' || (delimiter !== '' && !text.includes(delimiter)) || (most !== undefined && most <= 1n))
      return [text]
    const parts = delimiter === '' ? ['', ...Array.from(text), ''] : text.split(delimiter)
    const count = most === undefined ? parts.length : Math.min(parts.length, small(most))
    if (!isReverse) return [...parts.slice(0, count - 1), parts.slice(count - 1).join(delimiter)]
    const kept = parts.length - count + 1
    return [...parts.slice(kept).reverse(), parts.slice(0, kept).join(delimiter)]
  }

function halves(text: string, index: bigint): Value[] {
  const chars = Array.from(text)
  const at = index <= 0n ? chars.length + small(index) : small(index)
  if (at < 0) return ['', text]
  return [chars.slice(0, at).join(''), chars.slice(at).join('')]
}

const pad: Native = (args, place, runtime) => {
  const [text, length, value] = args
  const padding = piece(value)
  if (typeof text !== 'string' || typeof length !== 'bigint' || padding === undefined) return noMatch
  const count = Array.from(text).length
  const missing = small(length) - count
  if (length <= 0n || missing <= 0 || padding === '') return undefined
  if (missing > stringMax) throw tooLarge('Length of string')
  runtime.charge(missing + count)
  const unit = Array.from(padding)
  const whole = padding.repeat(Math.floor(missing / unit.length))
  place.write(text + whole + unit.slice(0, missing % unit.length).join(''))
  return undefined
}

/** A character of more than one letter in the other case stays. */
function inCase(char: Character, convert: (text: string) => string): Character {
  const text = convert(char.text)
  return Array.from(text).length === 1 ? new Character(text) : char
}

const upper = (text: string): string => text.toUpperCase()
const lower = (text: string): string => text.toLowerCase()

const cased =
  (convert: (text: string) => string, isInPlace: boolean): Native =>
  (args, place, runtime) => {
    const [value] = args
    if (args.length !== 1 || piece(value) === undefined) return noMatch
    runtime.charge(piece(value)!.length)
    const next = value instanceof Character ? inCase(value, convert) : convert(String(value))
    if (!isInPlace) return next
    place.write(next)
    return undefined
  }

const utf8 = (text: string): bigint => BigInt(Buffer.byteLength(text))

export const stringFunctions: Readonly<Record<string, Native>> = {
  len: ofText((text) => BigInt(Array.from(text).length)),
  bytes: ofText(utf8),
  is_empty: ofText((text) => text === ''),
  to_upper: cased(upper, false),
  to_lower: cased(lower, false),
  make_upper: cased(upper, true),
  make_lower: cased(lower, true),
  trim: changing(trimmed),
  clear: changing(() => ''),
  contains: ofTwo((text, other) => text.includes(other)),
  starts_with: ofTwo((text, other) => text.startsWith(other)),
  ends_with: ofTwo((text, other) => text.endsWith(other)),
  index_of: indexOf,
  sub_string: subString,
  crop: (args, place, runtime) => {
    const cropped = subString(args, place, runtime)
    if (cropped === noMatch) return noMatch
    place.write(cropped)
    return undefined
  },
  replace,
  split: split(false),
  split_rev: split(true),
  pad,
  chars: (args, _place, runtime) => {
    const [text] = args
    if (typeof text !== 'string') return noMatch
    runtime.charge(text.length)
    const chars = Array.from(text, (char) => new Character(char))
    const found = args.length === 1 ? ([0, chars.length] as const) : span(args, chars.length)
    return found === undefined ? noMatch : new Sequence(chars.slice(...found))
  },
  to_chars: ofText((text) => Array.from(text, (char) => new Character(char))),
  append: (args, place, runtime) => {
    const [text, item] = args
    if (typeof text !== 'string' || args.length !== 2) return noMatch
    const next = text + displayText(item)
    runtime.charge(next.length)
    place.write(next)
    return undefined
  },
  remove: (args, place, runtime) => {
    const [text, value] = args
    const part = piece(value)
    if (typeof text !== 'string' || part === undefined || args.length !== 2) return noMatch
    runtime.charge(text.length)
    place.write(removed(text, part))
    return undefined
  },
  truncate: (args, place, runtime) => {
    const [text, length] = args
    if (typeof text !== 'string' || typeof length !== 'bigint') return noMatch
    runtime.charge(text.length)
    place.write(
      Array.from(text)
        .slice(0, Math.max(0, small(length)))
        .join(''),
    )
    return undefined
  },
  pop: (args, place, runtime) => {
    const [text, length] = args
    if (typeof text !== 'string' || (args.length > 1 && typeof length !== 'bigint')) return noMatch
    runtime.charge(text.length)
    const chars = Array.from(text)
    if (typeof length !== 'bigint') {
      const last = chars.pop()
      place.write(chars.join(''))
      return last === undefined ? undefined : new Character(last)
    }
    if (length <= 0n) return ''
    const kept = Math.max(0, chars.length - small(length))
    place.write(chars.slice(0, kept).join(''))
    return chars.slice(kept).join('')
  },
  get: (args, _place, runtime) => {
    const [text, index] = args
    if (typeof text !== 'string' || typeof index !== 'bigint') return noMatch
    runtime.charge(text.length)
    const char = Array.from(text).at(small(index))
    return char === undefined ? undefined : new Character(char)
  },
  set: (args, place, runtime) => {
    const [text, index, value] = args
    if (typeof text !== 'string' || typeof index !== 'bigint' || !(value instanceof Character)) return noMatch
    runtime.charge(text.length)
    const chars = Array.from(text)
    const at = small(index) < 0 ? chars.length + small(index) : small(index)
    if (at >= 0 && at < chars.length) chars[at] = value.text
    place.write(chars.join(''))
    return undefined
  },
}
