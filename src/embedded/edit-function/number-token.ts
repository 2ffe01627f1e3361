/** Where a number ends in the text of a function. */

export interface ScannedNumber {
  /** Without separators; a point is always followed by a digit. */
  readonly text: string
  readonly radix: 2 | 8 | 10 | 16
  /** Index behind its last character. */
  readonly end: number
}

const digits = { 10: /^[0-9]$/, 16: /^[0-9a-fA-F]$/, 8: /^[0-7]$/, 2: /^[01]$/ }

/** @param start  of its first digit. */
export function scanNumber(chars: readonly string[], start: number): ScannedNumber {
  let at = start + 1
  let text = chars[start]!
  let radix: ScannedNumber['radix'] = 10
  let hasPoint = false
  let hasExponent = false
  for (;;) {
    const char = chars[at] ?? ''
    const after = chars[at + 1] ?? ''
    if (char === '_') at += 1
    else if (digits[radix].test(char)) {
      text += char
      at += 1
    } else if (char === '.' && !hasPoint && radix === 10) {
      // A point before a name or another point belongs to what follows.
      if (/^[0-9]$/.test(after)) text += '.'
      else if (after !== '' && /^[^A-Za-z_.]$/u.test(after)) text += '.0'
      else break
      hasPoint = true
      at += 1
    } else if (/^[eE]$/.test(char) && !hasExponent && radix === 10) {
      if (/^[0-9]$/.test(after)) {
        text += 'e'
        at += 1
      } else if (/^[+-]$/.test(after)) {
        text += `e${after}`
        at += 2
      } else break
      hasExponent = true
      hasPoint = true
    } else if (/^[xobXOB]$/.test(char) && text === '0') {
      radix = { x: 16 as const, o: 8 as const, b: 2 as const }[char.toLowerCase()] ?? 10
      text += char
      at += 1
    } else break
  }
  return { text, radix, end: at }
}
