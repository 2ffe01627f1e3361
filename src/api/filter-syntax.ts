/** Reads one filter string (M-F14) into a tree. Recursion is bounded by `filterDepthMax`. */
import { ApiError, type ErrorCode } from './errors.ts'
import { escapeDebug, type Filter, type Span, spanTail, type Word } from './filter-tree.ts'

/** Parentheses and `NOT` within one another. */
export const filterDepthMax = 150

const operations =
  '`=`, `!=`, `>=`, `>`, `<=`, `<`, `IN`, `NOT IN`, `TO`, `EXISTS`, `NOT EXISTS`, `IS NULL`, `IS NOT NULL`, `IS EMPTY`, `IS NOT EMPTY`, `CONTAINS`, `NOT CONTAINS`, `STARTS WITH`, `NOT STARTS WITH`, `_geoRadius`, `_geoBoundingBox` or `_geoPolygon`'

const keywords = new Set([
  'AND',
  'OR',
  'NOT',
  'IN',
  'TO',
  'EXISTS',
  'IS',
  'NULL',
  'EMPTY',
  'CONTAINS',
  'STARTS',
  'WITH',
  '_geoRadius',
  '_geoBoundingBox',
  '_geoPolygon',
])

const wordForm = /[\p{L}\p{Nd}\p{Nl}\p{No}\p{Alphabetic}_\-/.]+/uy
const blankForm = /\s*/uy
const syntaxForm = /[^\s()=<>!]*/uy
const floatForm = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/uy

/** @throws ApiError with `code` and messages 43 to 49. */
export function parseFilterText(source: string, code: ErrorCode): Filter {
  return new FilterParser(source, code).whole()
}

class FilterParser {
  readonly #source: string
  readonly #code: ErrorCode
  #at = 0

  constructor(source: string, code: ErrorCode) {
    this.#source = source
    this.#code = code
  }

  whole(): Filter {
    const filter = this.#or(0)
    if (this.#at < this.#source.length)
      throw this.#error(
        `Found unexpected characters at the end of the filter: \`${this.#echo(this.#rest())}\`. You probably forgot an \`OR\` or an \`AND\` rule.`,
        this.#rest(),
      )
    return filter
  }

  #or(depth: number): Filter {
    return this.#chain('or', 'OR', () => this.#and(depth))
  }

  #and(depth: number): Filter {
    return this.#chain('and', 'AND', () => this.#not(depth))
  }

  #chain(kind: 'and' | 'or', keyword: string, part: () => Filter): Filter {
    const filters = [part()]
    while (this.#takeKeyword(keyword)) filters.push(part())
    return filters.length === 1 ? filters[0]! : { kind, filters }
  }

  #not(depth: number): Filter {
    if (depth > filterDepthMax)
      throw this.#error(
        'The filter exceeded the maximum depth limit. Try rewriting the filter so that it contains fewer nested conditions.',
        this.#rest(),
      )
    const start = this.#at
    this.#blank()
    if (this.#takeKeyword('NOT')) return { kind: 'not', filter: this.#not(depth + 1) }
    this.#at = start
    return this.#primary(depth)
  }

  #primary(depth: number): Filter {
    this.#blank()
    const start = this.#at
    if (this.#source[start] === '(') {
      this.#at += 1
      this.#blank()
      const inner = this.#or(depth + 1)
      this.#blank()
      if (this.#source[this.#at] !== ')') throw this.#unclosed(start, ')')
      this.#at += 1
      this.#blank()
      return inner
    }
    return this.#geo(start) ?? this.#vectors(start) ?? this.#foreign(start, depth) ?? this.#condition(start)
  }

  /** A name, then an operation. */
  #condition(start: number): Filter {
    const field = this.#tryValue()
    if (field === undefined) {
      const reserved = this.#reservedWord()
      if (reserved !== undefined) throw this.#reservedError(reserved)
      throw this.#noOperation(start)
    }
    const operator = /(?:<=|>=|!=|<|>|=)/uy
    operator.lastIndex = this.#at
    const symbol = operator.exec(this.#source)?.[0]
    if (symbol !== undefined) {
      const at = this.#span(this.#at, this.#at + symbol.length)
      this.#at += symbol.length
      return { kind: 'compare', field, operator: comparisonOf(symbol), value: this.#value(), at }
    }
    const negated = this.#takeKeyword('NOT')
    const at = this.#at
    if (this.#takeKeyword('IN')) return { kind: 'in', field, negated, values: this.#list() }
    if (this.#takeKeyword('EXISTS')) return { kind: 'presence', field, negated, test: 'EXISTS' }
    if (this.#takeKeyword('CONTAINS')) {
      const span = this.#span(at, at + 'CONTAINS'.length)
      return { kind: 'text', field, negated, test: 'CONTAINS', value: this.#value(), at: span }
    }
    if (this.#takeKeyword('STARTS') && this.#takeKeyword('WITH')) {
      const span = this.#span(at, this.#endOfWords(at))
      return { kind: 'text', field, negated, test: 'STARTS WITH', value: this.#value(), at: span }
    }
    if (!negated && this.#takeKeyword('IS')) {
      const not = this.#takeKeyword('NOT')
      if (this.#takeKeyword('NULL')) return { kind: 'presence', field, negated: not, test: 'IS NULL' }
      if (this.#takeKeyword('EMPTY')) return { kind: 'presence', field, negated: not, test: 'IS EMPTY' }
    }
    if (!negated) {
      this.#at = at
      const from = this.#tryValue()
      const word = this.#at
      if (from !== undefined && this.#takeKeyword('TO'))
        return { kind: 'between', field, from, to: this.#value(), at: this.#span(word, word + 2) }
    }
    throw this.#noOperation(start)
  }

  /** `[a, b,]` behind `IN`. */
  #list(): readonly Word[] {
    if (this.#source[this.#at] !== '[') throw this.#error('Expected `[` after `IN` keyword.', this.#rest())
    this.#at += 1
    const values: Word[] = []
    for (;;) {
      const value = this.#tryValue()
      if (value === undefined) break
      values.push(value)
      if (this.#source[this.#at] !== ',') break
      this.#at += 1
    }
    this.#blank()
    if (this.#source[this.#at] !== ']') {
      if (this.#at >= this.#source.length)
        throw this.#error('Expected matching `]` after the list of field names given to `IN[`', this.#rest())
      const reserved = this.#reservedWord()
      const rest = this.#echo(this.#rest())
      throw this.#error(
        reserved === undefined
          ? `Expected only comma-separated field names inside \`IN[..]\` but instead found \`${rest}\`.`
          : `Expected only comma-separated field names inside \`IN[..]\` but instead found \`${rest}\`, which is a keyword. To use \`${rest}\` as a field name or a value, surround it by quotes.`,
        this.#rest(),
      )
    }
    this.#at += 1
    this.#blank()
    return values
  }

  #geo(start: number): Filter | undefined {
    const name = ['_geoRadius', '_geoBoundingBox', '_geoPolygon', '_geoDistance', '_geoPoint', '_geo'].find((word) =>
      this.#startsWithWord(word),
    )
    if (name === undefined) return undefined
    if (name === '_geoDistance' || name === '_geoPoint' || name === '_geo') {
      if (this.#source[start + name.length] !== '(') return undefined
      throw this.#reservedGeo(name, this.#rest())
    }
    this.#at += name.length
    const at = this.#span(start, this.#source.length)
    if (name === '_geoRadius') {
      const words = this.#numbers('(', ')')
      if (words === undefined) throw this.#geoForm(name, at)
      const [lat, lng, metres, resolution = null] = words
      if (lat === undefined || lng === undefined || metres === undefined || words.length > 4)
        throw this.#error(`Was expecting 3 or 4 arguments for \`_geoRadius\`, but instead found ${words.length}.`, at)
      this.#blank()
      return { kind: 'geo-radius', lat, lng, metres, resolution, at }
    }
    const points = this.#points()
    if (points === undefined) throw this.#geoForm(name, at)
    this.#blank()
    if (name === '_geoPolygon') {
      if (points.length < 3) throw this.#geoForm(name, at)
      return { kind: 'geo-polygon', points, at }
    }
    const [topRight, bottomLeft] = points
    if (topRight === undefined || bottomLeft === undefined || points.length !== 2) throw this.#geoForm(name, at)
    return { kind: 'geo-box', topRight, bottomLeft, at }
  }

  #geoForm(name: string, at: Span): ApiError {
    const forms: Readonly<Record<string, string>> = {
      _geoRadius:
        'The `_geoRadius` filter must be in the form: `_geoRadius(latitude, longitude, radius, optionalResolution)`.',
      _geoBoundingBox:
        'The `_geoBoundingBox` filter expects two pairs of arguments: `_geoBoundingBox([latitude, longitude], [latitude, longitude])`.',
      _geoPolygon:
        'The `_geoPolygon` filter expects at least 3 pairs of arguments: `_geoPolygon([latitude, longitude], [latitude, longitude], [latitude, longitude])`.',
    }
    return this.#error(forms[name] ?? name, at)
  }

  /** `([lat, lng], …)` */
  #points(): (readonly [Word, Word])[] | undefined {
    if (this.#source[this.#at] !== '(') return undefined
    this.#at += 1
    const points: (readonly [Word, Word])[] = []
    for (;;) {
      this.#blank()
      const pair = this.#numbers('[', ']')
      const [lat, lng] = pair ?? []
      if (lat === undefined || lng === undefined || pair?.length !== 2) return undefined
      points.push([lat, lng])
      this.#blank()
      if (this.#source[this.#at] !== ',') break
      this.#at += 1
    }
    if (this.#source[this.#at] !== ')') return undefined
    this.#at += 1
    return points
  }

  /** Comma separated numbers between two delimiters; undefined = something else stands there. */
  #numbers(open: string, close: string): Word[] | undefined {
    if (this.#source[this.#at] !== open) return undefined
    this.#at += 1
    const words: Word[] = []
    for (;;) {
      this.#blank()
      floatForm.lastIndex = this.#at
      const text = floatForm.exec(this.#source)?.[0]
      if (text === undefined) return undefined
      words.push({ ...this.#span(this.#at, this.#at + text.length), text, quoted: false })
      this.#at += text.length
      this.#blank()
      if (this.#source[this.#at] !== ',') break
      this.#at += 1
    }
    if (this.#source[this.#at] !== close) return undefined
    this.#at += 1
    return words
  }

  /** `_vectors[.embedder[.fragments.x|.userProvided|.documentTemplate|.regenerate]] [NOT] EXISTS` */
  #vectors(start: number): Filter | undefined {
    wordForm.lastIndex = start
    const text = wordForm.exec(this.#source)?.[0]
    if (text !== '_vectors' && !text?.startsWith('_vectors.')) return undefined
    const at = this.#span(start, start + text.length)
    this.#at = start + text.length
    this.#blank()
    const negated = this.#takeKeyword('NOT')
    if (!this.#takeKeyword('EXISTS')) {
      this.#at = start
      return undefined
    }
    const piece = (from: number, length: number): Word => ({
      ...this.#span(from, from + length),
      text: this.#source.slice(from, from + length),
      quoted: false,
    })
    const [, embedder, part, fragment] = text.split('.')
    const embedderAt = start + '_vectors.'.length
    const word = embedder === undefined ? null : piece(embedderAt, embedder.length)
    const kinds = {
      fragments: 'fragment',
      userProvided: 'userProvided',
      documentTemplate: 'documentTemplate',
      regenerate: 'regenerate',
    } as const
    const known = part === undefined ? null : (kinds[part as keyof typeof kinds] ?? null)
    const fragmentAt = embedderAt + (embedder?.length ?? 0) + 1 + (part?.length ?? 0) + 1
    return {
      kind: 'vectors',
      embedder: word,
      part: known,
      fragment: known === 'fragment' && fragment !== undefined ? piece(fragmentAt, fragment.length) : null,
      negated,
      at,
    }
  }

  /** `_foreign(field, filter)` */
  #foreign(start: number, depth: number): Filter | undefined {
    if (!this.#startsWithWord('_foreign') || this.#source[start + '_foreign'.length] !== '(') return undefined
    this.#at += '_foreign('.length
    const field = this.#value()
    if (this.#source[this.#at] !== ',') throw this.#noOperation(start)
    this.#at += 1
    const filter = this.#or(depth + 1)
    this.#blank()
    if (this.#source[this.#at] !== ')') throw this.#unclosed(start, ')')
    this.#at += 1
    this.#blank()
    return { kind: 'foreign', field, filter, at: this.#span(start, this.#at) }
  }

  /** A value that must be there (messages 45 to 48). */
  #value(): Word {
    this.#blank()
    const start = this.#at
    for (const name of ['_geoRadius', '_geoBoundingBox', '_geoPolygon'])
      if (this.#startsWithWord(name) && this.#source[start + name.length] === '(')
        throw this.#error(`The \`${name}\` filter is an operation and can't be used as a value.`, this.#rest())
    for (const name of ['_geoDistance', '_geoPoint', '_geo'])
      if (this.#startsWithWord(name) && this.#source[start + name.length] === '(')
        throw this.#reservedGeo(name, this.#rest())
    const value = this.#tryValue()
    if (value !== undefined) return value
    const reserved = this.#reservedWord()
    if (reserved !== undefined) throw this.#reservedError(reserved)
    syntaxForm.lastIndex = start
    const wrong = this.#span(start, start + (syntaxForm.exec(this.#source)?.[0].length ?? 0))
    const echo = this.#echo(wrong)
    throw this.#error(
      echo.trim() === ''
        ? 'Was expecting a value but instead got nothing.'
        : `Was expecting a value but instead got \`${echo}\`.`,
      wrong,
    )
  }

  /** A word or a quoted string and the blanks behind it; undefined = neither, and nothing was read but blanks. */
  #tryValue(): Word | undefined {
    this.#blank()
    const start = this.#at
    const quote = this.#source[start]
    if (quote === '"' || quote === "'") return this.#quoted(start, quote)
    wordForm.lastIndex = start
    const text = wordForm.exec(this.#source)?.[0]
    if (text === undefined || keywords.has(text)) return undefined
    this.#at = start + text.length
    this.#blank()
    return { ...this.#span(start, start + text.length), text, quoted: false }
  }

  #quoted(start: number, quote: string): Word {
    let text = ''
    let from = start + 1
    for (let at = from; at < this.#source.length; at += 1) {
      const character = this.#source[at]
      if (character === '\\') {
        const next = this.#source[at + 1]
        if (next === quote || next === '\\') {
          text += this.#source.slice(from, at) + next
          from = at + 2
        }
        at += 1
      } else if (character === quote) {
        text += this.#source.slice(from, at)
        this.#at = at + 1
        this.#blank()
        return { ...this.#span(start + 1, at), text, quoted: true }
      }
    }
    throw this.#unclosed(start, quote)
  }

  #reservedWord(): Word | undefined {
    this.#blank()
    wordForm.lastIndex = this.#at
    const text = wordForm.exec(this.#source)?.[0]
    if (text === undefined || !keywords.has(text)) return undefined
    return { ...this.#span(this.#at, this.#at + text.length), text, quoted: false }
  }

  #blank(): void {
    blankForm.lastIndex = this.#at
    this.#at += blankForm.exec(this.#source)?.[0].length ?? 0
  }

  #startsWithWord(word: string): boolean {
    wordForm.lastIndex = this.#at
    return wordForm.exec(this.#source)?.[0] === word
  }

  /** Takes a keyword and the blanks behind it. */
  #takeKeyword(keyword: string): boolean {
    if (!this.#startsWithWord(keyword)) return false
    this.#at += keyword.length
    this.#blank()
    return true
  }

  /** End of `STARTS WITH` that begins at `at`. */
  #endOfWords(at: number): number {
    const end = /STARTS\s+WITH/uy
    end.lastIndex = at
    return at + (end.exec(this.#source)?.[0].length ?? 0)
  }

  #span(start: number, end: number): Span {
    return { source: this.#source, start, end }
  }

  #rest(): Span {
    return this.#span(this.#at, this.#source.length)
  }

  #echo(span: Span): string {
    return escapeDebug(this.#source.slice(span.start, span.end))
  }

  #noOperation(start: number): ApiError {
    const rest = this.#span(start, this.#source.length)
    const echo = this.#echo(rest)
    return this.#error(
      `Was expecting an operation ${operations} ${echo.trim() === '' ? 'but instead got nothing.' : `at \`${echo}\`.`}`,
      rest,
    )
  }

  #reservedError(word: Word): ApiError {
    return this.#error(
      `Was expecting a value but instead got \`${word.text}\`, which is a reserved keyword. To use \`${word.text}\` as a field name or a value, surround it by quotes.`,
      word,
    )
  }

  #reservedGeo(name: string, at: Span): ApiError {
    return this.#error(
      `\`${name}\` is a reserved keyword and thus can't be used as a filter expression. Use the \`_geoRadius(latitude, longitude, distance)\` or \`_geoBoundingBox([latitude, longitude], [latitude, longitude])\` built-in rules to filter on \`_geo\` coordinates.`,
      at,
    )
  }

  #unclosed(start: number, delimiter: string): ApiError {
    const rest = this.#span(start, this.#source.length)
    return this.#error(
      `Expression \`${this.#echo(rest)}\` is missing the following closing delimiter: \`${delimiter}\`.`,
      rest,
    )
  }

  #error(message: string, at: Span): ApiError {
    return new ApiError(this.#code, `${message}${spanTail(at)}`)
  }
}

function comparisonOf(symbol: string): '=' | '!=' | '>' | '>=' | '<' | '<=' {
  switch (symbol) {
    case '!=':
    case '>':
    case '>=':
    case '<':
    case '<=':
      return symbol
    default:
      return '='
  }
}
