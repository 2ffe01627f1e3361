/**
 * Runs a parsed function on one set of variables. Nothing outside of them can be reached; operations, memory, variables
 * and the depth of calls are bounded.
 */
import { callBuiltIn, isChanging } from './built-ins.ts'
import { callBack } from './callbacks.ts'
import { accessChain } from './chain.ts'
import { isSameCase, isWithin, iterate, LoopEnd, Returned } from './control-flow.ts'
import { operate } from './operators.ts'
import { functionNotFound, itemsMax, noMatch, type Runtime, stringMax, temporary, type ValuePlace } from './runtime.ts'
import { none, type Position, runtimeError, ScriptError, tooLarge, wrongType } from './script-error.ts'
import { specialCall } from './special-calls.ts'
import {
  type Block,
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
const variablesMax = 1_000
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
    for (const statement of statements) value = this.#statement(scope, statement)
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

  #block(scope: Scope, { statements }: Block): Value {
    const count = scope.cells.length
    let value: Value
    try {
      for (const statement of statements) value = this.#statement(scope, statement)
    } finally {
      scope.cells.length = count
    }
    return value
  }

  #statement(scope: Scope, statement: Statement): Value {
    this.count(statement.at)
    switch (statement.kind) {
      case 'noop':
        return undefined
      case 'expression':
        return this.evaluate(scope, statement.expression)
      case 'block':
        return this.#block(scope, statement.block)
      case 'assignment':
        this.#assign(scope, statement)
        return undefined
      case 'declaration': {
        const value = statement.value === null ? undefined : this.evaluate(scope, statement.value)
        this.declare(scope, statement.name, value, statement.isConstant, statement.at)
        return undefined
      }
      case 'if':
        if (statement.then.statements.length === 0 && statement.otherwise === null) {
          // The reference leaves nothing of it but the condition.
          this.evaluate(scope, statement.condition)
          return undefined
        }
        if (this.#condition(scope, statement.condition)) return this.#block(scope, statement.then)
        return statement.otherwise === null ? undefined : this.#statement(scope, statement.otherwise)
      case 'switch':
        return this.#switch(scope, statement)
      case 'while':
        return this.#loop(scope, statement.body, () =>
          statement.condition === null ? true : this.#condition(scope, statement.condition),
        )
      case 'do': {
        let isFirst = true
        return this.#loop(scope, statement.body, () => {
          if (!isFirst) return this.#condition(scope, statement.condition) !== statement.isUntil
          isFirst = false
          return true
        })
      }
      case 'for':
        return this.#for(scope, statement)
      case 'break':
        throw new LoopEnd(true, statement.value === null ? undefined : this.evaluate(scope, statement.value))
      case 'continue':
        throw new LoopEnd(false, undefined)
      case 'return':
        throw new Returned(statement.value === null ? undefined : this.evaluate(scope, statement.value), false)
      case 'throw':
        throw runtimeError(statement.value === null ? undefined : this.evaluate(scope, statement.value), statement.at)
      case 'try':
        return this.#try(scope, statement)
    }
  }

  declare({ cells }: Scope, name: string, value: Value, isConstant: boolean, at: Position): void {
    if (cells.length >= variablesMax) throw new ScriptError('ErrorTooManyVariables', 'Too many variables defined', at)
    cells.push({ name, value, isConstant })
  }

  #condition(scope: Scope, expression: Expression): boolean {
    const value = this.evaluate(scope, expression)
    if (typeof value !== 'boolean') throw wrongType('bool', typeName(value), expression.at)
    return value
  }

  #loop(scope: Scope, body: Block, goesOn: () => boolean): Value {
    while (goesOn()) {
      this.count(body.at)
      const end = this.#turn(scope, body)
      if (end !== undefined) return end.value
    }
    return undefined
  }

  /** One turn of a loop; answers the `break` that ended it. */
  #turn(scope: Scope, body: Block): LoopEnd | undefined {
    try {
      this.#block(scope, body)
    } catch (error) {
      if (!(error instanceof LoopEnd)) throw error
      if (error.isBreak) return error
    }
    return undefined
  }

  #for(scope: Scope, statement: Statement & { kind: 'for' }): Value {
    const { cells } = scope
    const count = cells.length
    if (count >= variablesMax - 1)
      throw new ScriptError('ErrorTooManyVariables', 'Too many variables defined', statement.at)
    const values = this.evaluate(scope, statement.values)
    const iterated = iterate(values, this.charge)
    if (iterated === undefined)
      throw new ScriptError('ErrorFor', 'For loop expects iterable type', startOf(statement.values))
    // One variable for all turns: closures that were made in different turns share it.
    const counter: Cell = { name: statement.counter ?? '', value: -1n, isConstant: false }
    const item: Cell = { name: statement.name, value: undefined, isConstant: false }
    let place = 0n
    try {
      if (statement.counter !== null) cells.push(counter)
      cells.push(item)
      for (const value of iterated) {
        this.count(statement.body.at)
        counter.value = place
        item.value = value
        place += 1n
        const end = this.#turn(scope, statement.body)
        if (end !== undefined) return end.value
      }
    } finally {
      cells.length = count
    }
    return undefined
  }

  #switch(scope: Scope, { value, cases }: Statement & { kind: 'switch' }): Value {
    const found = this.evaluate(scope, value)
    const isChosen = (condition: Expression | null) => condition === null || this.#condition(scope, condition)
    const equal = cases.filter(({ values }) => values.some((literal) => isSameCase(literal, found)))
    const ranges =
      equal.length > 0 ? [] : cases.filter(({ values }) => values.some((literal) => isWithin(literal, found)))
    for (const { condition, action } of [...equal, ...ranges])
      if (isChosen(condition)) return this.#statement(scope, action)
    const fallback = cases.find(({ values }) => values.length === 0)
    return fallback === undefined ? undefined : this.#statement(scope, fallback.action)
  }

  #try(scope: Scope, { body, caught, handler }: Statement & { kind: 'try' }): Value {
    try {
      return this.#block(scope, body)
    } catch (error) {
      if (!(error instanceof ScriptError) || !error.isCatchable) throw error
      const count = scope.cells.length
      if (caught !== null) this.declare(scope, caught, error.caught(), false, none)
      try {
        this.#block(scope, handler)
      } catch (second) {
        // A bare `throw` passes on what was caught.
        if (!(second instanceof ScriptError) || second.kind !== 'ErrorRuntime' || second.thrown !== undefined)
          throw second
        error.at = second.at
        throw error
      } finally {
        scope.cells.length = count
      }
      return undefined
    }
  }

  #assign(scope: Scope, { target, operator, value, at }: Statement & { kind: 'assignment' }): void {
    const next = this.evaluate(scope, value)
    this.count(target.at)
    if (target.kind === 'variable' || target.kind === 'this') {
      const place = this.placeOf(scope, target)
      if (place === undefined || (target.kind === 'variable' && this.find(scope, target.name) === undefined))
        throw new ScriptError(
          'ErrorAssignmentToConstant',
          `Cannot modify constant ${target.kind === 'variable' ? target.name : ''}`,
          target.at,
        )
      this.assignTo(place, operator, next, at, target)
      return
    }
    if (target.kind === 'chain') accessChain(this, scope, target, { operator, value: next, at })
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
        return expression.items.every((item) => this.#condition(scope, item))
      case 'or':
        return expression.items.some((item) => this.#condition(scope, item))
      case 'coalesce': {
        let value: Value
        for (const item of expression.items) {
          value = this.evaluate(scope, item)
          if (value !== undefined) break
        }
        return value
      }
      case 'statement':
        return this.#statement(scope, expression.statement)
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
      return this.#block({ cells, self }, body)
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
