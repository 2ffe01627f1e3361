/** Calls that are part of the language: of function pointers, of text, and questions about names. */
import { Returned } from './control-flow.ts'
import type { Evaluation, Scope } from './evaluation.ts'
import { parseScript } from './parse-statement.ts'
import { noMatch } from './runtime.ts'
import { none, type Position, ScriptError, SyntaxMistake, wrongType } from './script-error.ts'
import { type Expression, functionKey } from './syntax.ts'
import { FunctionPointer, typeName, type Value } from './values.ts'

const evalLimits = { depthMax: 100, functionDepthMax: 1_000, functionsMax: 0 }

/** `noMatch` when the name is none of them. */
export function specialCall(
  evaluation: Evaluation,
  scope: Scope,
  name: string,
  args: readonly Expression[],
  at: Position,
): Value | typeof noMatch {
  const [first, second] = args
  if (first === undefined) {
    if (name === 'exit') throw new Returned(undefined, true)
    return noMatch
  }
  switch (name) {
    case 'call': {
      const pointer = evaluation.evaluate(scope, first)
      if (!(pointer instanceof FunctionPointer)) throw wrongType('Fn', typeName(pointer), first.at)
      return evaluation.callPointer(
        pointer,
        args.slice(1).map((arg) => evaluation.evaluate(scope, arg)),
        undefined,
        at,
      )
    }
    case 'curry': {
      if (second === undefined) return noMatch
      const pointer = evaluation.evaluate(scope, first)
      if (!(pointer instanceof FunctionPointer)) throw wrongType('Fn', typeName(pointer), first.at)
      const more = args.slice(1).map((arg) => evaluation.evaluate(scope, arg))
      return new FunctionPointer(pointer.name, pointer.definition, [...pointer.curried, ...more])
    }
    case 'Fn': {
      if (second !== undefined) return noMatch
      return new FunctionPointer(textOf(evaluation, scope, first), null, [])
    }
    case 'is_def_var':
      return second === undefined ? evaluation.find(scope, textOf(evaluation, scope, first)) !== undefined : noMatch
    case 'is_def_fn': {
      if (second === undefined || args.length > 2) return noMatch
      const text = textOf(evaluation, scope, first)
      const count = evaluation.evaluate(scope, second)
      if (typeof count !== 'bigint') throw wrongType('i64', typeName(count), second.at)
      return evaluation.functionOf(functionKey(text, Number(count))) !== undefined
    }
    case 'is_shared':
      evaluation.evaluate(scope, first)
      return args.length === 1 ? false : noMatch
    case 'type_of':
      return args.length === 1 ? typeName(evaluation.evaluate(scope, first)) : noMatch
    case 'eval':
      return args.length === 1 ? evalText(evaluation, scope, textOf(evaluation, scope, first), at) : noMatch
    case 'exit':
      if (args.length === 1) throw new Returned(evaluation.evaluate(scope, first), true)
      return noMatch
    default:
      return noMatch
  }
}

/** Runs a text with the variables in sight. */
function evalText(evaluation: Evaluation, scope: Scope, text: string, at: Position): Value {
  evaluation.charge(text.length)
  try {
    return evaluation.runStatements(scope, parseScript(text, evalLimits).body.statements)
  } catch (error) {
    const inner =
      error instanceof SyntaxMistake ? new ScriptError('ErrorParsing', `Syntax error: ${error.message}`, none) : error
    if (!(inner instanceof ScriptError)) throw error
    throw new ScriptError('ErrorInFunctionCall', "\nin call to function 'eval'", at, { inner })
  }
}

function textOf(evaluation: Evaluation, scope: Scope, expression: Expression): string {
  const value = evaluation.evaluate(scope, expression)
  if (typeof value !== 'string') throw wrongType('string', typeName(value), expression.at)
  return value
}
