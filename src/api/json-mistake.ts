/** Says where bytes stop being JSON, in the words of the reference's parser. Iterative: depth costs no stack. */

/** Arrays and objects within one another; the reference's parser stops here too. */
export const jsonDepthMax = 127

export interface MistakeOptions {
  /** Of the first byte: lines from 1, bytes before it in its line. Default: line 1, 0. */
  readonly line?: number
  readonly column?: number
  /** true = as the reference skims a document without building it: its words differ in a few places. */
  readonly skimmed?: boolean
}

/** "at line 1 column 5" of byte `at`. */
export function placeIn(bytes: Uint8Array, at: number, { line = 1, column = 0 }: MistakeOptions = {}): string {
  let lines = line
  let start = -column
  for (let index = 0; index < at; index += 1) {
    if (bytes[index] === 0x0a) {
      lines += 1
      start = index + 1
    }
  }
  return `at line ${lines} column ${at - start}`
}

/** undefined = nothing is wrong. `bytes` must be UTF-8. */
export function jsonMistake(bytes: Uint8Array, options: MistakeOptions = {}): string | undefined {
  return new JsonWalk(bytes, options).mistake()
}

type Expectation = 'value' | 'first-item' | 'key' | 'first-key' | 'after'

class JsonWalk {
  readonly #bytes: Uint8Array
  readonly #options: MistakeOptions
  #at = 0

  constructor(bytes: Uint8Array, options: MistakeOptions) {
    this.#bytes = bytes
    this.#options = options
  }

  mistake(): string | undefined {
    const skimmed = this.#options.skimmed === true
    const stack: ('[' | '{')[] = []
    let expect: Expectation = 'value'
    for (;;) {
      this.#skip()
      const byte = this.#bytes[this.#at]
      const top = stack.at(-1)
      if (byte === undefined) return this.#endedEarly(expect, top)
      if (expect === 'after') {
        if (top === undefined) return this.#fail('trailing characters', this.#at + 1)
        if (byte === 0x2c) {
          this.#at += 1
          this.#skip()
          if (top === '[' && this.#bytes[this.#at] === 0x5d)
            return this.#fail(skimmed ? 'expected value' : 'trailing comma', this.#at + 1)
          expect = top === '[' ? 'value' : 'key'
        } else if (byte === (top === '[' ? 0x5d : 0x7d)) {
          this.#at += 1
          stack.pop()
        } else return this.#fail(top === '[' ? 'expected `,` or `]`' : 'expected `,` or `}`', this.#at + 1)
      } else if (expect === 'key' || expect === 'first-key') {
        if (byte === 0x7d && (expect === 'first-key' || !skimmed)) {
          if (expect === 'key') return this.#fail('trailing comma', this.#at + 1)
          this.#at += 1
          stack.pop()
          expect = 'after'
          continue
        }
        if (byte !== 0x22) return this.#fail('key must be a string', this.#at + 1)
        const bad = this.#string()
        if (bad !== undefined) return bad
        this.#skip()
        if (this.#at >= this.#bytes.length) return this.#fail('EOF while parsing an object', this.#at)
        if (this.#bytes[this.#at] !== 0x3a) return this.#fail('expected `:`', this.#at + 1)
        this.#at += 1
        expect = 'value'
      } else if (expect === 'first-item' && byte === 0x5d) {
        this.#at += 1
        stack.pop()
        expect = 'after'
      } else if (byte === 0x5b || byte === 0x7b) {
        if (stack.length >= jsonDepthMax) return this.#fail('recursion limit exceeded', this.#at + 1)
        stack.push(byte === 0x5b ? '[' : '{')
        this.#at += 1
        expect = byte === 0x5b ? 'first-item' : 'first-key'
      } else {
        const bad = this.#scalar(byte)
        if (bad !== undefined) return bad
        expect = 'after'
      }
    }
  }

  #endedEarly(expect: Expectation, top: '[' | '{' | undefined): string | undefined {
    if (expect === 'after' && top === undefined) return undefined
    const inList = top === '[' && (expect === 'after' || expect === 'first-item')
    const inObject =
      top === '{' && (expect === 'after' || expect === 'first-key' || (expect === 'key' && this.#options.skimmed))
    return this.#fail(`EOF while parsing ${inList ? 'a list' : inObject ? 'an object' : 'a value'}`, this.#at)
  }

  #scalar(byte: number): string | undefined {
    if (byte === 0x22) return this.#string()
    if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) return this.#number()
    if (byte === 0x74) return this.#word('true')
    if (byte === 0x66) return this.#word('false')
    if (byte === 0x6e) return this.#word('null')
    return this.#fail('expected value', this.#at + 1)
  }

  #word(literal: string): string | undefined {
    for (let index = 0; index < literal.length; index += 1) {
      if (this.#at + index >= this.#bytes.length) return this.#fail('EOF while parsing a value', this.#bytes.length)
      if (this.#bytes[this.#at + index] !== literal.charCodeAt(index))
        return this.#fail('expected ident', this.#at + index + 1)
    }
    this.#at += literal.length
    return undefined
  }

  #string(): string | undefined {
    this.#at += 1
    for (;;) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) return this.#fail('EOF while parsing a string', this.#at)
      if (byte === 0x22) {
        this.#at += 1
        return undefined
      }
      if (byte < 0x20)
        return this.#fail(
          'control character (\\u0000-\\u001F) found while parsing a string',
          this.#options.skimmed === true ? this.#at : this.#at + 1,
        )
      if (byte === 0x5c) {
        const bad = this.#escape()
        if (bad !== undefined) return bad
      } else this.#at += 1
    }
  }

  #escape(): string | undefined {
    const next = this.#bytes[this.#at + 1]
    if (next === undefined) return this.#fail('EOF while parsing a string', this.#bytes.length)
    if (next !== 0x75) {
      if (!'"\\/bfnrt'.includes(String.fromCharCode(next))) return this.#fail('invalid escape', this.#at + 2)
      this.#at += 2
      return undefined
    }
    const unit = this.#hex(this.#at + 2)
    if (typeof unit === 'string') return unit
    this.#at += 6
    // A skimmed document is not looked at so closely; whoever builds it later does.
    if (this.#options.skimmed === true) return undefined
    if (unit >= 0xdc00 && unit <= 0xdfff) return this.#fail('lone leading surrogate in hex escape', this.#at)
    if (unit < 0xd800 || unit > 0xdfff) return undefined
    if (this.#bytes[this.#at] !== 0x5c) return this.#fail('unexpected end of hex escape', this.#at + 1)
    if (this.#bytes[this.#at + 1] !== 0x75) return this.#fail('unexpected end of hex escape', this.#at + 2)
    const low = this.#hex(this.#at + 2)
    if (typeof low === 'string') return low
    this.#at += 6
    return low >= 0xdc00 && low <= 0xdfff ? undefined : this.#fail('lone leading surrogate in hex escape', this.#at)
  }

  #hex(at: number): number | string {
    const digits = Buffer.from(this.#bytes.subarray(at, at + 4)).toString('latin1')
    if (digits.length < 4) return this.#fail('EOF while parsing a string', this.#bytes.length)
    return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : this.#fail('invalid escape', at + 4)
  }

  #number(): string | undefined {
    const start = this.#at
    if (this.#bytes[this.#at] === 0x2d) this.#at += 1
    if (this.#bytes[this.#at] === 0x30) {
      this.#at += 1
      if (this.#isDigit()) return this.#fail('invalid number', this.#at + 1)
    } else if (!this.#digits()) return this.#noDigit()
    if (this.#bytes[this.#at] === 0x2e) {
      this.#at += 1
      if (!this.#digits()) return this.#noDigit()
    }
    if (this.#bytes[this.#at] === 0x65 || this.#bytes[this.#at] === 0x45) {
      this.#at += 1
      if (this.#bytes[this.#at] === 0x2b || this.#bytes[this.#at] === 0x2d) this.#at += 1
      if (!this.#digits()) return this.#noDigit()
    }
    if (this.#options.skimmed === true) return undefined
    const value = Number(Buffer.from(this.#bytes.subarray(start, this.#at)).toString('latin1'))
    return Number.isFinite(value) ? undefined : this.#fail('number out of range', this.#at)
  }

  #isDigit(): boolean {
    const byte = this.#bytes[this.#at]
    return byte !== undefined && byte >= 0x30 && byte <= 0x39
  }

  #digits(): boolean {
    const start = this.#at
    while (this.#isDigit()) this.#at += 1
    return this.#at > start
  }

  #noDigit(): string {
    return this.#at >= this.#bytes.length
      ? this.#fail('EOF while parsing a value', this.#at)
      : this.#fail('invalid number', this.#at + 1)
  }

  #skip(): void {
    for (;;) {
      const byte = this.#bytes[this.#at]
      if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return
      this.#at += 1
    }
  }

  #fail(message: string, at: number): string {
    return `${message} ${placeIn(this.#bytes, at, this.#options)}`
  }
}
