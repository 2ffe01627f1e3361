/**
 * A filter as a tree (M-F14). Spans point into the filter string in which they stand, so that a message can name the
 * place (`↵start:end filter`).
 */

/** A piece of a filter: what stands between `start` and `end` (UTF-16 offsets) of `source`. */
export interface Span {
  readonly source: string
  readonly start: number
  readonly end: number
}

/** A name or a value: `text` is without quotes and escapes, the span is of what stands between the quotes. */
export interface Word extends Span {
  readonly text: string
  readonly quoted: boolean
}

export type Comparison = '=' | '!=' | '>' | '>=' | '<' | '<='
export type Presence = 'EXISTS' | 'IS NULL' | 'IS EMPTY'
export type TextMatch = 'CONTAINS' | 'STARTS WITH'

export type Filter =
  | { readonly kind: 'and' | 'or'; readonly filters: readonly Filter[] }
  | { readonly kind: 'not'; readonly filter: Filter }
  | {
      readonly kind: 'compare'
      readonly field: Word
      readonly operator: Comparison
      readonly value: Word
      readonly at: Span
    }
  | { readonly kind: 'between'; readonly field: Word; readonly from: Word; readonly to: Word; readonly at: Span }
  | { readonly kind: 'in'; readonly field: Word; readonly negated: boolean; readonly values: readonly Word[] }
  | { readonly kind: 'presence'; readonly field: Word; readonly negated: boolean; readonly test: Presence }
  /** `at`: the operator's words. */
  | {
      readonly kind: 'text'
      readonly field: Word
      readonly negated: boolean
      readonly test: TextMatch
      readonly value: Word
      readonly at: Span
    }
  | {
      readonly kind: 'geo-radius'
      readonly lat: Word
      readonly lng: Word
      readonly metres: Word
      readonly resolution: Word | null
      readonly at: Span
    }
  | {
      readonly kind: 'geo-box'
      readonly topRight: readonly [lat: Word, lng: Word]
      readonly bottomLeft: readonly [lat: Word, lng: Word]
      readonly at: Span
    }
  | { readonly kind: 'geo-polygon'; readonly points: readonly (readonly [lat: Word, lng: Word])[]; readonly at: Span }
  | {
      readonly kind: 'vectors'
      readonly embedder: Word | null
      readonly part: 'fragment' | 'userProvided' | 'documentTemplate' | 'regenerate' | null
      readonly fragment: Word | null
      readonly negated: boolean
      readonly at: Span
    }
  | { readonly kind: 'foreign'; readonly field: Word; readonly filter: Filter; readonly at: Span }

/** `↵1:5 many = Glass`: what a message about `span` ends with. Columns count characters, from 1, within the line. */
export function spanTail(span: Span): string {
  const line = span.source.lastIndexOf('\n', span.start - 1) + 1
  const column = count(span.source.slice(line, span.start)) + 1
  const length = count(span.source.slice(span.start, span.end))
  return `\n${column}:${column + length} ${span.source}`
}

function count(text: string): number {
  let characters = 0
  for (const _ of text) characters += 1
  return characters
}

/** Quotes, backslashes and control characters escaped, as the reference echoes input. */
export function escapeDebug(text: string): string {
  return text.replaceAll(/^\p{Mn}|[\\'"\p{Cc}]/gu, (character) => {
    switch (character) {
      case '\n':
        return '\\n'
      case '\r':
        return '\\r'
      case '\t':
        return '\\t'
      case '\0':
        return '\\0'
      case '\\':
      case "'":
      case '"':
        return `\\${character}`
      default:
        return `\\u{${character.codePointAt(0)!.toString(16)}}`
    }
  })
}
