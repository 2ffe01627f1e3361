/**
 * Normal forms of words (M-F1 step 6): two words that a reader takes for the same have one normal form, which is what is
 * indexed and compared. First decomposition, then rules by script.
 */
import { type Script, script, scriptOf } from './scripts.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed.
const controls = /[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]/g
const marks = /\p{Mn}/gu
const latinSpecials = /[’‘‛œŒæÆðÐđĐı]/g
const latinSpellings: Readonly<Record<string, string>> = {
  '’': "'",
  '‘': "'",
  '‛': "'",
  œ: 'oe',
  Œ: 'oe',
  æ: 'ae',
  Æ: 'ae',
  ð: 'd',
  Ð: 'd',
  đ: 'd',
  Đ: 'd',
  ı: 'i',
}
const arabicSpecials = /[ـأإآٱىة]/g
const arabicSpellings: Readonly<Record<string, string>> = {
  ـ: '',
  أ: 'ا',
  إ: 'ا',
  آ: 'ا',
  ٱ: 'ا',
  ى: 'ي',
  ة: 'ه',
}
const kana = /[\u30a1-\u30f6\u3041-\u3096]/
const katakana = /[\u30a1-\u30f6]/g
const swedishPairs = /[Aa]\u030a|[AaOo]\u0308/g

/** Decomposes and drops control characters: the form in which stop words and separators are recognised. */
export function decompose(text: string): string {
  return text.normalize('NFKD').replace(controls, '')
}

/** Swedish text keeps `å`, `ä` and `ö` as one letter. */
export function recomposeRings(decomposed: string): string {
  return decomposed.replace(swedishPairs, (pair) => pair.normalize('NFC'))
}

/**
 * The form of a stop word in the settings. The reference takes it for Swedish and Persian text at once, so that some stop
 * words never meet a word of ordinary text: those with `å`, `ä`, `ö`, and Arabic ones with `ي`, `ى` or `ك`.
 */
export function stopWordForm(word: string): string {
  return recomposeRings(decompose(word))
    .replace(/[يیىۀ]/g, 'ی')
    .replace(/[كک]/g, 'ک')
    .replace(/[۰-۹]/g, (digit) => String(digit.charCodeAt(0) - 0x6f0))
    .replaceAll('\u200c', '')
}

/** The normal form of one word of a known script. `keepsRings`: Swedish text keeps `å`, `ä`, `ö`. */
export function normaliseWord(decomposed: string, of: Script, keepsRings = false): string {
  switch (of) {
    case script.latin: {
      const composed = keepsRings ? recomposeRings(decomposed) : decomposed
      return composed
        .toLowerCase()
        .replace(latinSpecials, (char) => latinSpellings[char] ?? char)
        .replace(marks, '')
    }
    case script.greek:
      return decomposed.toLowerCase().replace(marks, '').replace(/ς$/, 'σ')
    case script.cyrillic:
    case script.georgian:
      return decomposed.toLowerCase()
    case script.hebrew:
    case script.thai:
      return decomposed.replace(marks, '')
    case script.arabic:
      return decomposed.replace(arabicSpecials, (char) => arabicSpellings[char] ?? char).replace(marks, '')
    case script.cj:
      return kana.test(decomposed)
        ? decomposed.replace(katakana, (char) => String.fromCharCode(char.charCodeAt(0) - 0x60))
        : decomposed
    default:
      return decomposed
  }
}

/** The normal form of one word that stands in no text, by the script of its letters. */
export function normaliseAlone(word: string): string {
  return normaliseWord(decompose(word), dominantScript(word))
}

/** The normal form of facet and filter values: trimmed, decomposed, lower case; accents stay (M-F10). */
export function normaliseFacet(text: string): string {
  const trimmed = text.trim()
  return isPlainAscii(trimmed) ? trimmed.toLowerCase() : trimmed.normalize('NFKD').toLowerCase()
}

/**
 * The normal form of a whole text, words not separated: for settings lists and facet search. Every script's rules apply
 * at once, since a value may mix scripts.
 */
export function normalise(text: string): string {
  if (isPlainAscii(text)) return text.toLowerCase()
  return decompose(text)
    .toLowerCase()
    .replace(latinSpecials, (char) => latinSpellings[char] ?? char)
    .replace(arabicSpecials, (char) => arabicSpellings[char] ?? char)
    .replace(marks, '')
    .replace(katakana, (char) => String.fromCharCode(char.charCodeAt(0) - 0x60))
    .replace(/ς$/, 'σ')
}

/**
 * How many UTF-16 units of `source` stand for the first `length` code points of its normal form: the part of a word
 * that a typed prefix covers. A character is never cut.
 */
export function coveredLength(source: string, of: Script, length: number): number {
  let covered = 0
  let normalised = 0
  for (const char of source) {
    if (normalised >= length) break
    const form = of === script.latin && char < '\u0080' ? char : normaliseWord(decompose(char), of)
    normalised += form.length < 2 ? form.length : [...form].length
    covered += char.length
  }
  return covered
}

/** The script that rules a text: the one of its first letter with any. */
export function dominantScript(text: string): Script {
  for (const char of text) {
    const found = scriptOf(char.codePointAt(0)!)
    if (found !== script.other) return found
  }
  return script.other
}

function isPlainAscii(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code >= 0x7f || code < 0x09 || (code > 0x0d && code < 0x20)) return false
  }
  return true
}
