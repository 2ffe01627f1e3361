/** What built-in functions see of the evaluation that calls them. */
import { ScriptError } from './script-error.ts'
import { type FunctionPointer, typeName, type Value } from './values.ts'

/** Where a value stands, so that a function can change it. */
export interface ValuePlace {
  read(): Value
  write(value: Value): void
  readonly isConstant: boolean
}

export interface Callback {
  readonly pointer: FunctionPointer
  readonly args: readonly Value[]
  /** What the function works on: its `this`, or an argument when it has room for one more. */
  readonly item?: ValuePlace
  /** Given when there is room for them, too. */
  readonly extras?: readonly Value[]
  /** Where `item` goes among the arguments; undefined = nowhere. */
  readonly itemIndex?: number
}

export interface Runtime {
  /** Counts work and memory. @throws ScriptError when there was too much. */
  charge(count: number): void
  callBack(callback: Callback): Value
}

/** The arguments are not of the types that the function takes. */
export const noMatch = Symbol('no match')
export type Native = (args: readonly Value[], place: ValuePlace, runtime: Runtime) => Value | typeof noMatch

export const temporary = (value: Value): ValuePlace => {
  let held = value
  return {
    read: () => held,
    write(next) {
      held = next
    },
    isConstant: false,
  }
}

export const itemOf = (array: Value[], index: number): ValuePlace => ({
  read: () => array[index],
  write(value) {
    array[index] = value
  },
  isConstant: false,
})

export const stringMax = 16 * 1024 * 1024
export const itemsMax = 10_000
/** Variables of the script or of one call. */
export const variablesMax = 1_000

export function functionNotFound(name: string, args: readonly Value[], at: number): ScriptError {
  const types = args.map((arg) => (typeof arg === 'string' ? '&str | ImmutableString | String' : typeName(arg)))
  const signature = `${name} (${types.join(', ')})`
  return new ScriptError('ErrorFunctionNotFound', `Function not found: ${signature}`, at, {
    fields: { function: signature },
  })
}
