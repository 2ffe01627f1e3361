/** What a parser knows while it reads: tokens, variables in sight, and how deep it is. */
import type { Lexer, Token } from './lexer.ts'
import { type Position, SyntaxMistake } from './script-error.ts'
import type { Expression, FunctionDefinition, Statement } from './syntax.ts'
import { reservedText, tokenText } from './words.ts'

export interface ParseLimits {
  /** Depth of expressions outside and inside functions. */
  readonly depthMax: number
  readonly functionDepthMax: number
  readonly functionsMax: number
}

interface Variable {
  readonly name: string
  isConstant: boolean
}

/** Variables of the script, of one function or of one closure. */
export class Frame {
  readonly variables: Variable[] = []
  /** Where the block begins that is being read. */
  blockStart = 0
  /** Names of elsewhere that a closure uses. */
  readonly captured: { name: string; at: Position }[] = []
  declare(name: string, isConstant = false): void {
    this.variables.push({ name, isConstant })
  }

  /** Declares anew, in place when the block has the name already. */
  redeclare(name: string, isConstant: boolean): void {
    const known = this.variables.findLastIndex((variable) => variable.name === name)
    if (known >= this.blockStart) this.variables[known]!.isConstant = isConstant
    else this.declare(name, isConstant)
  }

  /** A name that is none of the frame's own. */
  note(name: string, at: Position): void {
    if (this.find(name) === undefined && !this.captured.some((known) => known.name === name))
      this.captured.push({ name, at })
  }

  find(name: string): Variable | undefined {
    return this.variables.findLast((variable) => variable.name === name)
  }
}

export interface Place {
  readonly frame: Frame
  readonly level: number
  readonly levelMax: number
  readonly at: Position
  readonly isGlobal: boolean
  readonly isFunction: boolean
  readonly isLoop: boolean
  /** `|` ends an expression: cases of a switch. */
  readonly stopsAtBar: boolean
}

/** @throws SyntaxMistake when it is too deep. */
export function deeper(place: Place, at: Position = place.at): Place {
  if (place.level >= place.levelMax) throw new SyntaxMistake('Expression exceeds maximum complexity', place.at)
  return { ...place, level: place.level + 1, at }
}

export interface ParseState {
  readonly lexer: Lexer
  readonly limits: ParseLimits
  readonly functions: Map<string, FunctionDefinition>
  /** Closures count as functions. */
  closureCount: number
  /** Set where the two halves of the parser are put together. */
  readonly parseStatement: (state: ParseState, place: Place) => Statement
  readonly parseBlock: (state: ParseState, place: Place) => Statement & { readonly kind: 'block' }
}

export const isSymbol = (token: Token, text: string): boolean => token.kind === 'symbol' && token.text === text

/** Takes the symbol if it comes next. */
export function accept(lexer: Lexer, text: string): boolean {
  if (!isSymbol(lexer.peek(), text)) return false
  lexer.next()
  return true
}

/** Takes the symbol and answers where it stood. @throws SyntaxMistake */
export function expect(lexer: Lexer, text: string, why: string): Position {
  const token = lexer.next()
  if (isSymbol(token, text)) return token.at
  throw mistakeOf(token) ?? missing(text, why, token.at)
}

export const mistakeOf = (token: Token): SyntaxMistake | undefined =>
  token.kind === 'mistake' ? token.mistake : undefined

export const missing = (text: string, why: string, at: Position): SyntaxMistake =>
  new SyntaxMistake(`Expecting '${text}' ${why}`, at)

export const unexpected = (token: Token): SyntaxMistake =>
  mistakeOf(token) ?? new SyntaxMistake(`Unexpected '${tokenText(token)}'`, token.at)

export const reservedMistake = (text: string, at: Position): SyntaxMistake => new SyntaxMistake(reservedText(text), at)

/** @throws SyntaxMistake */
export function variableName(lexer: Lexer): { readonly name: string; readonly at: Position } {
  const token = lexer.next()
  if (token.kind === 'identifier') return { name: token.text, at: token.at }
  if (token.kind === 'reserved' && /^[A-Za-z_]/.test(token.text)) throw reservedMistake(token.text, token.at)
  throw mistakeOf(token) ?? new SyntaxMistake('Expecting name of a variable', token.at)
}

/** A condition must not be a block, nor an assignment. */
export function notBlock(lexer: Lexer, what: string): void {
  const token = lexer.peek()
  if (isSymbol(token, '{')) throw new SyntaxMistake(`Expecting ${what} expression`, token.at)
}

export function notAssignment(lexer: Lexer): void {
  const token = lexer.peek()
  if (isSymbol(token, '=')) throw new SyntaxMistake("Possibly a typo of '=='?", token.at)
}

/** What a literal is called where it cannot stand. */
export function literalWord(expression: Expression): string | undefined {
  if (expression.kind === 'array') return 'an array'
  if (expression.kind === 'map') return 'an object map'
  if (expression.kind === 'interpolation') return 'a string'
  if (expression.kind !== 'constant') return undefined
  switch (typeof expression.value) {
    case 'undefined':
      return '()'
    case 'bigint':
      return 'a number'
    case 'number':
      return 'a floating-point number'
    case 'string':
      return 'a string'
    case 'boolean':
      return 'a boolean'
    default:
      return 'a character'
  }
}
