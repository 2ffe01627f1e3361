/** Operators on values: whole numbers stay whole and must fit 64 bits, floating-point numbers win over whole ones. */
import { noMatch, type Runtime } from './runtime.ts'
import { arithmeticError } from './script-error.ts'
import { displayText } from './value-text.ts'
import {
  Character,
  compareTexts,
  FunctionPointer,
  integerMax,
  integerMin,
  isInteger64,
  Range,
  type Value,
} from './values.ts'

/** @throws ScriptError without a place. */
export function operate(name: string, left: Value, right: Value, runtime: Runtime): Value | typeof noMatch {
  if (typeof left === 'bigint' && typeof right === 'bigint') return integers(name, left, right)
  if (isNumber(left) && isNumber(right)) return floats(name, Number(left), Number(right))
  if (name === '+' || name === '-') return textOrList(name, left, right, runtime)
  if (name === '..' || name === '..=') return rangeOf(name, left, right)
  if (isComparison(name)) return compared(name, left, right)
  if (typeof left === 'boolean' && typeof right === 'boolean') {
    if (name === '&') return left && right
    if (name === '|') return left || right
    if (name === '^') return left !== right
  }
  return noMatch
}

export function negate(value: Value): Value | typeof noMatch {
  if (typeof value === 'number') return -value
  if (typeof value !== 'bigint') return noMatch
  if (value === integerMin) throw arithmeticError(`Negation overflow: -${value}`)
  return -value
}

/** Whether `==` holds; values of different types differ. */
export function areEqual(left: Value, right: Value): boolean {
  return operate('==', left, right, { charge: () => {}, callBack: () => undefined }) === true
}

const isNumber = (value: Value): value is bigint | number => typeof value === 'bigint' || typeof value === 'number'

const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])
const isComparison = (name: string): boolean => comparisons.has(name)

function holds(name: string, order: number): boolean {
  switch (name) {
    case '==':
      return order === 0
    case '!=':
      return order !== 0
    case '<':
      return order < 0
    case '<=':
      return order <= 0
    case '>':
      return order > 0
    default:
      return order >= 0
  }
}

function checked(value: bigint, what: string): bigint {
  if (!isInteger64(value)) throw arithmeticError(what)
  return value
}

function integers(name: string, x: bigint, y: bigint): Value | typeof noMatch {
  switch (name) {
    case '+':
      return checked(x + y, `Addition overflow: ${x} + ${y}`)
    case '-':
      return checked(x - y, `Subtraction overflow: ${x} - ${y}`)
    case '*':
      return checked(x * y, `Multiplication overflow: ${x} * ${y}`)
    case '/':
      if (y === 0n) throw arithmeticError(`Division by zero: ${x} / ${y}`)
      return checked(x / y, `Division overflow: ${x} / ${y}`)
    case '%':
      if (y === 0n || (x === integerMin && y === -1n))
        throw arithmeticError(`Modulo division by zero or overflow: ${x} % ${y}`)
      return x % y
    case '**':
      return power(x, y)
    case '<<':
      return y < 0n ? shiftRight(x, -y) : shiftLeft(x, y)
    case '>>':
      return y < 0n ? shiftLeft(x, -y) : shiftRight(x, y)
    case '&':
      return x & y
    case '|':
      return x | y
    case '^':
      return x ^ y
    case '..':
    case '..=':
      return new Range(x, y, name === '..=')
  }
  return isComparison(name) ? holds(name, x < y ? -1 : x > y ? 1 : 0) : noMatch
}

function power(x: bigint, y: bigint): bigint {
  const overflow = `Exponential overflow: ${x} ** ${y}`
  if (y > 0xffffffffn) throw arithmeticError(overflow)
  if (y < 0n) throw arithmeticError(`Integer raised to a negative power: ${x} ** ${y}`)
  if (x === 0n || x === 1n) return y === 0n ? 1n : x
  if (x === -1n) return y % 2n === 0n ? 1n : -1n
  if (y > 63n) throw arithmeticError(overflow)
  return checked(x ** y, overflow)
}

const shiftLeft = (x: bigint, y: bigint): bigint => (y > 63n ? 0n : BigInt.asIntN(64, x << y))
const shiftRight = (x: bigint, y: bigint): bigint => x >> (y > 63n ? 63n : y)

function floats(name: string, x: number, y: number): Value | typeof noMatch {
  switch (name) {
    case '+':
      return x + y
    case '-':
      return x - y
    case '*':
      return x * y
    case '/':
      return x / y
    case '%':
      return x % y
    case '**':
      return x ** y
  }
  if (!isComparison(name)) return noMatch
  // Equal means: within the last digit.
  const scale = x * y === 0 ? 1 : Math.max(Math.abs(x), Math.abs(y))
  const difference = (x - y) / scale
  switch (name) {
    case '==':
      return Math.abs(x - y) / scale <= Number.EPSILON
    case '!=':
      return Math.abs(x - y) / scale > Number.EPSILON
    case '>':
      return difference > Number.EPSILON
    case '>=':
      return difference > -Number.EPSILON
    case '<':
      return (y - x) / scale > Number.EPSILON
    default:
      return difference > -Number.EPSILON
  }
}

function textOrList(name: string, left: Value, right: Value, runtime: Runtime): Value | typeof noMatch {
  if (name === '-') {
    if (typeof left !== 'string') return noMatch
    if (typeof right !== 'string' && !(right instanceof Character)) return noMatch
    runtime.charge(left.length)
    return removed(left, typeof right === 'string' ? right : right.text)
  }
  if (
    typeof left === 'string' ||
    typeof right === 'string' ||
    (left instanceof Character && right instanceof Character)
  ) {
    const text = displayText(left) + displayText(right)
    runtime.charge(text.length)
    return text
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    runtime.charge(left.length + right.length)
    return [...left, ...right]
  }
  if (left instanceof Map && right instanceof Map) {
    runtime.charge(left.size + right.size)
    return new Map([...left, ...right])
  }
  return noMatch
}

export const removed = (text: string, part: string): string => (part === '' ? text : text.split(part).join(''))

function rangeOf(name: string, left: Value, right: Value): Value | typeof noMatch {
  const isInclusive = name === '..='
  if (typeof left === 'bigint' && right === undefined) return new Range(left, integerMax, isInclusive)
  if (left === undefined && typeof right === 'bigint') return new Range(0n, right, isInclusive)
  return noMatch
}

const textOf = (value: Value): string | undefined =>
  typeof value === 'string' ? value : value instanceof Character ? value.text : undefined

function compared(name: string, left: Value, right: Value): boolean | typeof noMatch {
  const isSame = name === '=='
  if (isSame || name === '!=') {
    const equal = equality(left, right)
    return equal === noMatch ? noMatch : equal === isSame
  }
  if (typeof left === 'boolean' && typeof right === 'boolean') return holds(name, Number(left) - Number(right))
  const [a, b] = [textOf(left), textOf(right)]
  if (a !== undefined && b !== undefined) return holds(name, compareTexts(a, b))
  if (left === undefined && right === undefined) return false
  return kindOf(left) === kindOf(right) ? noMatch : false
}

function kindOf(value: Value): string {
  if (Array.isArray(value)) return 'array'
  if (value instanceof Map) return 'map'
  if (value instanceof Range) return 'range'
  return value instanceof FunctionPointer ? 'function' : typeof value
}

function equality(left: Value, right: Value): boolean | typeof noMatch {
  if (Array.isArray(left) && Array.isArray(right))
    return left.length === right.length && left.every((item, index) => areEqual(item, right[index]))
  if (left instanceof Map && right instanceof Map)
    return (
      left.size === right.size && [...left].every(([key, item]) => right.has(key) && areEqual(item, right.get(key)))
    )
  if (left instanceof Range && right instanceof Range)
    return left.start === right.start && left.end === right.end && left.isInclusive === right.isInclusive
  const [a, b] = [textOf(left), textOf(right)]
  if (a !== undefined && b !== undefined) return a === b
  if (left instanceof FunctionPointer && right instanceof FunctionPointer) return noMatch
  return left === right
}
