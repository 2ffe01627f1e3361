/** Cuts the text of a function into tokens, one at a time: inside an interpolated string the parser says when text goes on. */

import { scanNumber } from './number-token.ts'
import { none, type Position, positionOf, SyntaxMistake } from './script-error.ts'
import { isInteger64 } from './values.ts'
import { isReserved, keywords, lateMistakes, mayPrecedeSign, symbols } from './words.ts'

export type Token =
  | { readonly kind: 'symbol' | 'identifier' | 'reserved'; readonly text: string; readonly at: Position }
  | { readonly kind: 'integer'; readonly value: bigint; readonly at: Position }
  | { readonly kind: 'float'; readonly value: number; readonly at: Position }
  | { readonly kind: 'character' | 'string'; readonly text: string; readonly at: Position }
  /** The text of a string up to `${`. */
  | { readonly kind: 'interpolated'; readonly text: string; readonly at: Position }
  | { readonly kind: 'comment'; readonly at: Position }
  | { readonly kind: 'mistake'; readonly mistake: SyntaxMistake; readonly at: Position }
  | { readonly kind: 'end'; readonly at: Position }

const end = ''

export class Lexer {
  readonly #chars: readonly string[]
  #next = 0
  #line = 1
  #column = 0
  #peeked: Token | undefined
  #mayBeSign = true

  constructor(text: string) {
    this.#chars = Array.from(text)
  }

  peek(): Token {
    this.#peeked ??= this.#read()
    return this.#peeked
  }

  next(): Token {
    const token = this.peek()
    this.#peeked = undefined
    return token
  }

  /** The rest of an interpolated string behind `}`. Nothing may have been peeked at. */
  continueText(): Token {
    return this.#string('`', none, true)
  }

  #read(): Token {
    const token = this.#token()
    this.#mayBeSign = mayPrecedeSign(token)
    return token
  }

  get #at(): Position {
    return positionOf(this.#line, this.#column)
  }

  #look(offset = 0): string {
    return this.#chars[this.#next + offset] ?? end
  }

  #take(): string {
    const char = this.#look()
    this.#next += 1
    this.#column += 1
    return char
  }

  #newLine(): void {
    this.#line += 1
    this.#column = 0
  }

  #mistake(text: string, at: Position): Token {
    return { kind: 'mistake', mistake: new SyntaxMistake(text, at), at }
  }

  #token(): Token {
    while (this.#next < this.#chars.length) {
      const char = this.#look()
      if (char === '\n') {
        this.#take()
        this.#newLine()
      } else if (/^[\t\f\r ]$/.test(char)) this.#take()
      else if (char === '/' && (this.#look(1) === '/' || this.#look(1) === '*')) {
        const comment = this.#comment()
        if (comment !== undefined) return comment
      } else return this.#word(char)
    }
    this.#column += 1
    return { kind: 'end', at: this.#at }
  }

  #word(char: string): Token {
    if (/[0-9]/.test(char)) return this.#number(none)
    if (char === '-' && this.#mayBeSign && /[0-9]/.test(this.#look(1))) {
      this.#take()
      return this.#number(this.#at)
    }
    if (/[A-Za-z_]/.test(char)) return this.#identifier()
    if (char === '"') return this.#string('"', this.#startAt(), false)
    if (char === '`') return this.#interpolated()
    if (char === "'") return this.#character()
    if (char === '#' && (this.#look(1) === '"' || this.#look(1) === '#')) return this.#rawString()
    return this.#symbol()
  }

  /** Of the character that comes next. */
  #startAt(): Position {
    return positionOf(this.#line, this.#column + 1)
  }

  /** A comment of documentation; others are skipped. */
  #comment(): Token | undefined {
    const at = this.#startAt()
    this.#take()
    const isLine = this.#take() === '/'
    const mark = isLine ? '/' : '*'
    const isDocumentation = this.#look() === mark && this.#look(1) !== mark && !(mark === '*' && this.#look(1) === '/')
    if (isLine) {
      while (this.#next < this.#chars.length) {
        const char = this.#take()
        if (char === '\r' && this.#look() === '\n') this.#take()
        if (char === '\n' || char === '\r') {
          this.#newLine()
          break
        }
      }
    } else {
      let depth = 1
      while (depth > 0 && this.#next < this.#chars.length) {
        const char = this.#take()
        if (char === '\n') this.#newLine()
        else if (char === '/' && this.#look() === '*') depth += this.#take().length
        else if (char === '*' && this.#look() === '/') depth -= this.#take().length
      }
    }
    return isDocumentation ? { kind: 'comment', at } : undefined
  }

  #number(signAt: Position): Token {
    const at = signAt === none ? this.#startAt() : signAt
    const scanned = scanNumber(this.#chars, this.#next)
    while (this.#next < scanned.end) this.#take()
    const text = signAt === none ? scanned.text : `-${scanned.text}`
    if (scanned.radix !== 10) {
      const digits = signAt === none ? scanned.text.slice(2) : `-${scanned.text}`.slice(2)
      const prefix = { 16: '0x', 8: '0o', 2: '0b' }[scanned.radix]
      const value = /^0*[0-9a-fA-F]{1,64}$/.test(digits) ? BigInt(`${prefix}${digits}`) : undefined
      if (value === undefined || value >= 2n ** 64n) return this.#mistake(`Invalid number: '${digits}'`, at)
      return { kind: 'integer', value: BigInt.asIntN(64, value), at }
    }
    if (/^-?0*[0-9]{1,19}$/.test(text) && isInteger64(BigInt(text))) return { kind: 'integer', value: BigInt(text), at }
    const value = Number(text)
    return Number.isNaN(value) ? this.#mistake(`Invalid number: '${text}'`, at) : { kind: 'float', value, at }
  }

  #identifier(): Token {
    const at = this.#startAt()
    let text = this.#take()
    while (/^[A-Za-z0-9_]$/.test(this.#look())) text += this.#take()
    if (keywords.has(text)) return { kind: 'symbol', text, at }
    if (isReserved(text)) return { kind: 'reserved', text, at }
    if (!/^_*[A-Za-z]/.test(text)) return this.#mistake(`Variable name is not proper: '${text}'`, at)
    return { kind: 'identifier', text, at }
  }

  #symbol(): Token {
    const at = this.#startAt()
    const rest = this.#chars.slice(this.#next, this.#next + 4).join('')
    if (/^!in(?![A-Za-z0-9_])/.test(rest)) return this.#taken('!in', 3, at)
    const text = symbols.find((symbol) => rest.startsWith(symbol))
    if (text === undefined) return this.#mistake(`Unexpected '${this.#take()}'`, at)
    return this.#taken(text, text.length, at)
  }

  #taken(text: string, count: number, at: Position): Token {
    for (let taken = 0; taken < count; taken += 1) this.#take()
    const late = lateMistakes.get(text)
    if (late !== undefined) return this.#mistake(late, at)
    return { kind: isReserved(text) ? 'reserved' : 'symbol', text, at }
  }

  #character(): Token {
    const at = this.#startAt()
    if (this.#look(1) === "'") {
      this.#take()
      return this.#mistake("Invalid character: ''", at)
    }
    const token = this.#string("'", at, false)
    if (token.kind !== 'string') return token
    const [first, more] = Array.from(token.text)
    if (first === undefined || more !== undefined) return this.#mistake(`Invalid character: '${token.text}'`, at)
    return { kind: 'character', text: first, at }
  }

  #interpolated(): Token {
    const at = this.#startAt()
    this.#take()
    if (this.#look() === '\r') {
      this.#take()
      if (this.#look() === '\n') this.#take()
      this.#newLine()
    } else if (this.#look() === '\n') {
      this.#take()
      this.#newLine()
    }
    return this.#string('`', at, true)
  }

  #rawString(): Token {
    const at = this.#startAt()
    let count = 0
    while (this.#look() === '#') count += this.#take().length
    if (this.#look() !== '"')
      return this.#mistake(this.#look() === end ? 'Open string is not terminated' : `Unexpected '${this.#take()}'`, at)
    this.#take()
    const close = ['"', ...'#'.repeat(count)]
    let text = ''
    while (this.#next < this.#chars.length) {
      if (close.every((char, offset) => this.#look(offset) === char)) {
        for (const _ of close) this.#take()
        return { kind: 'string', text, at }
      }
      const char = this.#take()
      if (char === '\n') this.#newLine()
      text += char
    }
    return this.#mistake('Open string is not terminated', at)
  }

  /** `at`: of the opening quote when it is still to be taken. `isVerbatim`: no escapes, may span lines and have `${`. */
  #string(quote: string, at: Position, isVerbatim: boolean): Token {
    if (!isVerbatim) this.#take()
    const start = at === none ? this.#at : at
    let firstAt = none
    let text = ''
    let skipUntil = 0
    for (;;) {
      if (this.#next >= this.#chars.length) {
        this.#column += 1
        return this.#mistake('Open string is not terminated', start)
      }
      let char = this.#take()
      if (isVerbatim && char === '$' && this.#look() === '{')
        return { kind: 'interpolated', text, at: at === none ? firstAt : at }
      if (isVerbatim && char === '\\' && this.#look() === '$' && this.#look(1) === '{') {
        this.#next += 1
        char = '$'
      } else if (char === quote) {
        if (this.#look() !== quote) return { kind: 'string', text, at: at === none ? firstAt : at }
        this.#take()
      } else if (!isVerbatim && char === '\\') {
        const escaped = this.#escape(quote, start)
        if (typeof escaped !== 'string') return escaped
        if (escaped === '' && this.#column === 0) skipUntil = (start % 0x10000) + 1
        text += escaped
        continue
      } else if (char === '\n') {
        if (!isVerbatim) {
          this.#column -= 1
          return this.#mistake('Open string is not terminated', start)
        }
        this.#newLine()
      } else if (char === '\r' && this.#look() === '\n') continue
      if (firstAt === none) firstAt = this.#at
      if (this.#column < skipUntil && /^\s$/.test(char)) continue
      skipUntil = 0
      text += char
    }
  }

  /** What an escape stands for; the backslash is taken. An escaped line end stands for nothing. */
  #escape(quote: string, start: Position): string | Token {
    if (this.#next >= this.#chars.length) return this.#mistake('Open string is not terminated', start)
    const char = this.#take()
    if (char === quote) return quote
    const simple = { r: '\r', n: '\n', t: '\t', '\\': '\\' }[char]
    if (simple !== undefined) return simple
    if (char === '\n' && quote === '"') {
      this.#newLine()
      return ''
    }
    const length = { x: 2, u: 4, U: 8 }[char]
    let sequence = `\\${char}`
    const broken = () => this.#mistake(`Invalid escape sequence: '${sequence}'`, this.#at)
    if (length === undefined) return broken()
    for (let taken = 0; taken < length; taken += 1) {
      if (this.#next >= this.#chars.length) return broken()
      const digit = this.#take()
      sequence += digit
      if (!/^[0-9a-fA-F]$/.test(digit)) return broken()
    }
    const code = Number.parseInt(sequence.slice(2), 16)
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return broken()
    return String.fromCodePoint(code)
  }
}
