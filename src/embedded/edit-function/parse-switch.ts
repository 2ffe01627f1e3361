/** `switch`: cases are literals, ranges among them, with conditions. */
import { asCondition, parseExpression } from './parse-expression.ts'
import {
  accept,
  deeper,
  expect,
  isSymbol,
  missing,
  mistakeOf,
  notAssignment,
  notBlock,
  type ParseState,
  type Place,
} from './parse-state.ts'
import { SyntaxMistake } from './script-error.ts'
import { type Expression, type Statement, type SwitchCase, startOf } from './syntax.ts'
import { integerMax, Range, type Value } from './values.ts'

export function parseSwitch(state: ParseState, outer: Place): Statement {
  const { lexer } = state
  const at = lexer.next().at
  const place = deeper(outer, at)
  const value = parseExpression(state, place)
  expect(lexer, '{', 'to start a switch block')
  const cases: SwitchCase[] = []
  const toEnd = 'to end this switch block'
  let defaultAt: number | undefined
  let hasRange = false
  while (!accept(lexer, '}')) {
    const token = lexer.peek()
    if (token.kind === 'end') throw missing('}', toEnd, token.at)
    const isDefault = isSymbol(token, '_') && defaultAt === undefined
    if (defaultAt !== undefined) throw new SyntaxMistake('Default switch case must be the last', defaultAt)
    if (isDefault) {
      defaultAt = token.at
      lexer.next()
      if (isSymbol(lexer.peek(), 'if'))
        throw new SyntaxMistake('This switch case cannot have a condition', lexer.peek().at)
    }
    const expressions = isDefault ? [] : parseCaseValues(state, place)
    const condition = isDefault ? null : parseGuard(state, place)
    expect(lexer, '=>', 'in this switch case')
    const action = state.parseStatement(state, place)
    const values = expressions.map((expression) => {
      const literal = literalOf(expression)
      if (literal === undefined) throw new SyntaxMistake('Expecting a literal expression', startOf(expression))
      if (literal.value instanceof Range) hasRange = true
      else if (hasRange && (typeof literal.value === 'bigint' || typeof literal.value === 'number'))
        throw new SyntaxMistake('Numeric switch case cannot follow a range case', startOf(expression))
      return literal.value
    })
    cases.push({ values, condition, action })
    const next = lexer.peek()
    if (isSymbol(next, ',')) lexer.next()
    else if (next.kind === 'end') throw missing(')', toEnd, next.at)
    else if (!isSymbol(next, '}') && !endsItself(action))
      throw mistakeOf(next) ?? missing(',', 'to separate the items in this switch block', next.at)
  }
  return { kind: 'switch', value, cases, at }
}

const endsItself = ({ kind }: Statement): boolean =>
  ['if', 'switch', 'block', 'while', 'for', 'try', 'noop'].includes(kind)

function parseCaseValues(state: ParseState, place: Place): readonly Expression[] {
  const expressions: Expression[] = []
  do {
    try {
      expressions.push(parseExpression(state, { ...place, stopsAtBar: true }))
    } catch (error) {
      if (error instanceof SyntaxMistake) throw new SyntaxMistake('Expecting literal expression', error.at)
      throw error
    }
  } while (accept(state.lexer, '|'))
  return expressions
}

function parseGuard(state: ParseState, place: Place): Expression | null {
  if (!accept(state.lexer, 'if')) return null
  notBlock(state.lexer, 'a boolean')
  const condition = asCondition(parseExpression(state, place))
  notAssignment(state.lexer)
  return condition
}

/** The value of an expression that has no variables; undefined = it is none. */
function literalOf(expression: Expression): { readonly value: Value } | undefined {
  switch (expression.kind) {
    case 'constant':
      return { value: expression.value }
    case 'array': {
      const items = expression.items.map(literalOf)
      return items.includes(undefined) ? undefined : { value: items.map((item) => item?.value) }
    }
    case 'map': {
      const members = expression.members.map(([name, member]) => [name, literalOf(member)] as const)
      if (members.some(([, literal]) => literal === undefined)) return undefined
      return { value: new Map(members.map(([name, literal]) => [name, literal?.value])) }
    }
    case 'operation': {
      if (expression.name !== '..' && expression.name !== '..=') return undefined
      const [start, end] = expression.args.map(literalOf)
      if (start === undefined || end === undefined) return undefined
      const from = start.value === undefined ? 0n : start.value
      const to = end.value === undefined ? integerMax : end.value
      if (typeof from !== 'bigint' || typeof to !== 'bigint') return undefined
      return { value: new Range(from, to, expression.name === '..=') }
    }
    default:
      return undefined
  }
}
