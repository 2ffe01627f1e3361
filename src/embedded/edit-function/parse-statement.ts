/** Statements and functions. */
import { Lexer } from './lexer.ts'
import { asCondition, paramMistake, parseExpression } from './parse-expression.ts'
import {
  accept,
  deeper,
  expect,
  Frame,
  isSymbol,
  literalWord,
  missing,
  mistakeOf,
  notAssignment,
  notBlock,
  type ParseLimits,
  type ParseState,
  type Place,
  reservedMistake,
  variableName,
} from './parse-state.ts'
import { parseSwitch } from './parse-switch.ts'
import { none, type Position, SyntaxMistake } from './script-error.ts'
import {
  type Expression,
  type FunctionDefinition,
  functionKey,
  type Script,
  type Statement,
  startOf,
} from './syntax.ts'
import { isFunctionName } from './words.ts'

type BlockStatement = Statement & { readonly kind: 'block' }

/** @throws SyntaxMistake */
export function parseScript(text: string, limits: ParseLimits): Script {
  const state: ParseState = {
    lexer: new Lexer(text),
    limits,
    functions: new Map(),
    closureCount: 0,
    parseStatement,
    parseBlock,
  }
  const place: Place = {
    frame: new Frame(),
    level: 0,
    levelMax: limits.depthMax,
    at: 0x10001,
    isGlobal: true,
    isFunction: false,
    isLoop: false,
    stopsAtBar: false,
  }
  const statements: Statement[] = []
  while (state.lexer.peek().kind !== 'end') {
    const statement = parseStatement(state, place)
    if (statement.kind === 'noop') continue
    statements.push(statement)
    const next = state.lexer.peek()
    if (next.kind === 'end') break
    endStatement(state, statement)
  }
  return { body: { statements, at: none }, functions: state.functions }
}

/** Blocks end themselves; other statements end with a semicolon. */
function endStatement({ lexer }: ParseState, statement: Statement): void {
  const next = lexer.peek()
  if (isSymbol(next, ';')) lexer.next()
  else if (!endsItself(statement)) throw mistakeOf(next) ?? missing(';', 'to terminate this statement', next.at)
}

export function endsItself({ kind }: Statement): boolean {
  return ['if', 'switch', 'block', 'while', 'for', 'try', 'noop'].includes(kind)
}

function parseBlock(state: ParseState, place: Place): BlockStatement {
  const { lexer } = state
  const { frame } = place
  const at = expect(lexer, '{', 'to start a statement block')
  const here = { ...deeper(place, at), isGlobal: false, stopsAtBar: false }
  const outerStart = frame.blockStart
  frame.blockStart = frame.variables.length
  const statements: Statement[] = []
  while (!accept(lexer, '}')) {
    const token = lexer.peek()
    if (token.kind === 'end') throw missing('}', 'to terminate this block', token.at)
    const statement = parseStatement(state, here)
    if (statement.kind === 'noop') continue
    statements.push(statement)
    if (!isSymbol(lexer.peek(), '}')) endStatement(state, statement)
  }
  frame.variables.length = frame.blockStart
  frame.blockStart = outerStart
  return { kind: 'block', block: { statements, at }, at }
}

function parseStatement(state: ParseState, outer: Place): Statement {
  const { lexer } = state
  skipComments(state, outer)
  const token = lexer.peek()
  const { at } = token
  if (token.kind === 'end') return { kind: 'noop', at }
  const place = { ...outer, at }
  if (token.kind !== 'symbol') return parseExpressionStatement(state, deeper(place))
  switch (token.text) {
    case ';':
      lexer.next()
      return { kind: 'noop', at }
    case '{':
      return parseBlock(state, deeper(place))
    case 'fn':
    case 'private':
      return parseFunction(state, place)
    case 'if':
      return parseIf(state, deeper(place))
    case 'switch':
      return parseSwitch(state, deeper(place))
    case 'while':
    case 'loop':
      return parseLoop(state, deeper(place))
    case 'do':
      return parseDo(state, deeper(place))
    case 'for':
      return parseFor(state, deeper(place))
    case 'continue':
    case 'break':
      if (!place.isLoop) throw new SyntaxMistake('Break statement should only be used inside a loop', at)
      lexer.next()
      if (token.text === 'continue') return { kind: 'continue', at }
      return { kind: 'break', value: optionalExpression(state, deeper(place)), at }
    case 'return':
    case 'throw':
      lexer.next()
      return { kind: token.text, value: optionalExpression(state, deeper(place)), at }
    case 'try':
      return parseTry(state, deeper(place))
    case 'let':
    case 'const':
      return parseDeclaration(state, deeper(place), token.text === 'const')
    default:
      return parseExpressionStatement(state, deeper(place))
  }
}

/** Comments of documentation stand before functions only. */
function skipComments({ lexer }: ParseState, place: Place): void {
  const first = lexer.peek()
  if (first.kind !== 'comment') return
  const misplaced = () =>
    new SyntaxMistake('Doc-comment must be followed immediately by a function definition', first.at)
  if (!place.isGlobal) throw misplaced()
  while (lexer.peek().kind === 'comment') lexer.next()
  const next = lexer.peek()
  if (!isSymbol(next, 'fn') && !isSymbol(next, 'private')) throw misplaced()
}

/** null when what comes next is no expression. */
function optionalExpression(state: ParseState, place: Place): Expression | null {
  const before = state.lexer.peek().at
  try {
    return parseExpression(state, place)
  } catch (error) {
    if (error instanceof SyntaxMistake && state.lexer.peek().at === before) return null
    throw error
  }
}

function parseIf(state: ParseState, outer: Place): Statement {
  const { lexer } = state
  const at = lexer.next().at
  const place = deeper(outer, at)
  const condition = parseCondition(state, place)
  const then = parseBlock(state, place).block
  if (!accept(lexer, 'else')) return { kind: 'if', condition, then, otherwise: null, at }
  const otherwise = isSymbol(lexer.peek(), 'if') ? parseIf(state, place) : parseBlock(state, place)
  return { kind: 'if', condition, then, otherwise, at }
}

function parseCondition(state: ParseState, place: Place): Expression {
  notBlock(state.lexer, 'a boolean')
  const condition = asCondition(parseExpression(state, place))
  notAssignment(state.lexer)
  return condition
}

function parseLoop(state: ParseState, outer: Place): Statement {
  const place = deeper(outer)
  const token = state.lexer.next()
  const condition = isSymbol(token, 'while') ? parseCondition(state, place) : null
  const body = parseBlock(state, { ...place, at: token.at, isLoop: true }).block
  return { kind: 'while', condition, body, at: token.at }
}

function parseDo(state: ParseState, outer: Place): Statement {
  const { lexer } = state
  const at = lexer.next().at
  const place = deeper(outer, at)
  const body = parseBlock(state, { ...place, isLoop: true }).block
  const token = lexer.next()
  const isUntil = isSymbol(token, 'until')
  if (!isUntil && !isSymbol(token, 'while')) throw missing('while', 'for the do statement', token.at)
  return { kind: 'do', condition: parseCondition(state, place), isUntil, body, at }
}

function parseFor(state: ParseState, outer: Place): Statement {
  const { lexer } = state
  const { frame } = outer
  const at = lexer.next().at
  const place = deeper(outer, at)
  const hasCounter = accept(lexer, '(')
  const { name } = variableName(lexer)
  let counter: string | null = null
  if (hasCounter) {
    if (!accept(lexer, ',')) throw missing(',', 'after the iteration variable name', lexer.peek().at)
    const second = variableName(lexer)
    if (second.name === name) throw new SyntaxMistake(`Duplicated variable name: ${second.name}`, second.at)
    counter = second.name
    if (!accept(lexer, ')')) throw missing(')', 'to close the iteration variable', lexer.peek().at)
  }
  expect(lexer, 'in', 'after the iteration variable')
  notBlock(lexer, 'a boolean')
  const values = parseExpression(state, place)
  const word = literalWord(values)
  if (word !== undefined && word !== 'a string' && word !== 'an array')
    throw new SyntaxMistake(`Expecting an iterable value, not ${word}`, startOf(values))
  const count = frame.variables.length
  if (counter !== null) frame.declare(counter)
  frame.declare(name)
  const body = parseBlock(state, { ...place, isLoop: true }).block
  frame.variables.length = count
  return { kind: 'for', name, counter, values, body, at }
}

function parseTry(state: ParseState, outer: Place): Statement {
  const { lexer } = state
  const { frame } = outer
  const at = lexer.next().at
  const place = deeper(outer, at)
  const body = parseBlock(state, place).block
  if (!accept(lexer, 'catch')) throw missing('catch', "for the 'try' statement", lexer.peek().at)
  let caught: string | null = null
  if (accept(lexer, '(')) {
    caught = variableName(lexer).name
    if (!accept(lexer, ')')) throw missing(')', 'to enclose the catch variable', lexer.peek().at)
    frame.declare(caught)
  }
  const handler = parseBlock(state, place).block
  if (caught !== null) frame.variables.pop()
  return { kind: 'try', body, caught, handler, at }
}

function parseDeclaration(state: ParseState, outer: Place, isConstant: boolean): Statement {
  const { lexer } = state
  const at = lexer.next().at
  const { name } = variableName(lexer)
  const value = accept(lexer, '=') ? parseExpression(state, deeper(outer, at)) : null
  outer.frame.redeclare(name, isConstant)
  return { kind: 'declaration', name, isConstant, value, at }
}

const assignments: ReadonlySet<string> = new Set('+= -= *= /= **= %= <<= >>= &= |= ^='.split(' '))

function parseExpressionStatement(state: ParseState, place: Place): Statement {
  const { lexer } = state
  const at = lexer.peek().at
  const target = parseExpression(state, { ...place, at })
  const token = lexer.peek()
  const isPlain = isSymbol(token, '=')
  if (!isPlain && !(token.kind === 'symbol' && assignments.has(token.text)))
    return { kind: 'expression', expression: target, at: target.at }
  lexer.next()
  const value = parseExpression(state, { ...place, at: token.at })
  checkTarget(target, place.frame, isPlain, token.at)
  const operator = token.kind === 'symbol' && !isPlain ? token.text.slice(0, -1) : null
  return { kind: 'assignment', operator, target, value, at: token.at }
}

function checkTarget(target: Expression, frame: Frame, isPlain: boolean, opAt: Position): void {
  const invalid = (at: Position) => new SyntaxMistake('Expression cannot be assigned to', at)
  if (target.kind === 'this') return
  if (target.kind === 'variable') {
    if (frame.find(target.name)?.isConstant)
      throw new SyntaxMistake(`Cannot assign to constant ${target.name}`, target.at)
    return
  }
  if (target.kind === 'chain') {
    const method = target.links.find(({ kind }) => kind === 'method')
    if (method !== undefined) throw invalid(method.at)
    if (target.root.kind !== 'variable' && target.root.kind !== 'this') throw invalid(target.root.at)
    return
  }
  if (target.kind === 'constant') throw new SyntaxMistake('Cannot assign to a constant value', target.at)
  if (isPlain && (target.kind === 'and' || target.kind === 'or' || target.kind === 'coalesce'))
    throw new SyntaxMistake("Possibly a typo of '=='?", opAt)
  throw invalid(target.at)
}

function parseFunction(state: ParseState, place: Place): Statement {
  const { lexer, functions, limits } = state
  if (accept(lexer, 'private') && !isSymbol(lexer.peek(), 'fn'))
    throw missing('fn', "following 'private'", lexer.peek().at)
  const at = lexer.next().at
  if (!place.isGlobal)
    throw new SyntaxMistake(
      'Function definitions must be at global level and cannot be inside a block or another function',
      place.at,
    )
  if (functions.size + state.closureCount >= limits.functionsMax)
    throw new SyntaxMistake('Number of functions defined exceeds maximum limit', at)
  const inner: Place = {
    ...place,
    frame: new Frame(),
    level: 0,
    levelMax: limits.functionDepthMax,
    at,
    isGlobal: false,
    isFunction: true,
    isLoop: false,
  }
  const definition = parseDefinition(state, deeper(inner))
  const key = functionKey(definition.name, definition.params.length, definition.thisType)
  if (functions.has(key)) {
    const count = definition.params.length
    const shown = count === 0 ? 'no parameters' : count === 1 ? '1 parameter' : `${count} parameters`
    throw new SyntaxMistake(`Function ${definition.name} with ${shown} already exists`, at)
  }
  functions.set(key, definition)
  return { kind: 'noop', at }
}

const typeNames: Readonly<Record<string, string>> = { int: 'i64', float: 'f64' }

function parseDefinition(state: ParseState, place: Place): FunctionDefinition {
  const { lexer } = state
  let token = lexer.next()
  let thisType: string | null = null
  if ((token.kind === 'string' || token.kind === 'identifier') && isSymbol(lexer.peek(), '.')) {
    lexer.next()
    thisType = typeNames[token.text] ?? token.text
    token = lexer.next()
  } else if (token.kind === 'string') throw missing('.', "after the type name for 'this'", lexer.peek().at)
  if (token.kind === 'reserved') throw reservedMistake(token.text, token.at)
  if (token.kind !== 'identifier' || !isFunctionName(token.text))
    throw new SyntaxMistake('Expecting function name in function declaration', token.at)
  const name = token.text
  const params = parseParams(state, place, name)
  const next = lexer.peek()
  if (!isSymbol(next, '{')) throw new SyntaxMistake(`Expecting body statement block for function ${name}`, next.at)
  return { name, params, body: parseBlock(state, place).block, thisType }
}

function parseParams({ lexer }: ParseState, { frame }: Place, name: string): readonly string[] {
  const params: string[] = []
  const open = lexer.next()
  if (isSymbol(open, '()')) return params
  if (!isSymbol(open, '(')) throw new SyntaxMistake(`Expecting parameters for function ${name}`, open.at)
  for (;;) {
    const token = lexer.next()
    if (isSymbol(token, ')')) return params
    if (token.kind !== 'identifier')
      throw paramMistake(token, ')', `to close the parameters list of function '${name}'`)
    if (params.includes(token.text))
      throw new SyntaxMistake(`Duplicated parameter ${token.text} for function ${name}`, token.at)
    params.push(token.text)
    frame.declare(token.text)
    const next = lexer.next()
    if (isSymbol(next, ')')) return params
    if (!isSymbol(next, ','))
      throw mistakeOf(next) ?? missing(',', `to separate the parameters of function '${name}'`, next.at)
  }
}
