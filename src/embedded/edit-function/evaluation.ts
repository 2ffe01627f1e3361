/**
 * Runs a parsed function on one set of variables. Nothing outside of them can be reached; operations, memory, variables
 * and the depth of calls are bounded.
 */
import { callBuiltIn, isChanging } from './built-ins.ts'
import { callBack } from './callbacks.ts'
import { accessChain } from './chain.ts'
import { Returned } from './control-flow.ts'
import { operate } from './operators.ts'
import {
  functionNotFound,
  itemsMax,
  noMatch,
  type Runtime,
  stringMax,
  temporary,
  type ValuePlace,
  variablesMax,
} from './runtime.ts'
import { none, type Position, ScriptError, tooLarge } from './script-error.ts'
import { specialCall } from './special-calls.ts'
import { holds, runBlock, runStatement } from './statements.ts'
import {
  type Expression,
  type FunctionDefinition,
  functionKey,
  type Script,
  type Statement,
  startOf,
} from './syntax.ts'
import { displayText } from './value-text.ts'
import { type Cell, copyOf, FunctionPointer, SharedCell, typeName, type Value } from './values.ts'

const operationsMax = 1_000_000
/** Characters and items that one run may make or look through. */
const chargeMax = 256 * 1024 * 1024
const callsMax = 1_000

/** Variables of the script or of one call, and its `this`. */
export interface Scope {
  readonly cells: Cell[]
  readonly self: ValuePlace | undefined
}

export class Evaluation {
  readonly #script: Script
  #operations = 0
  #charged = 0
  #calls = 0
  #callAt: Position = none

  constructor(script: Script) {
    this.#script = script
  }

  /** @throws ScriptError */
  run(cells: Cell[]): void {
    const scope: Scope = { cells, self: undefined }
    try {
      this.runStatements(scope, this.#script.body.statements)
    } catch (error) {
      if (error instanceof Returned) return
      // Deep recursion can end the stack of this process before the reference's bound.
      if (error instanceof RangeError) throw new ScriptError('ErrorStackOverflow', 'Stack overflow', none)
      throw error
    }
  }

  /** Variables that they declare stay; answers the last one's value. */
  runStatements(scope: Scope, statements: readonly Statement[]): Value {
    let value: Value
    for (const statement of statements) value = runStatement(this, scope, statement)
    return value
  }

  functionOf(key: string): FunctionDefinition | undefined {
    return this.#script.functions.get(key)
  }

  /** @throws ScriptError when there were too many. */
  count(at: Position): void {
    this.#operations += 1
    if (this.#operations > operationsMax) throw new ScriptError('ErrorTooManyOperations', 'Too many operations', at)
  }

  readonly charge = (count: number): void => {
    if (count > stringMax) throw tooLarge('Length of string')
    this.#charged += count
    if (this.#charged > chargeMax) throw new ScriptError('ErrorTooManyOperations', 'Too many operations', none)
  }

  copy(value: Value): Value {
    return typeof value === 'object' ? copyOf(value, this.charge) : value
  }

  checkSize(value: Value, at: Position): void {
    if (Array.isArray(value) && value.length > itemsMax) throw tooLarge('Size of array/BLOB', at)
    if (value instanceof Map && value.size > itemsMax) throw tooLarge('Size of object map', at)
    if (typeof value === 'string' && value.length > stringMax) throw tooLarge('Length of string', at)
  }

  // ---- Statements ----

  declare({ cells }: Scope, name: string, value: Value, isConstant: boolean, at: Position): void {
    if (cells.length >= variablesMax) throw new ScriptError('ErrorTooManyVariables', 'Too many variables defined', at)
    cells.push({ name, value, isConstant })
  }

  /** Puts a value where `place` is; `root` is named when that is constant. */
  assignTo(place: ValuePlace, operator: string | null, value: Value, at: Position, root: Expression): void {
    if (place.isConstant) {
      const name = root.kind === 'variable' ? root.name : ''
      throw new ScriptError('ErrorAssignmentToConstant', `Cannot modify constant ${name}`, startOf(root), {
        fields: { variable: name },
      })
    }
    if (operator === null) {
      this.checkSize(value, at)
      place.write(value)
      return
    }
    const before = place.read()
    if (operator === '+' && Array.isArray(before)) {
      const more = Array.isArray(value) ? value : [value]
      this.charge(more.length)
      before.push(...more)
      this.checkSize(before, at)
      return
    }
    if (operator === '&' || operator === '|' || operator === '^') {
      if (typeof before === 'boolean' && typeof value === 'boolean') {
        place.write(operator === '&' ? before && value : operator === '|' ? before || value : before !== value)
        return
      }
    }
    const after = this.#builtIn(operator, [before, value], temporary(before), at)
    this.checkSize(after, at)
    place.write(after)
  }

  // ---- Expressions ----

  evaluate(scope: Scope, expression: Expression): Value {
    this.count(expression.at)
    switch (expression.kind) {
      case 'constant':
        return expression.value
      case 'interpolation': {
        let text = ''
        for (const part of expression.parts) text += displayText(this.evaluate(scope, part))
        this.charge(text.length)
        return text
      }
      case 'array': {
        const items = expression.items.map((item) => this.evaluate(scope, item))
        return items
      }
      case 'map': {
        const map = new Map<string, Value>()
        for (const [name, member] of expression.members) map.set(name, this.evaluate(scope, member))
        return map
      }
      case 'variable':
      case 'this':
        return this.copy(this.requiredPlace(scope, expression).read())
      case 'and':
        return expression.items.every((item) => holds(this, scope, item))
      case 'or':
        return expression.items.some((item) => holds(this, scope, item))
      case 'coalesce': {
        let value: Value
        for (const item of expression.items) {
          value = this.evaluate(scope, item)
          if (value !== undefined) break
        }
        return value
      }
      case 'statement':
        return runStatement(this, scope, expression.statement)
      case 'operation':
        return this.#operation(scope, expression)
      case 'call':
        return this.#call(scope, expression)
      case 'chain':
        return accessChain(this, scope, expression, undefined)
      case 'closure': {
        const curried = expression.captured.map(({ name, at }) => {
          const cell = this.find(scope, name)
          if (cell === undefined) throw variableNotFound(name, at)
          return new SharedCell(cell)
        })
        return new FunctionPointer('anon$', expression.definition, curried)
      }
    }
  }

  find({ cells }: Scope, name: string): Cell | undefined {
    for (let index = cells.length - 1; index >= 0; index -= 1) {
      if (cells[index]!.name === name) return cells[index]
    }
    return undefined
  }

  /** Where a variable or `this` stands; a function of the script is a value, too. */
  placeOf(scope: Scope, root: Expression): ValuePlace | undefined {
    if (root.kind === 'this') return scope.self
    if (root.kind !== 'variable') return undefined
    const cell = this.find(scope, root.name)
    if (cell !== undefined) return placeOfCell(cell)
    for (const definition of this.#script.functions.values()) {
      if (definition.name === root.name) return temporary(new FunctionPointer(root.name, definition, []))
    }
    return undefined
  }

  requiredPlace(scope: Scope, root: Expression & { kind: 'variable' | 'this' }): ValuePlace {
    const place = this.placeOf(scope, root)
    if (place !== undefined) return place
    throw root.kind === 'this'
      ? new ScriptError('ErrorUnboundThis', "'this' not bound", root.at)
      : variableNotFound(root.name, root.at)
  }

  #operation(scope: Scope, { name, args, at }: Expression & { kind: 'operation' }): Value {
    const values = args.map((arg) => this.evaluate(scope, arg))
    if (values.length < 2 || name === 'contains') return this.#builtIn(name, values, temporary(values[0]), at)
    // Arithmetic between two values fails without a place, as in the reference.
    const answer = operate(name, values[0], values[1], this.#runtime)
    if (answer === noMatch) throw functionNotFound(name, values, at)
    return answer
  }

  #builtIn(name: string, args: readonly Value[], place: ValuePlace, at: Position): Value {
    this.count(at)
    const outerAt = this.#callAt
    this.#callAt = at
    try {
      const answer = callBuiltIn(name, args, place, this.#runtime)
      if (answer === noMatch) throw functionNotFound(name, args, at)
      return answer
    } catch (error) {
      if (error instanceof ScriptError) error.placedAt(at)
      throw error
    } finally {
      this.#callAt = outerAt
    }
  }

  readonly #runtime: Runtime = {
    charge: (count) => this.charge(count),
    callBack: (callback) => callBack(this, callback, this.#callAt),
  }

  // ---- Calls ----

  #call(scope: Scope, { name, args, at }: Expression & { kind: 'call' }): Value {
    const special = specialCall(this, scope, name, args, at)
    if (special !== noMatch) return special
    const [first, ...others] = args
    if (first?.kind === 'variable' || (first?.kind === 'this' && scope.self !== undefined)) {
      this.count(first.at)
      const rest = others.map((arg) => this.evaluate(scope, arg))
      const place = this.requiredPlace(scope, first)
      // A constant is copied, so that functions can work on it.
      return this.callNamed(name, place.isConstant ? temporary(this.copy(place.read())) : place, rest, at, false)
    }
    const values = args.map((arg) => this.evaluate(scope, arg))
    if (values.length === 0) return this.callNamed(name, undefined, [], at, false)
    return this.callNamed(name, temporary(values[0]), values.slice(1), at, false)
  }

  /** Calls a function of the script or a built-in one. `isMethod`: the first argument becomes `this`. */
  callNamed(
    name: string,
    first: ValuePlace | undefined,
    rest: readonly Value[],
    at: Position,
    isMethod: boolean,
  ): Value {
    const { functions } = this.#script
    const args = first === undefined ? [] : [first.read(), ...rest]
    if (isMethod && first !== undefined) {
      const typed = functions.get(functionKey(name, rest.length, typeName(first.read())))
      const method = typed ?? functions.get(functionKey(name, rest.length))
      if (method !== undefined) return this.callDefinition(method, rest, first, at)
      if (name === 'type_of' && rest.length === 0) return typeName(first.read())
      if (name === 'is_shared' && rest.length === 0) return false
    } else {
      const definition = functions.get(functionKey(name, args.length))
      if (definition !== undefined)
        return this.callDefinition(
          definition,
          args.map((arg, index) => (index === 0 ? this.copy(arg) : arg)),
          undefined,
          at,
        )
    }
    if (first?.isConstant && isChanging(name, first.read()))
      throw new ScriptError(
        'ErrorNonPureMethodCallOnConstant',
        `Non-pure method '${name}' cannot be called on constant`,
        at,
        { fields: { function: name } },
      )
    return this.#builtIn(name, args, first ?? temporary(undefined), at)
  }

  callPointer(pointer: FunctionPointer, args: readonly Value[], self: ValuePlace | undefined, at: Position): Value {
    const { definition, curried, name } = pointer
    const count = curried.length + args.length
    if (definition !== null && definition.params.length === count)
      return this.callDefinition(definition, [...curried, ...args], self, at)
    const all = [...curried.map((value) => (value instanceof SharedCell ? value.cell.value : value)), ...args]
    if (definition !== null && definition.name === '') throw functionNotFound(name, all, at)
    if (self !== undefined) return this.callNamed(name, self, all, at, true)
    const [first, ...rest] = all
    return this.callNamed(name, all.length === 0 ? undefined : temporary(first), rest, at, false)
  }

  /** @throws ScriptError that says in which call it arose. */
  callDefinition(
    { name, params, body }: FunctionDefinition,
    args: readonly (Value | SharedCell)[],
    self: ValuePlace | undefined,
    at: Position,
  ): Value {
    this.count(at)
    if (this.#calls >= callsMax) throw new ScriptError('ErrorStackOverflow', 'Stack overflow', at)
    const cells = params.map((param, index): Cell => {
      const arg = args[index]
      return arg instanceof SharedCell ? named(arg.cell, param) : { name: param, value: arg, isConstant: false }
    })
    this.#calls += 1
    try {
      return runBlock(this, { cells, self }, body)
    } catch (error) {
      if (error instanceof Returned && !error.isExit) return error.value
      if (!(error instanceof ScriptError)) throw error
      if (!error.isCatchable) {
        error.at = at
        throw error
      }
      const where = name === '' ? '\nin closure call' : `\nin call to function '${name}'`
      throw new ScriptError('ErrorInFunctionCall', where, at, { inner: error, fields: { function: name, source: '' } })
    } finally {
      this.#calls -= 1
    }
  }
}

export const variableNotFound = (name: string, at: Position): ScriptError =>
  new ScriptError('ErrorVariableNotFound', `Variable not found: ${name}`, at, { fields: { variable: name } })

export const placeOfCell = (cell: Cell): ValuePlace => ({
  read: () => cell.value,
  write(value) {
    cell.value = value
  },
  isConstant: cell.isConstant,
})

/** The shared variable under the name that the closure knows. */
function named(cell: Cell, name: string): Cell {
  return cell.name === name
    ? cell
    : {
        name,
        isConstant: cell.isConstant,
        get value() {
          return cell.value
        },
        set value(next) {
          cell.value = next
        },
      }
}
