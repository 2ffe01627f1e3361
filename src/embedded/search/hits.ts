/** Hits as the API shows them (M-A5b): fields, formatted fields, match positions, scores, distance and vectors. */
import type { SearchQuery } from '../../api/search-query.ts'
import { parseExact, plainText } from '../../lib/exact-numbers.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { isCovered, localesOf } from '../field-rules.ts'
import type { IndexReader } from '../index-reader.ts'
import { createTokenizer, type Tokenizer } from '../text/tokenize.ts'
import { mapLeaves, selectFields } from './document-selection.ts'
import { type FormatMarks, type FormatOptions, FormattedText, type MatchBounds } from './formatting.ts'
import { haversineMetres, type Point } from './geo.ts'
import type { MatchingWords } from './matching-words.ts'
import { hasUnifiedAttribute } from './ranking-rules.ts'
import { rankingScore, type ScoreDetail, scoreDetailsJson } from './score.ts'

export type HitOptions = Pick<
  SearchQuery,
  | 'attributesToRetrieve'
  | 'retrieveVectors'
  | 'attributesToCrop'
  | 'cropLength'
  | 'cropMarker'
  | 'attributesToHighlight'
  | 'highlightPreTag'
  | 'highlightPostTag'
  | 'showMatchesPosition'
  | 'showRankingScore'
  | 'showRankingScoreDetails'
  | 'sort'
  | 'locales'
>

export interface Hit {
  /** Fields of the document, `_vectors`, `_geoDistance`. */
  readonly document: JsonObject
  /** Fields after those of the document: `_formatted` and so on. */
  readonly extra: JsonObject
}

const noFormat: FormatOptions = { highlight: false, crop: null }
const geoPoint = /_geoPoint\(\s*([\d.-]+)\s*,\s*([\d.-]+)\s*\)/

/** Makes the hits of one search. Their text is for `exactText` to write. */
export class HitMaker {
  readonly #reader: IndexReader
  readonly #options: HitOptions
  readonly #words: MatchingWords
  readonly #tokenizer: Tokenizer
  readonly #marks: FormatMarks
  /** Names that may be shown; null = all. */
  readonly #displayed: ReadonlySet<string> | null
  /** Names that are shown; null = all. */
  readonly #retrieved: ReadonlySet<string> | null
  readonly #formats: ReadonlyMap<string, FormatOptions>
  readonly #sortPoint: Point | null

  constructor(reader: IndexReader, options: HitOptions, words: MatchingWords) {
    this.#reader = reader
    this.#options = options
    this.#words = words
    this.#tokenizer = highlightTokenizer(reader)
    this.#marks = {
      preTag: options.highlightPreTag,
      postTag: options.highlightPostTag,
      cropMarker: options.cropMarker,
    }
    const { displayedAttributes } = reader.settings
    this.#displayed = displayedAttributes.includes('*')
      ? null
      : new Set(displayedAttributes.filter((name) => reader.fieldId(name) !== undefined))
    this.#retrieved = this.#retrievedNames()
    this.#formats = this.#formatOptions()
    const [, lat, lng] = options.sort?.map((sort) => geoPoint.exec(sort)).find((found) => found !== null) ?? []
    this.#sortPoint = lat === undefined || lng === undefined ? null : { lat: Number(lat), lng: Number(lng) }
  }

  make(docid: number, details: readonly ScoreDetail[]): Hit {
    const stored = parseExact(this.#reader.storedDocument(docid)?.text ?? '{}') as JsonObject
    const document: Record<string, Json> = {
      ...(this.#retrieved === null ? stored : selectFields(stored, this.#retrieved)),
    }
    delete document._vectors
    if (this.#options.retrieveVectors && this.#showsVectors())
      document._vectors = this.#vectors(docid, stored._vectors ?? null)
    const distance = this.#distance(document._geo)
    if (distance !== null) document._geoDistance = distance
    const extra: Record<string, Json> = this.#formatted(stored)
    if (this.#options.showRankingScore) extra._rankingScore = rankingScore(details)
    if (this.#options.showRankingScoreDetails)
      extra._rankingScoreDetails = scoreDetailsJson(details, hasUnifiedAttribute(this.#reader))
    return { document, extra }
  }

  #formatted(stored: JsonObject): Record<string, Json> {
    const { showMatchesPosition } = this.#options
    if (!showMatchesPosition && this.#formats.size === 0) return {}
    const positions: Record<string, Json> = {}
    const formatting = [...this.#formats].filter(([, { highlight, crop }]) => highlight || crop !== null)
    const names = showMatchesPosition ? this.#displayed : new Set(this.#formats.keys())
    const source = names === null ? stored : selectFields(stored, names)
    const mapped = mapLeaves(source, this.#displayed, (path, indices, value) => {
      if (typeof value !== 'string' && typeof value !== 'number') return value
      const text = plainText(value)
      const options = mergeFormats(
        formatting.filter(([name]) => isCovered(path, name) || isCovered(name, path)).map(([, format]) => format),
      )
      if (!showMatchesPosition && !options.highlight && options.crop === null) return text
      const locales = this.#options.locales ?? localesOf(this.#reader.settings, path)
      const formatted = new FormattedText(text, this.#tokenizer, this.#words, locales)
      if (showMatchesPosition) {
        const bounds = formatted.bounds(indices)
        // Leaves of one name: the last one with matches is told, as in the reference.
        if (bounds.length > 0) positions[path] = bounds.map(boundsJson)
      }
      return formatted.format(options, this.#marks)
    })
    const shown = selectFields(mapped, new Set(this.#formats.keys()))
    const sorted = Object.entries(positions).sort(([left], [right]) => (left < right ? -1 : 1))
    return {
      ...(Object.keys(shown).length === 0 ? {} : { _formatted: shown }),
      ...(showMatchesPosition ? { _matchesPosition: Object.fromEntries(sorted) } : {}),
    }
  }

  #retrievedNames(): ReadonlySet<string> | null {
    const { attributesToRetrieve } = this.#options
    if (attributesToRetrieve === null || attributesToRetrieve.includes('*')) return this.#displayed
    const known = attributesToRetrieve.filter((name) => this.#reader.fieldId(name) !== undefined)
    const displayed = this.#displayed
    return new Set(displayed === null ? known : known.filter((name) => displayed.has(name)))
  }

  /** What is done to each named field; when anything is, every shown field is listed. */
  #formatOptions(): ReadonlyMap<string, FormatOptions> {
    const { attributesToHighlight, attributesToCrop, cropLength } = this.#options
    const all = this.#displayed === null ? this.#reader.fieldNames : [...this.#displayed]
    const formats = new Map<string, FormatOptions>()
    const covered = (name: string): readonly string[] => {
      if (name === '*') return all
      const isShown = this.#reader.fieldId(name) !== undefined && (this.#displayed?.has(name) ?? true)
      return isShown ? [name] : []
    }
    for (const attribute of attributesToHighlight ?? [])
      for (const name of covered(attribute)) formats.set(name, { highlight: true, crop: null })
    for (const attribute of attributesToCrop ?? []) {
      const colon = attribute.lastIndexOf(':')
      const length = /^\+?\d+$/.test(attribute.slice(colon + 1)) ? Number(attribute.slice(colon + 1)) : cropLength
      const [attributeName, crop] = colon < 0 ? [attribute, cropLength] : [attribute.slice(0, colon), length]
      for (const name of covered(attributeName))
        formats.set(name, { highlight: formats.get(name)?.highlight ?? false, crop })
    }
    if (formats.size > 0)
      for (const name of this.#retrieved ?? this.#reader.fieldNames) if (!formats.has(name)) formats.set(name, noFormat)
    return formats
  }

  #distance(place: Json | undefined): number | null {
    if (this.#sortPoint === null || place === undefined || !isObject(place)) return null
    const [lat, lng] = [place.lat, place.lng].map((degrees) =>
      typeof degrees === 'number' || (typeof degrees === 'string' && degrees.trim() !== '')
        ? Number(degrees)
        : Number.NaN,
    )
    if (lat === undefined || lng === undefined || Number.isNaN(lat) || Number.isNaN(lng)) return null
    return Math.round(haversineMetres(this.#sortPoint, { lat, lng }))
  }

  #showsVectors(): boolean {
    const { displayedAttributes } = this.#reader.settings
    return displayedAttributes.includes('*') || displayedAttributes.includes('_vectors')
  }

  /** `own`: vectors of embedders that the index does not have. */
  #vectors(docid: number, own: Json): JsonObject {
    const vectors: Record<string, Json> = isObject(own) ? { ...own } : {}
    for (const name of Object.keys(this.#reader.settings.embedders)) {
      const given = this.#reader.givenVectors(name, docid)
      if (given === undefined) continue
      vectors[name] = {
        embeddings: given.vectors.map((vector) => [...vector]),
        regenerate: given.regenerate,
      }
    }
    return vectors
  }
}

function boundsJson({ start, length, indices }: MatchBounds): JsonObject {
  return indices === undefined ? { start, length } : { start, length, indices }
}

function mergeFormats(formats: readonly FormatOptions[]): FormatOptions {
  let merged = noFormat
  for (const { highlight, crop } of formats)
    merged = { highlight: merged.highlight || highlight, crop: merged.crop ?? crop }
  return merged
}

const tokenizers = new WeakMap<object, Tokenizer>()

/** Highlighting knows no stop words. */
function highlightTokenizer(reader: IndexReader): Tokenizer {
  const known = tokenizers.get(reader.settings)
  if (known !== undefined) return known
  const { separatorTokens, nonSeparatorTokens, dictionary } = reader.settings
  const made = createTokenizer({ separatorTokens, nonSeparatorTokens, dictionary, stopWords: [] })
  tokenizers.set(reader.settings, made)
  return made
}
