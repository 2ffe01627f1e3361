/** Built-in functions of numbers, characters, ranges and every value. */
import { type Native, noMatch } from './runtime.ts'
import { arithmeticError } from './script-error.ts'
import { debugText, displayText, plain } from './value-text.ts'
import {
  Character,
  copyOf,
  FunctionPointer,
  integerMax,
  integerMin,
  isInteger64,
  Range,
  Sequence,
  type Value,
} from './values.ts'

const isNumber = (value: Value): value is bigint | number => typeof value === 'bigint' || typeof value === 'number'

/** A function of one floating-point number. */
const ofFloat =
  (compute: (x: number) => Value): Native =>
  ([x], ...rest) =>
    typeof x === 'number' && rest.length === 2 ? compute(x) : noMatch

const one =
  (native: (value: Value) => Value | typeof noMatch): Native =>
  (args) =>
    args.length === 1 ? native(args[0]) : noMatch

/** Halves go away from zero. */
const round = (x: number): number => Math.sign(x) * Math.round(Math.abs(x))

function integerOf(text: string, radix: bigint): bigint {
  if (radix < 2n || radix > 36n) throw arithmeticError(`Invalid radix: '${radix}'`)
  const fail = (why: string) => arithmeticError(`Error parsing integer number '${text}': ${why}`)
  const trimmed = text.trim()
  if (trimmed === '') throw fail('cannot parse integer from empty string')
  const digits = trimmed.replace(/^[+-]/, '')
  const isValid =
    digits !== '' && [...digits].every((digit) => /[0-9a-zA-Z]/.test(digit) && Number.parseInt(digit, 36) < radix)
  if (!isValid) throw fail('invalid digit found in string')
  const isNegative = trimmed.startsWith('-')
  let value = 0n
  for (const digit of digits) {
    value = value * radix + BigInt(Number.parseInt(digit, 36))
    if (value > -integerMin) throw fail(`number too ${isNegative ? 'small' : 'large'} to fit in target type`)
  }
  const signed = isNegative ? -value : value
  if (!isInteger64(signed)) throw fail('number too large to fit in target type')
  return signed
}

function floatOf(text: string): number {
  const trimmed = text.trim()
  const fail = (why: string) => arithmeticError(`Error parsing floating-point number '${text}': ${why}`)
  if (trimmed === '') throw fail('cannot parse float from empty string')
  if (/^[+-]?(inf|infinity)$/i.test(trimmed)) return trimmed.startsWith('-') ? -Infinity : Infinity
  if (/^[+-]?nan$/i.test(trimmed)) return Number.NaN
  if (!/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/.test(trimmed)) throw fail('invalid float literal')
  return Number(trimmed)
}

const extreme =
  (takesFirst: (x: number | bigint, y: number | bigint) => boolean): Native =>
  (args, _place, runtime) => {
    const [x, y] = args
    if (args.length !== 2) return noMatch
    if (typeof x === 'bigint' && typeof y === 'bigint') return takesFirst(x, y) ? x : y
    if (isNumber(x) && isNumber(y)) return takesFirst(Number(x), Number(y)) ? Number(x) : Number(y)
    if (typeof x === 'string' && typeof y === 'string') {
      runtime.charge(1)
      return takesFirst(x < y ? -1 : x > y ? 1 : 0, 0) ? x : y
    }
    if (x instanceof Character && y instanceof Character)
      return takesFirst(x.text.codePointAt(0)!, y.text.codePointAt(0)!) ? x : y
    return noMatch
  }

function inRadix(value: Value, radix: number): Value | typeof noMatch {
  return typeof value === 'bigint' ? BigInt.asUintN(64, value).toString(radix) : noMatch
}

function stepped(start: Value, end: Value, step: Value): Value | typeof noMatch {
  const list: Value[] = []
  if (typeof start === 'bigint' && typeof end === 'bigint' && typeof step === 'bigint') {
    if (step === 0n) throw arithmeticError('step value cannot be zero')
    for (let at = start; step > 0n ? at < end : at > end; at += step) {
      list.push(at)
      if (list.length > listMax) break
    }
    return new Sequence(list)
  }
  if (typeof start === 'number' && typeof end === 'number' && typeof step === 'number') {
    if (step === 0) throw arithmeticError('step value cannot be zero')
    for (let at = start; step > 0 ? at < end : at > end; at += step) {
      list.push(at)
      if (list.length > listMax) break
    }
    return new Sequence(list)
  }
  return noMatch
}
/** More steps than operations are allowed. */
const listMax = 1_000_000

const isEmptyRange = ({ start, end, isInclusive }: Range): boolean => (isInclusive ? start > end : start >= end)

const ofRange =
  (compute: (range: Range) => Value) =>
  (value: Value): Value | typeof noMatch =>
    value instanceof Range ? compute(value) : noMatch

function toInteger(value: Value): Value | typeof noMatch {
  if (typeof value === 'bigint') return value
  if (value instanceof Character) return BigInt(value.text.codePointAt(0)!)
  if (typeof value !== 'number') return noMatch
  if (value > Number(integerMax) || value < Number(integerMin))
    throw arithmeticError(`Integer overflow: to_int(${plain(value)})`)
  const whole = Number.isNaN(value) ? 0n : BigInt(Math.trunc(value))
  return whole > integerMax ? integerMax : whole
}

export const numberFunctions: Readonly<Record<string, Native>> = {
  to_string: one((value) => displayText(value)),
  to_debug: one((value) => debugText(value)),
  print: (args) => (args.length <= 1 ? undefined : noMatch),
  debug: (args) => (args.length <= 1 ? undefined : noMatch),
  '!': one((value) => (typeof value === 'boolean' ? !value : noMatch)),
  take: ([value], place, runtime) => {
    place.write(undefined)
    return copyOf(value, (count) => runtime.charge(count))
  },
  tag: one(() => 0n),
  parse_int: ([text, radix = 10n]) =>
    typeof text === 'string' && typeof radix === 'bigint' ? integerOf(text, radix) : noMatch,
  parse_float: one((text) => (typeof text === 'string' ? floatOf(text) : noMatch)),
  to_int: one(toInteger),
  to_float: one((value) => (isNumber(value) ? Number(value) : noMatch)),
  abs: one((value) => {
    if (typeof value === 'number') return Math.abs(value)
    if (typeof value !== 'bigint') return noMatch
    if (value === integerMin) throw arithmeticError(`Negation overflow: -${value}`)
    return value < 0n ? -value : value
  }),
  sign: one((value) => {
    if (typeof value === 'bigint') return value < 0n ? -1n : value > 0n ? 1n : 0n
    return typeof value === 'number' && !Number.isNaN(value) ? BigInt(Math.sign(value)) : noMatch
  }),
  max: extreme((x, y) => x >= y),
  min: extreme((x, y) => x <= y),
  is_zero: one((value) => (isNumber(value) ? Number(value) === 0 : noMatch)),
  is_odd: one((value) => (typeof value === 'bigint' ? value % 2n !== 0n : noMatch)),
  is_even: one((value) => (typeof value === 'bigint' ? value % 2n === 0n : noMatch)),
  floor: ofFloat(Math.floor),
  ceiling: ofFloat(Math.ceil),
  round: ofFloat(round),
  int: ofFloat(Math.trunc),
  fraction: ofFloat((x) => x - Math.trunc(x)),
  is_nan: ofFloat(Number.isNaN),
  is_finite: ofFloat(Number.isFinite),
  is_infinite: ofFloat((x) => Math.abs(x) === Infinity),
  sqrt: ofFloat(Math.sqrt),
  exp: ofFloat(Math.exp),
  ln: ofFloat(Math.log),
  log: ([x, base]) => {
    if (typeof x !== 'number') return noMatch
    if (base === undefined) return Math.log10(x)
    return typeof base === 'number' ? Math.log(x) / Math.log(base) : noMatch
  },
  to_degrees: ofFloat((x) => (x * 180) / Math.PI),
  to_radians: ofFloat((x) => (x * Math.PI) / 180),
  sin: ofFloat(Math.sin),
  cos: ofFloat(Math.cos),
  tan: ofFloat(Math.tan),
  asin: ofFloat(Math.asin),
  acos: ofFloat(Math.acos),
  sinh: ofFloat(Math.sinh),
  cosh: ofFloat(Math.cosh),
  tanh: ofFloat(Math.tanh),
  asinh: ofFloat(Math.asinh),
  acosh: ofFloat(Math.acosh),
  atanh: ofFloat(Math.atanh),
  atan: ([x, y]) => {
    if (typeof x !== 'number') return noMatch
    if (y === undefined) return Math.atan(x)
    return typeof y === 'number' ? Math.atan2(x, y) : noMatch
  },
  hypot: ([x, y]) => (typeof x === 'number' && typeof y === 'number' ? Math.hypot(x, y) : noMatch),
  PI: (args) => (args.length === 0 ? Math.PI : noMatch),
  E: (args) => (args.length === 0 ? Math.E : noMatch),
  to_hex: one((value) => inRadix(value, 16)),
  to_octal: one((value) => inRadix(value, 8)),
  to_binary: one((value) => inRadix(value, 2)),
  bits: one((value) =>
    typeof value === 'bigint'
      ? new Sequence(Array.from({ length: 64 }, (_, bit) => ((value >> BigInt(bit)) & 1n) === 1n))
      : noMatch,
  ),
  range: ([start, end, step]) => {
    if (start instanceof Range && typeof end === 'bigint' && !start.isInclusive)
      return stepped(start.start, start.end, end)
    if (step !== undefined) return stepped(start, end, step)
    return typeof start === 'bigint' && typeof end === 'bigint' ? new Range(start, end, false) : noMatch
  },
  start: one(ofRange(({ start }) => start)),
  end: one(ofRange(({ end }) => end)),
  is_inclusive: one(ofRange(({ isInclusive }) => isInclusive)),
  is_exclusive: one(ofRange(({ isInclusive }) => !isInclusive)),
  is_empty: one(ofRange(isEmptyRange)),
  contains: ([range, value]) => {
    if (!(range instanceof Range) || typeof value !== 'bigint') return noMatch
    return value >= range.start && (range.isInclusive ? value <= range.end : value < range.end)
  },
  name: one((value) => (value instanceof FunctionPointer ? value.name : noMatch)),
  is_anonymous: one((value) => (value instanceof FunctionPointer ? value.name.startsWith('anon$') : noMatch)),
}
