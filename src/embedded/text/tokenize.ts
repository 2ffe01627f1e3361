/**
 * Cuts text into words and separators (M-F1) and counts positions (M-F2). Documents, queries, synonyms and highlighting
 * use this one tokeniser, so that a word is always found in the form in which it was indexed.
 *
 * Tokens cover the text without gaps: each token's `end` is the next one's `start`.
 */
import { chineseWordEnds } from './chinese.ts'
import { decompose, normaliseWord, recomposeRings, stopWordForm } from './normalise.ts'
import { type Script, script, scriptOf } from './scripts.ts'
import { defaultSeparators, isHardSeparator } from './separators.ts'

/** `soft` and `hard` are separators; a `stop` word takes a position but is not indexed. */
export type TokenKind = 'word' | 'stop' | 'soft' | 'hard'

export interface Token {
  readonly kind: TokenKind
  /** UTF-16 offsets into the text. */
  readonly start: number
  readonly end: number
  readonly normalised: string
  readonly script: Script
}

/** The settings that tokenisation depends on, named as in the index settings. */
export interface TokenizerOptions {
  readonly separatorTokens: readonly string[]
  readonly nonSeparatorTokens: readonly string[]
  readonly dictionary: readonly string[]
  readonly stopWords: readonly string[]
}

export interface Tokenizer {
  /** @param locales  ISO 639 codes that the text may be in; absent = found from the text. */
  tokenize(text: string, locales?: readonly string[]): Token[]
}

/** Hard separators, and the border between two values of one attribute, count as this many words (M-F2). */
export const hardDistance = 8
/** Words beyond this position of an attribute are not indexed. */
export const positionMax = 65_535
const wordBytesMax = 250

/** What a UTF-16 unit can begin: 0 a word, 1 a soft and 2 a hard separator, 3 look it up among the long entries. */
type UnitClass = 0 | 1 | 2 | 3

/** Everything that is fixed by the options. Immutable, so that one tokeniser serves all requests of an index. */
export function createTokenizer(options: TokenizerOptions): Tokenizer {
  const separators = new Set(defaultSeparators())
  for (const token of options.separatorTokens) if (token !== '') separators.add(token)
  for (const token of options.nonSeparatorTokens) separators.delete(token)
  const stopWords = new Set(options.stopWords.map(stopWordForm))
  const classes = new Uint8Array(0x10000)
  /** Entries by first UTF-16 unit, longest first, for those units whose class is 3. */
  const entries = new Map<number, string[]>()
  for (const separator of separators) {
    const unit = separator.charCodeAt(0)
    if (separator.length === 1 && classes[unit] === 0) classes[unit] = isHardSeparator(separator) ? 2 : 1
    if (separator.length > 1) classes[unit] = 3
  }
  for (const word of options.dictionary) if (word !== '') classes[word.charCodeAt(0)] = 3
  for (const entry of [...separators, ...options.dictionary]) {
    const unit = entry.charCodeAt(0)
    if (classes[unit] !== 3) continue
    const listed = entries.get(unit) ?? []
    listed.push(entry)
    entries.set(unit, listed)
  }
  for (const listed of entries.values()) listed.sort((a, b) => b.length - a.length)

  const kindOf = (form: string): TokenKind => {
    if (stopWords.has(form)) return 'stop'
    if (!separators.has(form)) return 'word'
    return isHardSeparator(form) ? 'hard' : 'soft'
  }

  /** Length of the entry that begins at `at`, or 0. */
  const matchLength = (text: string, at: number, end: number): number => {
    for (const entry of entries.get(text.charCodeAt(at)) ?? [])
      if (at + entry.length <= end && text.startsWith(entry, at)) return entry.length
    return 0
  }

  const addToken = (tokens: Token[], text: string, start: number, end: number, of: Script, keepsRings: boolean) => {
    const source = text.slice(start, end)
    const plain = isAscii(source)
    const decomposed = plain ? source : decompose(source)
    const kind = kindOf(keepsRings ? recomposeRings(decomposed) : decomposed)
    if (plain && of === script.latin) {
      tokens.push({ kind, start, end, normalised: source.toLowerCase(), script: of })
      return
    }
    const normalised = kind === 'word' || kind === 'stop' ? normaliseWord(decomposed, of, keepsRings) : decomposed
    tokens.push({ kind, start, end, normalised, script: of })
  }

  const tokenizeRun = (
    tokens: Token[],
    text: string,
    from: number,
    to: number,
    of: Script,
    locales: readonly string[],
  ) => {
    const locale = locales.length === 1 ? locales[0] : undefined
    const segment = segmenterFor(of, text, from, to, locales)
    const keepsRings = locale === 'sv' || locale === 'swe'
    const addWords = (start: number, end: number) => {
      if (segment === undefined || isNumeric(text, start, end)) addToken(tokens, text, start, end, of, keepsRings)
      else for (const [first, last] of segment(text, start, end)) addToken(tokens, text, first, last, of, keepsRings)
    }
    let wordStart = from
    let at = from
    while (at < to) {
      const unitClass = classes[text.charCodeAt(at)] as UnitClass
      const length = unitClass === 0 ? 0 : unitClass === 3 ? matchLength(text, at, to) : 1
      if (length === 0) {
        at += 1
        continue
      }
      if (wordStart < at) addWords(wordStart, at)
      addToken(tokens, text, at, at + length, of, false)
      at += length
      wordStart = at
    }
    if (wordStart < to) addWords(wordStart, to)
  }

  /** The common case, all ASCII: one script, no decomposition. */
  const tokenizeAscii = (text: string): Token[] => {
    const tokens: Token[] = []
    const length = text.length
    let of: Script = script.other
    let wordStart = 0
    let hasUpper = false
    const endWord = (end: number) => {
      const source = text.slice(wordStart, end)
      const kind = stopWords.has(source) ? 'stop' : 'word'
      tokens.push({ kind, start: wordStart, end, normalised: hasUpper ? source.toLowerCase() : source, script: of })
      hasUpper = false
    }
    let at = 0
    while (at < length) {
      const code = text.charCodeAt(at)
      const unitClass = classes[code] as UnitClass
      if (unitClass === 0) {
        if (code >= 65 && code <= 90) hasUpper = true
        of = script.latin
        at += 1
        continue
      }
      const size = unitClass === 3 ? matchLength(text, at, length) : 1
      if (size === 0) {
        if (code >= 65 && code <= 90) hasUpper = true
        of = script.latin
        at += 1
        continue
      }
      if (wordStart < at) endWord(at)
      const source = text.slice(at, at + size)
      const kind = unitClass === 1 && stopWords.size === 0 ? 'soft' : kindOf(source)
      const isWord = kind === 'word' || kind === 'stop'
      tokens.push({ kind, start: at, end: at + size, normalised: isWord ? source.toLowerCase() : source, script: of })
      at += size
      wordStart = at
    }
    if (wordStart < length) endWord(length)
    return tokens
  }

  return {
    tokenize(text, locales) {
      if (isAscii(text)) return tokenizeAscii(text)
      const tokens: Token[] = []
      for (const [from, to, of] of scriptRuns(text)) {
        tokenizeRun(tokens, text, from, to, of, locales ?? [])
      }
      return tokens
    },
  }
}

/**
 * Calls `use` for each word that is indexed, with its position (M-F2), and answers the position to pass for the
 * attribute's next value.
 *
 * @param position  0 for an attribute's first value, else what the call for the value before answered.
 */
export function eachWord(
  tokens: readonly Token[],
  position: number,
  use: (word: string, position: number) => void,
): number {
  let offset = position
  let last = position
  let before: TokenKind | undefined
  let started = false
  for (const token of tokens) {
    const isSeparator = token.kind === 'soft' || token.kind === 'hard'
    if (!started && isSeparator) continue
    started = true
    if (isSeparator) {
      if (token.kind === 'hard' || before !== 'hard') before = token.kind
      continue
    }
    if (token.normalised === '') continue
    offset += before === 'hard' ? hardDistance : before === undefined ? 0 : 1
    before = token.kind
    if (offset >= positionMax) break
    if (token.kind === 'stop') continue
    const word = token.normalised.trim()
    if (word === '' || (word.length * 3 > wordBytesMax && Buffer.byteLength(word) > wordBytesMax)) continue
    last = offset
    use(word, offset)
  }
  return last + hardDistance
}

/** Position bucket under which a word is stored (M-F2): exact up to 15, 24 up to 23, then the next power of two. */
export function positionBucket(position: number): number {
  if (position < 16) return position
  if (position < 24) return 24
  return Math.min(2 ** Math.ceil(Math.log2(position)), positionMax)
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    // Control characters are dropped from words, which the short path does not do.
    if (code >= 0x7f || (code < 0x20 && (code < 0x09 || code > 0x0d))) return false
  }
  return true
}

/** Runs of one script; characters of no script stay in the run before them. */
function scriptRuns(text: string): [from: number, to: number, of: Script][] {
  const runs: [number, number, Script][] = []
  let from = 0
  let current: Script = script.other
  for (let index = 0; index < text.length; index += 1) {
    const point = text.codePointAt(index)!
    const found = scriptOf(point)
    if (found !== script.other && found !== current) {
      if (current !== script.other) {
        runs.push([from, index, current])
        from = index
      }
      current = found
    }
    if (point > 0xffff) index += 1
  }
  if (from < text.length) runs.push([from, text.length, current])
  return runs
}

type Segment = (text: string, start: number, end: number) => Iterable<readonly [number, number]>

const segmenters = new Map<string, Segment>()

function dictionarySegmenter(locale: string): Segment {
  const known = segmenters.get(locale)
  if (known !== undefined) return known
  const words = new Intl.Segmenter(locale, { granularity: 'word' })
  const segment: Segment = function* (text, start, end) {
    // The dictionary knows few words in kana alone and gives them letter by letter: such letters are joined again.
    let joined = -1
    for (const part of words.segment(text.slice(start, end))) {
      const from = start + part.index
      const isLetter = part.segment.length === 1 && /[\u3041-\u3096]/.test(part.segment)
      if (isLetter) {
        if (joined < 0) joined = from
        continue
      }
      if (joined >= 0) yield [joined, from] as const
      joined = -1
      yield [from, from + part.segment.length] as const
    }
    if (joined >= 0) yield [joined, end] as const
  }
  segmenters.set(locale, segment)
  return segment
}

/** An Arabic article at the head of a word is a word of its own, so that the noun is found without it. */
const splitArticle: Segment = function* (text, start, end) {
  if (end - start > 2 && /^[اأإآٱ]ل/.test(text.slice(start, start + 2))) {
    yield [start, start + 2]
    yield [start + 2, end]
  } else yield [start, end]
}

const cutChinese: Segment = function* (text, start, end) {
  let from = start
  for (const size of chineseWordEnds(text.slice(start, end))) {
    yield [from, start + size]
    from = start + size
  }
}

/** More kana than this share of the characters makes a text Japanese. */
const kanaShareMax = 0.05

/** How a run of Chinese or Japanese characters is cut; a single locale that is neither leaves it whole. */
function eastAsianSegmenter(run: string, locales: readonly string[]): Segment | undefined {
  const [locale] = locales
  if (locale !== undefined && locales.length === 1) {
    if (isChinese(locale)) return cutChinese
    return locale.startsWith('j') ? dictionarySegmenter('ja') : undefined
  }
  const kana = run.match(/[\u3040-\u30ff]/g)?.length ?? 0
  const letters = run.match(/[\u3040-\u30ff\u3400-\u9fff]/g)?.length ?? 0
  const isJapanese = kana > kanaShareMax * letters || (locale !== undefined && !locales.some(isChinese))
  return isJapanese ? dictionarySegmenter('ja') : cutChinese
}

const isChinese = (locale: string): boolean => ['zh', 'zho', 'cmn'].includes(locale)

function segmenterFor(
  of: Script,
  text: string,
  from: number,
  to: number,
  locales: readonly string[],
): Segment | undefined {
  switch (of) {
    case script.cj:
      return eastAsianSegmenter(text.slice(from, to), locales)
    case script.thai:
      return dictionarySegmenter('th')
    case script.khmer:
      return dictionarySegmenter('km')
    case script.arabic:
      return splitArticle
    default:
      return undefined
  }
}

function isNumeric(text: string, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    const code = text.charCodeAt(index)
    const isAsciiSymbol = code > 0x20 && code < 0x7f && !/[A-Za-z]/.test(text[index]!)
    if (!isAsciiSymbol && !/\p{N}/u.test(text[index]!)) return false
  }
  return true
}
