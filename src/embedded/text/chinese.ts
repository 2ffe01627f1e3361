/**
 * Words of Chinese text, by the dictionary and the way of the reference: the likeliest words of jieba (without its model
 * for unknown words), and words of three characters and more once again into the words that they are made of.
 *
 * The dictionary is loaded with the first Chinese text: about a second and 70 MB for each thread that reads such text.
 */
import { createRequire } from 'node:module'
import type * as Jieba from 'jieba-wasm'

let loaded: typeof Jieba | undefined

function jieba(): typeof Jieba {
  loaded ??= createRequire(import.meta.url)('jieba-wasm') as typeof Jieba
  return loaded
}

/** Cuts `text` into pieces that cover it without gaps: UTF-16 offsets of their ends, ascending. */
export function chineseWordEnds(text: string): readonly number[] {
  const ends: number[] = []
  let at = 0
  for (const word of jieba().cut(text, false))
    for (const part of partsOf(word)) {
      at += part.length
      ends.push(at)
    }
  return ends
}

function partsOf(word: string): readonly string[] {
  const letters = [...word]
  if (letters.length <= 2 || /^[A-Za-z0-9]+$/.test(word)) return [word]
  const parts: string[] = []
  for (let at = 0; at < letters.length; ) {
    const size = [2, 3].find((length) => at + length <= letters.length && isWord(letters.slice(at, at + length))) ?? 1
    parts.push(letters.slice(at, at + size).join(''))
    at += size
  }
  return parts
}

function isWord(letters: readonly string[]): boolean {
  const word = letters.join('')
  return jieba().cut_all(word).includes(word)
}
