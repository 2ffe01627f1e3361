/** Highlighted and cropped texts (M-F15). */
import type { Token, Tokenizer } from '../text/tokenize.ts'
import { bestInterval } from './crop-interval.ts'
import type { Match, MatchingWords } from './matching-words.ts'

export interface FormatOptions {
  readonly highlight: boolean
  /** Words to keep; null = all. */
  readonly crop: number | null
}

export interface FormatMarks {
  readonly preTag: string
  readonly postTag: string
  readonly cropMarker: string
}

/** UTF-8 offsets, as the API tells them. */
export interface MatchBounds {
  readonly start: number
  readonly length: number
  readonly indices?: readonly number[]
}

/** One text with its tokens and matches, for formatting and for telling positions. */
export class FormattedText {
  readonly #text: string
  readonly #tokens: readonly Token[]
  readonly #matches: readonly Match[]

  constructor(text: string, tokenizer: Tokenizer, words: MatchingWords, locales: readonly string[] | undefined) {
    this.#text = text
    this.#tokens = tokenizer.tokenize(text, locales)
    this.#matches = words.find(text, this.#tokens)
  }

  bounds(indices: readonly number[]): readonly MatchBounds[] {
    return this.#matches.map(({ firstToken, length }) => {
      const start = this.#tokens[firstToken]!.start
      const bounds = {
        start: Buffer.byteLength(this.#text.slice(0, start)),
        length: Buffer.byteLength(this.#text.slice(start, start + length)),
      }
      return indices.length === 0 ? bounds : { ...bounds, indices }
    })
  }

  format(options: FormatOptions, marks: FormatMarks): string {
    const text = this.#text
    const [from, to] = options.crop === null || options.crop === 0 ? [0, text.length] : this.#cropBounds(options.crop)
    let formatted = from > 0 ? marks.cropMarker : ''
    let at = from
    if (options.highlight) {
      for (const match of this.#matches) {
        const start = this.#tokens[match.firstToken]!.start
        const end = this.#tokens[match.lastToken]!.end
        if (end < from || start > to) continue
        const visibleStart = Math.max(start, from)
        const visibleEnd = Math.min(end, to)
        const highlightEnd = Math.min(visibleStart + match.length, visibleEnd)
        formatted += text.slice(at, visibleStart)
        formatted += marks.preTag + text.slice(visibleStart, highlightEnd) + marks.postTag
        formatted += text.slice(highlightEnd, visibleEnd)
        at = visibleEnd
      }
    }
    formatted += text.slice(at, to)
    return to < text.length ? formatted + marks.cropMarker : formatted
  }

  /** The part of the text to keep: around the best matches, or from the start when there is none. */
  #cropBounds(size: number): readonly [from: number, to: number] {
    const tokens = this.#tokens
    if (this.#matches.length === 0) return this.#grow(size, 0, 0, 1)
    const [first, last] = bestInterval(this.#matches, size)
    const matched = last.lastWord - first.firstWord + 1
    const after = Math.min(last.lastToken + 1, tokens.length)
    if (size >= matched) return this.#grow(size - matched, first.firstToken, after, 1)
    // A phrase longer than the crop is cut from its end.
    return this.#grow(matched - size, 0, Math.min(after, tokens.length - 1), -1)
  }

  /**
   * Takes `words` more words, alternately before token `before` and from token `after` on; separators come along, and a
   * soft one is crossed rather than a hard one. With `step` -1 the end shrinks instead of growing.
   */
  #grow(words: number, before: number, after: number, step: 1 | -1): readonly [from: number, to: number] {
    const tokens = this.#tokens
    let remaining = words
    let left = before - 1
    let right = after
    const kindAt = (index: number) => tokens[index]?.kind
    const isWord = (kind: Token['kind']) => kind === 'word' || kind === 'stop'
    while (remaining > 0) {
      const leftKind = kindAt(left)
      const rightKind = kindAt(right)
      if (leftKind === undefined && rightKind === undefined) break
      if (leftKind !== undefined && rightKind !== undefined) {
        if (isWord(leftKind) && isWord(rightKind)) {
          left -= 1
          remaining -= 1
          if (remaining > 0) {
            right += step
            remaining -= 1
          }
        } else if (isWord(leftKind)) {
          left -= 1
          remaining -= 1
        } else if (isWord(rightKind)) {
          right += step
          remaining -= 1
        } else if (leftKind === rightKind) {
          left -= 1
          if (remaining > 1) right += step
        } else if (leftKind === 'hard') right += step
        else left -= 1
      } else if (leftKind !== undefined) {
        if (isWord(leftKind)) remaining -= 1
        left -= 1
      } else {
        if (rightKind !== undefined && isWord(rightKind)) remaining -= 1
        right += step
      }
    }
    const from = tokens[left]?.end ?? 0
    const to = tokens[right]?.start ?? this.#text.length
    return [from, to]
  }
}
