/** Expressions: a Pratt parser with the reference's precedences and messages. */
import type { Token } from './lexer.ts'
import {
  accept,
  deeper,
  expect,
  Frame,
  isSymbol,
  literalWord,
  missing,
  mistakeOf,
  type ParseState,
  type Place,
  reservedMistake,
  unexpected,
} from './parse-state.ts'
import { type Position, SyntaxMistake } from './script-error.ts'
import { type Expression, type Link, startOf } from './syntax.ts'
import { Character, isInteger64 } from './values.ts'
import { callableWords, isFunctionName, methodWords } from './words.ts'

const precedences: Readonly<Record<string, number>> = {
  '||': 30,
  '^': 30,
  '|': 30,
  '&&': 60,
  '&': 60,
  '==': 90,
  '!=': 90,
  in: 110,
  '!in': 110,
  '<': 130,
  '<=': 130,
  '>': 130,
  '>=': 130,
  '??': 135,
  '..': 140,
  '..=': 140,
  '+': 150,
  '-': 150,
  '/': 180,
  '*': 180,
  '%': 180,
  '**': 190,
  '<<': 210,
  '>>': 210,
}

function precedenceOf(token: Token): number {
  if (token.kind === 'reserved' && !/^[A-Za-z_]/.test(token.text))
    throw new SyntaxMistake(`Unknown operator: '${token.text}'`, token.at)
  return token.kind === 'symbol' && Object.hasOwn(precedences, token.text) ? precedences[token.text]! : 0
}

const isStopped = (place: Place, token: Token): boolean => place.stopsAtBar && isSymbol(token, '|')

/** @throws SyntaxMistake */
export function parseExpression(state: ParseState, place: Place): Expression {
  const inner = deeper({ ...place, at: state.lexer.peek().at })
  return parseOperations(state, inner, 1, parseUnary(state, inner))
}

/** @throws SyntaxMistake when it cannot be a truth value. */
export function asCondition(expression: Expression): Expression {
  const word = literalWord(expression)
  if (word === undefined || word === 'a boolean') return expression
  throw new SyntaxMistake(`Expecting a boolean expression, not ${word}`, startOf(expression))
}

function parseOperations(state: ParseState, place: Place, least: number, first: Expression): Expression {
  const { lexer } = state
  let left = first
  let here = place
  for (;;) {
    const token = lexer.peek()
    if (isStopped(place, token)) return left
    const precedence = precedenceOf(token)
    if (
      precedence === 0 ||
      precedence < least ||
      (precedence === least && token.kind === 'symbol' && token.text !== '**' && least > 1)
    )
      return left
    lexer.next()
    const name = token.kind === 'symbol' ? token.text : ''
    let right = parseRight(state, here, name)
    const next = precedenceOf(lexer.peek())
    if (next > precedence || (next === precedence && name === '**'))
      right = parseOperations(state, deeper(here), precedence, right)
    here = { ...deeper(here), at: token.at }
    left = operation(name, left, right, token.at)
  }
}

const rangeEnds: ReadonlySet<string> = new Set([']', ')', '}', ',', ';', '=>'])

function parseRight(state: ParseState, place: Place, name: string): Expression {
  const next = state.lexer.peek()
  const text = next.kind === 'symbol' ? next.text : ''
  if (name === '??' && ['break', 'continue', 'return', 'throw'].includes(text))
    return { kind: 'statement', statement: state.parseStatement(state, place), at: next.at }
  if ((name === '..' || name === '..=') && rangeEnds.has(text))
    return { kind: 'constant', value: undefined, at: next.at }
  return parseUnary(state, place)
}

const joined = { '&&': 'and', '||': 'or', '??': 'coalesce' } as const

function operation(name: string, left: Expression, right: Expression, at: Position): Expression {
  if (name === '&&' || name === '||' || name === '??') {
    const kind = joined[name]
    if (name !== '??') {
      asCondition(left)
      asCondition(right)
    }
    const items = [left, right].flatMap((item) => (item.kind === kind ? item.items : [item]))
    return { kind, items, at: left.kind === kind ? left.at : at }
  }
  if (name === 'in') return { kind: 'operation', name: 'contains', args: [right, left], at }
  if (name === '!in')
    return {
      kind: 'operation',
      name: '!',
      args: [{ kind: 'operation', name: 'contains', args: [right, left], at }],
      at,
    }
  return { kind: 'operation', name, args: [left, right], at }
}

function parseUnary(state: ParseState, place: Place): Expression {
  const { lexer } = state
  const token = lexer.peek()
  if (isStopped(place, token)) throw unexpected(token)
  const here = { ...place, at: token.at }
  if (token.kind === 'end') throw new SyntaxMistake('Script is incomplete', token.at)
  if (token.kind !== 'symbol' || !['-', '+', '!'].includes(token.text)) return parsePrimary(state, here)
  lexer.next()
  const operand = parseUnary(state, deeper(here))
  if (token.text !== '!' && operand.kind === 'constant') {
    const { value } = operand
    if (token.text === '+' && (typeof value === 'bigint' || typeof value === 'number')) return operand
    if (typeof value === 'number') return { kind: 'constant', value: -value, at: token.at }
    if (typeof value === 'bigint')
      return { kind: 'constant', value: isInteger64(-value) ? -value : -Number(value), at: token.at }
  }
  return { kind: 'operation', name: token.text, args: [operand], at: token.at }
}

function parsePrimary(state: ParseState, place: Place): Expression {
  const root = parseRoot(state, place)
  if (isStopped(place, state.lexer.peek())) return root
  return parsePostfix(state, place, root)
}

function parseRoot(state: ParseState, place: Place): Expression {
  const { lexer } = state
  const token = lexer.peek()
  const { at } = token
  switch (token.kind) {
    case 'integer':
    case 'float':
      lexer.next()
      return { kind: 'constant', value: token.value, at }
    case 'string':
      lexer.next()
      return { kind: 'constant', value: token.text, at }
    case 'character':
      lexer.next()
      return { kind: 'constant', value: new Character(token.text), at }
    case 'interpolated':
      return parseInterpolation(state, place)
    case 'identifier':
      lexer.next()
      return nameOf(state, place, token.text, at)
    case 'reserved': {
      lexer.next()
      const next = lexer.peek()
      const isCall = isSymbol(next, '(') || isSymbol(next, '!') || isSymbol(next, '()')
      if (isCall && callableWords.has(token.text)) return { kind: 'variable', name: token.text, at }
      if (token.text !== 'this') throw reservedMistake(token.text, at)
      if (place.isFunction) return { kind: 'this', at }
      throw new SyntaxMistake("'this' can only be used in functions", at)
    }
    case 'symbol':
      return parseSymbol(state, place, token.text, at)
    default:
      throw unexpected(token)
  }
}

/** A variable; closures note those of elsewhere. */
function nameOf({ lexer, functions }: ParseState, { frame }: Place, name: string, at: Position): Expression {
  const next = lexer.peek()
  const isCall = isSymbol(next, '(') || isSymbol(next, '!') || isSymbol(next, '()')
  const isFunction = () => [...functions.values()].some((definition) => definition.name === name)
  if (!isCall && !isFunction()) frame.note(name, at)
  return { kind: 'variable', name, at }
}

function parseSymbol(state: ParseState, place: Place, text: string, at: Position): Expression {
  const { lexer } = state
  switch (text) {
    case '()':
      lexer.next()
      return { kind: 'constant', value: undefined, at }
    case 'true':
    case 'false':
      lexer.next()
      return { kind: 'constant', value: text === 'true', at }
    // A range without a start.
    case '..':
    case '..=':
      return { kind: 'constant', value: 0n, at }
    case '{':
      return { kind: 'statement', statement: state.parseBlock(state, deeper(place)), at }
    case '(': {
      lexer.next()
      const expression = parseExpression(state, deeper({ ...place, at, stopsAtBar: false }))
      expect(lexer, ')', 'for a matching ( in this expression')
      return expression
    }
    case 'if':
    case 'while':
    case 'loop':
    case 'do':
    case 'for':
    case 'switch':
      return { kind: 'statement', statement: state.parseStatement(state, place), at }
    case '|':
    case '||':
      return parseClosure(state, place)
    case '[':
      return parseArray(state, deeper(place))
    case '#{':
      return parseMap(state, deeper(place))
    default:
      throw unexpected(lexer.peek())
  }
}

function parseInterpolation(state: ParseState, place: Place): Expression {
  const { lexer } = state
  const here = deeper(place)
  const parts: Expression[] = []
  let token = lexer.next()
  for (;;) {
    if (token.kind === 'mistake') throw token.mistake
    if ((token.kind === 'string' || token.kind === 'interpolated') && token.text !== '')
      parts.push({ kind: 'constant', value: token.text, at: token.at })
    if (token.kind !== 'interpolated') break
    const statement = state.parseBlock(state, here)
    parts.push({ kind: 'statement', statement, at: statement.at })
    token = lexer.continueText()
  }
  return { kind: 'interpolation', parts, at: place.at }
}

const literalMax = 10_000

function parseArray(state: ParseState, place: Place): Expression {
  const { lexer } = state
  const at = lexer.next().at
  const items: Expression[] = []
  const toEnd = 'to end this array literal'
  for (;;) {
    const token = lexer.peek()
    if (items.length >= literalMax)
      throw new SyntaxMistake(`Size of array literal exceeds the maximum limit (${literalMax})`, token.at)
    if (accept(lexer, ']')) break
    if (token.kind === 'end') throw missing(']', toEnd, token.at)
    items.push(parseExpression(state, deeper({ ...place, at, stopsAtBar: false })))
    const next = lexer.peek()
    if (isSymbol(next, ',')) lexer.next()
    else if (next.kind === 'end') throw missing(']', toEnd, next.at)
    else if (!isSymbol(next, ']'))
      throw mistakeOf(next) ?? missing(',', 'to separate the items of this array literal', next.at)
  }
  return { kind: 'array', items, at }
}

function parseMap(state: ParseState, place: Place): Expression {
  const { lexer } = state
  const at = lexer.next().at
  const members: [string, Expression][] = []
  const toEnd = 'to end this object map literal'
  for (;;) {
    if (accept(lexer, '}')) break
    const token = lexer.next()
    if (token.kind === 'end') throw missing('}', toEnd, token.at)
    if (token.kind !== 'identifier' && token.kind !== 'string') throw memberMistake(token, members.length, toEnd)
    if (members.some(([name]) => name === token.text))
      throw new SyntaxMistake(`Duplicated property for object map literal: ${token.text}`, token.at)
    expect(lexer, ':', `to follow the property '${token.text}' in this object map literal`)
    if (members.length >= literalMax)
      throw new SyntaxMistake(
        `Number of properties in object map literal exceeds the maximum limit (${literalMax})`,
        lexer.peek().at,
      )
    members.push([token.text, parseExpression(state, deeper({ ...place, at, stopsAtBar: false }))])
    const next = lexer.peek()
    if (isSymbol(next, ',')) lexer.next()
    else if (next.kind === 'identifier') throw missing(',', 'to separate the items of this object map literal', next.at)
    else if (!isSymbol(next, '}')) throw mistakeOf(next) ?? missing('}', toEnd, next.at)
  }
  return { kind: 'map', members, at }
}

function memberMistake(token: Token, count: number, toEnd: string): SyntaxMistake {
  if (token.kind === 'interpolated') return new SyntaxMistake('Expecting name of a property', token.at)
  if (token.kind === 'reserved' && /^[A-Za-z_]/.test(token.text)) return reservedMistake(token.text, token.at)
  if (token.kind === 'mistake') return token.mistake
  return count === 0 ? missing('}', toEnd, token.at) : new SyntaxMistake('Expecting name of a property', token.at)
}

function parsePostfix(state: ParseState, place: Place, first: Expression): Expression {
  const { lexer } = state
  let root = first
  const links: Link[] = []
  for (;;) {
    const token = lexer.peek()
    if (token.kind !== 'symbol') break
    const isName = root.kind === 'variable' && links.length === 0
    if (isName && (token.text === '(' || token.text === '()' || token.text === '!')) {
      lexer.next()
      const called = root
      if (called.kind !== 'variable') break
      const isEmpty = token.text === '!' ? afterBang(state) : token.text === '()'
      const args = parseArguments(state, { ...place, at: called.at }, called.name, isEmpty)
      root = { kind: 'call', name: called.name, args, at: called.at }
    } else if (token.text === '.' || token.text === '?.') {
      lexer.next()
      links.push(parseMember(state, deeper({ ...place, at: token.at }), token.text === '?.', token.at))
    } else if (token.text === '[' || token.text === '?[') {
      lexer.next()
      const index = parseExpression(state, deeper(deeper({ ...place, at: token.at, stopsAtBar: false })))
      if (links.length === 0) checkIndex(root, index)
      const close = lexer.next()
      if (!isSymbol(close, ']'))
        throw mistakeOf(close) ?? missing(']', 'for a matching [ in this index expression', close.at)
      links.push({ kind: 'index', index, isOptional: token.text === '?[', at: startOf(index), opAt: token.at })
    } else break
  }
  return links.length === 0 ? root : { kind: 'chain', root, links, at: links[0]!.opAt }
}

/** `f!(…)` calls within the caller's scope; answers whether the arguments are empty. */
function afterBang({ lexer }: ParseState): boolean {
  const token = lexer.next()
  if (isSymbol(token, '(')) return false
  if (isSymbol(token, '()')) return true
  throw missing('(', 'to start arguments list of function call', token.at)
}

function parseMember(state: ParseState, place: Place, isOptional: boolean, opAt: Position): Link {
  const { lexer } = state
  const token = lexer.peek()
  if (token.kind === 'reserved' && !methodWords.has(token.text)) throw reservedMistake(token.text, token.at)
  if (token.kind !== 'identifier' && token.kind !== 'reserved')
    throw new SyntaxMistake('Expecting name of a property', token.at)
  lexer.next()
  const { text: name, at } = token
  const next = lexer.peek()
  if (isSymbol(next, '!')) {
    lexer.next()
    afterBang(state)
    throw new SyntaxMistake("method-call style does not support running within the caller's scope", at)
  }
  if (!isSymbol(next, '(') && !isSymbol(next, '()')) {
    if (token.kind === 'reserved') throw reservedMistake(name, at)
    return { kind: 'property', name, isOptional, at, opAt }
  }
  lexer.next()
  const args = parseArguments(state, { ...place, at }, name, isSymbol(next, '()'))
  return { kind: 'method', name, args, isOptional, at, opAt }
}

function parseArguments(state: ParseState, place: Place, name: string, isEmpty: boolean): readonly Expression[] {
  const { lexer } = state
  const args: Expression[] = []
  const toEnd = `to close the arguments list of this function call '${name}'`
  const first = lexer.peek()
  if (isEmpty) return args
  if (first.kind === 'end') throw missing(')', toEnd, first.at)
  if (first.kind === 'mistake') throw first.mistake
  if (accept(lexer, ')')) return args
  const here = deeper({ ...place, stopsAtBar: false })
  for (;;) {
    if (!isSymbol(lexer.peek(), ')')) args.push(parseExpression(state, here))
    const token = lexer.next()
    if (isSymbol(token, ')')) return args
    if (isSymbol(token, ',')) continue
    if (token.kind === 'end') throw missing(')', toEnd, token.at)
    throw mistakeOf(token) ?? missing(',', `to separate the arguments to function call '${name}'`, token.at)
  }
}

/** A literal index must fit a literal that it is put to. */
function checkIndex(root: Expression, index: Expression): void {
  const isMap = root.kind === 'map'
  const isList =
    root.kind === 'array' ||
    root.kind === 'interpolation' ||
    (root.kind === 'constant' && (typeof root.value === 'bigint' || typeof root.value === 'string'))
  if (!isMap && !isList) return
  const word = index.kind === 'and' || index.kind === 'or' ? 'a boolean' : literalWord(index)
  if (word === undefined || word === 'an array' || word === 'an object map') return
  if (isMap ? word === 'a string' : word === 'a number') return
  const shown = word === 'a floating-point number' ? 'a float' : word
  const expected = word === 'a string' ? 'numeric' : 'integer'
  throw new SyntaxMistake(
    isMap
      ? `Object map expects string index, not ${shown}`
      : `Array, string or bit-field expects ${expected} index, not ${shown}`,
    startOf(index),
  )
}

function parseClosure(state: ParseState, place: Place): Expression {
  const { lexer, limits } = state
  const at = place.at
  if (state.functions.size + state.closureCount >= limits.functionsMax)
    throw new SyntaxMistake('Number of functions defined exceeds maximum limit', at)
  const frame = new Frame()
  const params = isSymbol(lexer.next(), '||') || accept(lexer, '|') ? [] : closureParams(state)
  for (const name of params) frame.declare(name)
  const inner = deeper({ ...place, frame, isGlobal: false, isFunction: true, isLoop: false, stopsAtBar: false })
  const statement = state.parseStatement(state, inner)
  const body = statement.kind === 'block' ? statement.block : { statements: [statement], at: statement.at }
  state.closureCount += 1
  // What the closure takes from elsewhere, closures around it take, too.
  for (const name of frame.captured) place.frame.note(name.name, name.at)
  const definition = { name: '', params: [...frame.captured.map(({ name }) => name), ...params], body, thisType: null }
  return { kind: 'closure', definition, captured: frame.captured, at }
}

function closureParams({ lexer }: ParseState): readonly string[] {
  const params: string[] = []
  for (;;) {
    const token = lexer.next()
    if (isSymbol(token, '|')) return params
    if (token.kind !== 'identifier')
      throw paramMistake(token, '|', 'to close the parameters list of anonymous function or closure')
    if (params.includes(token.text))
      throw new SyntaxMistake(`Duplicated parameter ${token.text} for function `, token.at)
    params.push(token.text)
    const next = lexer.next()
    if (isSymbol(next, '|')) return params
    if (!isSymbol(next, ','))
      throw mistakeOf(next) ?? missing(',', 'to separate the parameters of anonymous function', next.at)
  }
}

/** What stands where a parameter must. */
export function paramMistake(token: Token, close: string, why: string): SyntaxMistake {
  if (token.kind === 'mistake') return token.mistake
  if (token.kind === 'reserved') return reservedMistake(token.text, token.at)
  if (token.kind === 'symbol' && isFunctionName(`${token.text}_`))
    return new SyntaxMistake('Expecting name of a variable', token.at)
  return missing(close, why, token.at)
}
