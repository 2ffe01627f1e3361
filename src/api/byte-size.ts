/** Sizes in bytes as clients write them (`20 MiB`, `1.5 KB`, `512`) and as answers show them. */

import { type At, type Decoder, integer, invalidValue, wrongType } from './decode.ts'
import { ApiError } from './errors.ts'

const powers = 'KMGTPE'

/** Bytes, rounded up. Letters may be large or small; `K` = 1000, `Ki` = 1024. */
export const byteSize: Decoder<number> = (value, at) => {
  if (typeof value === 'string') return parse(value, at)
  try {
    return integer(value, at)
  } catch (error) {
    throw error instanceof ApiError ? wrongType(value, at, 'positive', 'string') : error
  }
}

function parse(sent: string, at: At): number {
  const text = sent.trim()
  if (text === '') throw invalidValue('no value can be found', at)
  const digits = /^\d+(?:\.\d*)?/.exec(text)?.[0]
  if (digits === undefined) throw invalidValue(`the character '${[...text][0]}' is not a number`, at)
  const letters = [...text.slice(digits.length).trimStart()]
  const wrong = (letter: string, expected: string) =>
    invalidValue(`the character '${letter}' is incorrect (${expected} is expected)`, at)
  let factor = 1
  let letter = letters.shift()
  const power = letter === undefined ? -1 : powers.indexOf(letter.toUpperCase())
  if (power >= 0) {
    letter = letters.shift()
    const isBinary = letter?.toLowerCase() === 'i'
    factor = (isBinary ? 1024 : 1000) ** (power + 1)
    if (isBinary) letter = letters.shift()
    if (letter !== undefined && letter.toLowerCase() !== 'b')
      throw wrong(letter, "'B', 'b' or no character or no character")
  } else if (letter !== undefined && letter.toLowerCase() !== 'b')
    throw wrong(letter, "'B', 'K', 'M', 'G', 'T', 'P', 'E' or no character or no character")
  const rest = letters.shift()
  if (rest !== undefined) throw wrong(rest, "'i' or no character")
  const bytes = Math.ceil(Number(digits) * factor)
  if (bytes >= 2 ** 64) throw invalidValue(`the value ${digits} exceeds the valid range`, at)
  return bytes
}

/** In the largest binary unit of which there is at least one, with every digit: `11.71875 KiB`. */
export function byteSizeText(byteCount: number): string {
  let [size, power] = [byteCount, -1]
  while (size >= 1024 && power < powers.length - 1) {
    size /= 1024
    power += 1
  }
  return `${size} ${power < 0 ? 'B' : `${powers[power]}iB`}`
}
