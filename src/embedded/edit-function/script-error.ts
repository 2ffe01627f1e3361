/** What can go wrong in a function, with the reference's words. */
import { debugText } from './value-text.ts'
import { Character, type Value, type ValueMap } from './values.ts'

/** Line and column from 1; `none` where a place is not known. */
export type Position = number
export const none: Position = 0

const columns = 0x10000
export const positionOf = (line: number, column: number): Position => line * columns + column
export const lineOf = (at: Position): number => Math.floor(at / columns)
export const columnOf = (at: Position): number => at % columns

function place(at: Position): string {
  return at === none ? '' : ` (line ${lineOf(at)}, position ${columnOf(at)})`
}

/** The text is no function. */
export class SyntaxMistake extends Error {
  override readonly name = 'SyntaxMistake'
  readonly at: Position
  constructor(text: string, at: Position) {
    super(`${text}${place(at)}`)
    this.at = at
  }
}

export type ErrorKind =
  | 'ErrorVariableNotFound'
  | 'ErrorPropertyNotFound'
  | 'ErrorFunctionNotFound'
  | 'ErrorInFunctionCall'
  | 'ErrorUnboundThis'
  | 'ErrorMismatchDataType'
  | 'ErrorIndexingType'
  | 'ErrorArrayBounds'
  | 'ErrorStringBounds'
  | 'ErrorBitFieldBounds'
  | 'ErrorFor'
  | 'ErrorNonPureMethodCallOnConstant'
  | 'ErrorAssignmentToConstant'
  | 'ErrorDotExpr'
  | 'ErrorArithmetic'
  | 'ErrorTooManyOperations'
  | 'ErrorTooManyVariables'
  | 'ErrorStackOverflow'
  | 'ErrorDataTooLarge'
  | 'ErrorParsing'
  | 'ErrorRuntime'

const uncatchable: ReadonlySet<ErrorKind> = new Set([
  'ErrorTooManyOperations',
  'ErrorTooManyVariables',
  'ErrorStackOverflow',
  'ErrorDataTooLarge',
  'ErrorParsing',
])

/** The function failed while it ran. `message` is the reference's whole text. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError'
  readonly kind: ErrorKind
  readonly text: string
  readonly fields: Readonly<Record<string, Value>>
  at: Position
  readonly inner: ScriptError | undefined
  /** What was thrown, of `ErrorRuntime`. */
  readonly thrown: Value

  constructor(
    kind: ErrorKind,
    text: string,
    at: Position,
    more: { fields?: Record<string, Value>; inner?: ScriptError; thrown?: Value } = {},
  ) {
    super()
    this.kind = kind
    this.text = text
    this.at = at
    this.fields = more.fields ?? {}
    this.inner = more.inner
    this.thrown = more.thrown
  }

  override get message(): string {
    return `${this.inner?.message ?? ''}${this.text}${place(this.at)}`
  }

  get isCatchable(): boolean {
    return !uncatchable.has(this.kind)
  }

  /** Gives it a place when it has none yet. */
  placedAt(at: Position): this {
    if (this.at === none) this.at = at
    return this
  }

  /** What a `catch` clause sees. */
  caught(): Value {
    let innermost: ScriptError = this
    while (innermost.inner !== undefined) innermost = innermost.inner
    if (innermost.kind === 'ErrorRuntime') return innermost.thrown
    const map: ValueMap = new Map()
    map.set('message', `${this.inner?.message ?? ''}${this.text}`)
    if (this.at !== none) {
      map.set('line', BigInt(lineOf(this.at)))
      map.set('position', BigInt(columnOf(this.at)))
    }
    map.set('error', this.kind)
    for (const [name, value] of Object.entries(this.fields)) map.set(name, value)
    return map
  }
}

export const runtimeError = (thrown: Value, at: Position): ScriptError =>
  new ScriptError(
    'ErrorRuntime',
    thrown === undefined || thrown === '' ? 'Runtime error' : `Runtime error: ${messageText(thrown)}`,
    at,
    { thrown },
  )

function messageText(value: Value): string {
  if (typeof value === 'string') return value
  if (value instanceof Character) return value.text
  return debugText(value, true)
}

export const arithmeticError = (text: string, at: Position = none): ScriptError =>
  new ScriptError('ErrorArithmetic', text, at)

export const tooLarge = (what: string, at: Position = none): ScriptError =>
  new ScriptError('ErrorDataTooLarge', `${what} too large`, at)

/** `expected` and `actual` are names of types. */
export function wrongType(expected: string, actual: string, at: Position): ScriptError {
  const text = `Data type incorrect: ${actual} (expecting ${expected})`
  return new ScriptError('ErrorMismatchDataType', text, at, { fields: { requested: expected, actual } })
}
