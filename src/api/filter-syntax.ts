/** Reads one filter string (M-F14) into a tree. Recursion is bounded by `filterDepthMax`. */
import { ApiError, type ErrorCode } from './errors.ts'
import { escapeDebug, type Filter, type Span, spanTail, type Word } from './filter-tree.ts'

/** The reference counts four levels for a parenthesis and one for a `NOT`, from three. */
export const filterDepthMax = 150
const depthStart = 3
const depthOfParenthesis = 4

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

const wordForm = /[\p{L}\p{Nd}\p{Nl}\p{No}\p{Alphabetic}_\-.]+/uy
/** A dot and a name: quoted, or of the characters of a word without its dots. */
const vectorName = /\.(?:"((?:[^"\\]|\\.)*)"|([\p{L}\p{Nd}\p{Nl}\p{No}\p{Alphabetic}_-]*))/uy
const blankForm = /\s*/uy
const syntaxForm = /[^\s()=<>!]*/uy
const floatForm = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/uy

/** @throws ApiError with `code` and messages 43 to 49. */
export function parseFilterText(source: string, code: ErrorCode): Filter {
  return new FilterParser(source, code).whole()
}

const geoForms = {
  _geoRadius:
    'The `_geoRadius` filter must be in the form: `_geoRadius(latitude, longitude, radius, optionalResolution)`.',
  _geoBoundingBox:
    'The `_geoBoundingBox` filter expects two pairs of arguments: `_geoBoundingBox([latitude, longitude], [latitude, longitude])`.',
  _geoPolygon:
    "The `_geoPolygon` filter doesn't match the expected format: `_geoPolygon([latitude, longitude], [latitude, longitude])`.",
} as const
type GeoName = keyof typeof geoForms

const vectorParts = [
  ['fragments', 'fragment'],
  ['userProvided', 'userProvided'],
  ['documentTemplate', 'documentTemplate'],
  ['regenerate', 'regenerate'],
] as const

const geoNames = ['_geoRadius', '_geoBoundingBox', '_geoPolygon', '_geoDistance', '_geoPoint', '_geo'] as const

class FilterParser {
  readonly #source: string
  readonly #code: ErrorCode
  #at = 0

  constructor(source: string, code: ErrorCode) {
    this.#source = source
    this.#code = code
  }

  whole(): Filter {
    const filter = this.#or(depthStart)
    if (this.#source.slice(this.#at).trim() !== '')
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
    for (let end = this.#at; ; end = this.#at) {
      this.#blank()
      if (!this.#takeKeyword(keyword)) {
        this.#at = end
        break
      }
      filters.push(part())
    }
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
    if (this.#takeKeyword('NOT')) return negate(this.#not(depth + 1))
    this.#at = start
    return this.#primary(depth)
  }

  #primary(depth: number): Filter {
    this.#blank()
    const start = this.#at
    if (this.#source[start] === '(') {
      this.#at += 1
      this.#blank()
      const inner = this.#or(depth + depthOfParenthesis)
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
    // These words need no blank behind them, and take none.
    if (this.#takeTag('EXISTS')) return { kind: 'presence', field, negated, test: 'EXISTS' }
    for (const test of ['CONTAINS', 'STARTS WITH'] as const) {
      const span = this.#span(this.#at, this.#at + test.length)
      if (this.#takeTag(test)) return { kind: 'text', field, negated, test, value: this.#value(), at: span }
    }
    if (!negated && this.#takeKeyword('IS')) {
      const not = this.#takeKeyword('NOT')
      if (this.#takeTag('NULL')) return { kind: 'presence', field, negated: not, test: 'IS NULL' }
      if (this.#takeTag('EMPTY')) return { kind: 'presence', field, negated: not, test: 'IS EMPTY' }
    }
    if (!negated) {
      this.#at = at
      const from = this.#tryValue()
      const word = this.#at
      // `TO` with nothing behind it is no operation.
      if (from !== undefined && /\s/u.test(this.#source[word + 2] ?? '') && this.#takeKeyword('TO'))
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
      throw this.#error(
        `Expected only comma-separated field names inside \`IN[..]\` but instead found \`${this.#echo(this.#rest())}\`.`,
        this.#rest(),
      )
    }
    this.#at += 1
    this.#blank()
    return values
  }

  #geo(start: number): Filter | undefined {
    const name = geoNames.find((word) => this.#startsWithWord(word))
    if (name === undefined) return undefined
    if (name === '_geoDistance' || name === '_geoPoint' || name === '_geo') throw this.#reservedGeo(name, this.#rest())
    this.#at = start + name.length
    if (name === '_geoRadius') return this.#geoRadius()
    this.#expect('(', name)
    const points: (readonly [Word, Word])[] = []
    do {
      this.#blank()
      points.push(this.#point(name))
      this.#blank()
    } while (this.#take(','))
    this.#expect(')', name)
    const last = points.at(-1)![1]
    const at = points[0]![0]
    if (name === '_geoPolygon') {
      if (points.length < 3)
        throw this.#error(
          `The \`_geoPolygon\` filter expects at least 3 points but only ${points.length} were specified`,
          last,
        )
      this.#blank()
      return { kind: 'geo-polygon', points, at }
    }
    const [topRight, bottomLeft] = points
    if (topRight === undefined || bottomLeft === undefined || points.length !== 2) throw this.#geoForm(name)
    this.#blank()
    return { kind: 'geo-box', topRight, bottomLeft, at }
  }

  #geoRadius(): Filter {
    this.#expect('(', '_geoRadius')
    const words = this.#numbers('_geoRadius')
    this.#expect(')', '_geoRadius')
    const [lat, lng, metres, resolution = null] = words
    if (lat === undefined || lng === undefined || metres === undefined || words.length > 4)
      throw this.#error(
        `Was expecting 3 or 4 arguments for \`_geoRadius\`, but instead found ${words.length}.`,
        this.#rest(),
      )
    this.#blank()
    return { kind: 'geo-radius', lat, lng, metres, resolution, at: lat }
  }

  /** `[lat, lng]` */
  #point(name: GeoName): readonly [Word, Word] {
    this.#expect('[', name)
    const words = this.#numbers(name)
    this.#expect(']', name)
    const [lat, lng] = words
    if (lat === undefined || lng === undefined || words.length !== 2)
      throw this.#error(`Was expecting 2 coordinates but instead found ${words.length}.`, lat ?? this.#rest())
    return [lat, lng]
  }

  /** Comma separated numbers. */
  #numbers(name: GeoName): Word[] {
    const words: Word[] = []
    let comma = this.#at
    do {
      this.#blank()
      floatForm.lastIndex = this.#at
      const text = floatForm.exec(this.#source)?.[0]
      if (text === undefined) {
        // The list ends before its last comma, and what follows is told to be wrong from there.
        this.#at = comma
        throw this.#geoForm(name)
      }
      words.push({ ...this.#span(this.#at, this.#at + text.length), text, quoted: false })
      this.#at += text.length
      this.#blank()
      comma = this.#at
    } while (this.#take(','))
    return words
  }

  #take(character: string): boolean {
    if (this.#source[this.#at] !== character) return false
    this.#at += 1
    return true
  }

  #expect(character: string, name: GeoName): void {
    if (!this.#take(character)) throw this.#geoForm(name)
  }

  #geoForm(name: GeoName): ApiError {
    return this.#error(geoForms[name], this.#rest())
  }

  /** `_vectors[.embedder[.fragments.x|.userProvided|.documentTemplate|.regenerate]] [NOT] EXISTS` */
  #vectors(start: number): Filter | undefined {
    wordForm.lastIndex = start
    const text = wordForm.exec(this.#source)?.[0]
    if (text !== '_vectors' && !text?.startsWith('_vectors.')) return undefined
    const at = this.#span(start, start + '_vectors'.length)
    this.#at = at.end
    const [embedder, part, fragment] = this.#vectorNames()
    this.#blank()
    const operation = this.#at
    const negated = this.#takeKeyword('NOT')
    if (!this.#takeTag('EXISTS')) {
      if (negated)
        throw this.#error(
          'Was expecting an operation like `EXISTS` or `NOT EXISTS` after the vector filter.',
          this.#span(operation, this.#source.length),
        )
      this.#at = start
      return undefined
    }
    const known = vectorParts.find(([name]) => name === part?.text)?.[1] ?? null
    if (part !== undefined && known === null)
      throw this.#error(
        `Was expecting one of \`fragments\`, \`userProvided\`, \`documentTemplate\`, \`regenerate\` or nothing, but instead found \`${part.text}\`.`,
        part,
      )
    return {
      kind: 'vectors',
      embedder: embedder ?? null,
      part: known,
      fragment: known === 'fragment' ? (fragment ?? null) : null,
      negated,
      at,
    }
  }

  /** The names behind `_vectors`, each after a dot, bare or in quotes. */
  #vectorNames(): readonly Word[] {
    const names: Word[] = []
    for (;;) {
      vectorName.lastIndex = this.#at
      const found = vectorName.exec(this.#source)
      if (found === null) return names
      const [whole, inQuotes, bare = ''] = found
      const quoted = inQuotes !== undefined
      const from = this.#at + (quoted ? 2 : 1)
      const span = this.#span(from, from + (inQuotes ?? bare).length)
      names.push({ ...span, text: quoted ? inQuotes.replaceAll('\\"', '"') : bare, quoted })
      this.#at += whole.length
    }
  }

  /** `_foreign(field, filter)` */
  #foreign(start: number, depth: number): Filter | undefined {
    if (!this.#startsWithWord('_foreign')) return undefined
    const open = start + '_foreign'.length
    // As a plain name it stands before an operation: `_foreign = 3`.
    if (this.#source[open] !== '(' && open < this.#source.length) return undefined
    this.#at = open
    const field = this.#take('(') ? this.#tryValue() : undefined
    if (field === undefined || !this.#take(',')) throw this.#foreignForm()
    this.#blank()
    if (this.#source[this.#at] === ')') throw this.#foreignForm()
    const filter = this.#or(depth + depthOfParenthesis)
    this.#blank()
    if (!this.#take(')')) throw this.#foreignForm()
    this.#blank()
    return { kind: 'foreign', field, filter, at: field }
  }

  #foreignForm(): ApiError {
    return this.#error(
      `Was expecting a field name and an condition inside \`_foreign(..)\` filter but instead found \`${this.#echo(this.#rest())}\`.`,
      this.#rest(),
    )
  }

  /** A value that must be there (messages 45 to 48). */
  #value(): Word {
    this.#blank()
    const start = this.#at
    const geo = geoNames.find((name) => this.#startsWithWord(name))
    if (geo === '_geoDistance' || geo === '_geoPoint' || geo === '_geo') throw this.#reservedGeo(geo, this.#rest())
    if (geo !== undefined)
      throw this.#error(`The \`${geo}\` filter is an operation and can't be used as a value.`, this.#rest())
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
        if (next === undefined) throw this.#error('Malformed value: `\\\\`.', this.#span(at, this.#source.length))
        if (next === quote) {
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

  #takeTag(tag: string): boolean {
    if (!this.#source.startsWith(tag, this.#at)) return false
    this.#at += tag.length
    return true
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

/** Twice not is nothing, which shows where a filter is echoed. */
function negate(filter: Filter): Filter {
  switch (filter.kind) {
    case 'not':
      return filter.filter
    case 'in':
    case 'presence':
    case 'text':
    case 'vectors':
      return { ...filter, negated: !filter.negated }
    default:
      return { kind: 'not', filter }
  }
}
