/** Runs statements: blocks with variables of their own, loops, choices, mistakes that are caught, and assignments. */
import { accessChain } from './chain.ts'
import { isSameCase, isWithin, iterate, LoopEnd, Returned } from './control-flow.ts'
import type { Evaluation, Scope } from './evaluation.ts'
import { variablesMax } from './runtime.ts'
import { none, runtimeError, ScriptError, wrongType } from './script-error.ts'
import { type Block, type Expression, type Statement, startOf } from './syntax.ts'
import { type Cell, typeName, type Value } from './values.ts'

export function runBlock(evaluation: Evaluation, scope: Scope, { statements }: Block): Value {
  const count = scope.cells.length
  let value: Value
  try {
    for (const statement of statements) value = runStatement(evaluation, scope, statement)
  } finally {
    scope.cells.length = count
  }
  return value
}

export function runStatement(evaluation: Evaluation, scope: Scope, statement: Statement): Value {
  evaluation.count(statement.at)
  switch (statement.kind) {
    case 'noop':
      return undefined
    case 'expression':
      return evaluation.evaluate(scope, statement.expression)
    case 'block':
      return runBlock(evaluation, scope, statement.block)
    case 'assignment':
      assign(evaluation, scope, statement)
      return undefined
    case 'declaration': {
      const value = statement.value === null ? undefined : evaluation.evaluate(scope, statement.value)
      evaluation.declare(scope, statement.name, value, statement.isConstant, statement.at)
      return undefined
    }
    case 'if':
      if (statement.then.statements.length === 0 && statement.otherwise === null) {
        // The reference leaves nothing of it but the condition.
        evaluation.evaluate(scope, statement.condition)
        return undefined
      }
      if (holds(evaluation, scope, statement.condition)) return runBlock(evaluation, scope, statement.then)
      return statement.otherwise === null ? undefined : runStatement(evaluation, scope, statement.otherwise)
    case 'switch':
      return runSwitch(evaluation, scope, statement)
    case 'while':
      return runLoop(evaluation, scope, statement.body, () =>
        statement.condition === null ? true : holds(evaluation, scope, statement.condition),
      )
    case 'do': {
      let isFirst = true
      return runLoop(evaluation, scope, statement.body, () => {
        if (!isFirst) return holds(evaluation, scope, statement.condition) !== statement.isUntil
        isFirst = false
        return true
      })
    }
    case 'for':
      return runFor(evaluation, scope, statement)
    case 'break':
      throw new LoopEnd(true, statement.value === null ? undefined : evaluation.evaluate(scope, statement.value))
    case 'continue':
      throw new LoopEnd(false, undefined)
    case 'return':
      throw new Returned(statement.value === null ? undefined : evaluation.evaluate(scope, statement.value), false)
    case 'throw':
      throw runtimeError(
        statement.value === null ? undefined : evaluation.evaluate(scope, statement.value),
        statement.at,
      )
    case 'try':
      return runTry(evaluation, scope, statement)
  }
}

export function holds(evaluation: Evaluation, scope: Scope, expression: Expression): boolean {
  const value = evaluation.evaluate(scope, expression)
  if (typeof value !== 'boolean') throw wrongType('bool', typeName(value), expression.at)
  return value
}

function runLoop(evaluation: Evaluation, scope: Scope, body: Block, goesOn: () => boolean): Value {
  while (goesOn()) {
    evaluation.count(body.at)
    const end = runTurn(evaluation, scope, body)
    if (end !== undefined) return end.value
  }
  return undefined
}

/** One turn of a loop; answers the `break` that ended it. */
function runTurn(evaluation: Evaluation, scope: Scope, body: Block): LoopEnd | undefined {
  try {
    runBlock(evaluation, scope, body)
  } catch (error) {
    if (!(error instanceof LoopEnd)) throw error
    if (error.isBreak) return error
  }
  return undefined
}

function runFor(evaluation: Evaluation, scope: Scope, statement: Statement & { kind: 'for' }): Value {
  const { cells } = scope
  const count = cells.length
  if (count >= variablesMax - 1)
    throw new ScriptError('ErrorTooManyVariables', 'Too many variables defined', statement.at)
  const values = evaluation.evaluate(scope, statement.values)
  const iterated = iterate(values, evaluation.charge)
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
      evaluation.count(statement.body.at)
      counter.value = place
      item.value = value
      place += 1n
      const end = runTurn(evaluation, scope, statement.body)
      if (end !== undefined) return end.value
    }
  } finally {
    cells.length = count
  }
  return undefined
}

function runSwitch(evaluation: Evaluation, scope: Scope, { value, cases }: Statement & { kind: 'switch' }): Value {
  const found = evaluation.evaluate(scope, value)
  const isChosen = (condition: Expression | null) => condition === null || holds(evaluation, scope, condition)
  const equal = cases.filter(({ values }) => values.some((literal) => isSameCase(literal, found)))
  const ranges =
    equal.length > 0 ? [] : cases.filter(({ values }) => values.some((literal) => isWithin(literal, found)))
  for (const { condition, action } of [...equal, ...ranges])
    if (isChosen(condition)) return runStatement(evaluation, scope, action)
  const fallback = cases.find(({ values }) => values.length === 0)
  return fallback === undefined ? undefined : runStatement(evaluation, scope, fallback.action)
}

function runTry(evaluation: Evaluation, scope: Scope, { body, caught, handler }: Statement & { kind: 'try' }): Value {
  try {
    return runBlock(evaluation, scope, body)
  } catch (error) {
    if (!(error instanceof ScriptError) || !error.isCatchable) throw error
    const count = scope.cells.length
    if (caught !== null) evaluation.declare(scope, caught, error.caught(), false, none)
    try {
      runBlock(evaluation, scope, handler)
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

function assign(
  evaluation: Evaluation,
  scope: Scope,
  { target, operator, value, at }: Statement & { kind: 'assignment' },
): void {
  const next = evaluation.evaluate(scope, value)
  evaluation.count(target.at)
  if (target.kind === 'variable' || target.kind === 'this') {
    const place = evaluation.placeOf(scope, target)
    if (place === undefined || (target.kind === 'variable' && evaluation.find(scope, target.name) === undefined))
      throw new ScriptError(
        'ErrorAssignmentToConstant',
        `Cannot modify constant ${target.kind === 'variable' ? target.name : ''}`,
        target.at,
      )
    evaluation.assignTo(place, operator, next, at, target)
    return
  }
  if (target.kind === 'chain') accessChain(evaluation, scope, target, { operator, value: next, at })
}
