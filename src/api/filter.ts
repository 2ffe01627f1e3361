/**
 * Filters (M-F14) as a tree. Spans point into the filter string in which they stand, so that a message can name the
 * place (`↵start:end filter`).
 */
import type { Json } from '../lib/json.ts'
import type { ErrorCode } from './errors.ts'

/** A piece of a filter: its text between `start` and `end` (UTF-16 offsets) of `source`. */
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

/** Whether a filter, as sent, restricts nothing: null, blank, or empty arrays. */
export declare function isEmptyFilter(filter: Json): boolean

/**
 * Parses a filter as sent.
 * @returns null when it restricts nothing.
 * @throws ApiError with `code` (for example `invalid_search_filter`) and messages 41 and 43 to 49.
 */
export declare function parseFilter(filter: Json, code: ErrorCode): Filter | null

/** The filter as one string, every name and value in double quotes: `"many" = "Glass"`. */
export declare function renderFilter(filter: Filter): string

/** Both must hold (M-G5): arrays side by side, never joined text. Either may be null or empty. */
export declare function andFilters(first: Json, second: Json): Json

/** `↵1:5 many = Glass`: what a message about `span` ends with. */
export declare function spanTail(span: Span): string
