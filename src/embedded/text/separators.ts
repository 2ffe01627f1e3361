/**
 * The characters that end a word (M-F1 steps 2 and 3). Soft ones stand between words of one sentence, hard ones between
 * sentences or clauses. Three separators are longer than one character: `. `, `, ` and the Khmer `។ល។`.
 */

const punctuationOrSpace = /^[\p{Pc}\p{Pd}\p{Pe}\p{Pf}\p{Pi}\p{Po}\p{Ps}\p{Zl}\p{Zp}\p{Zs}]$/u

/** Punctuation by its category, yet not in the list: younger than the list, or decomposing to an ordinary separator. */
const excluded = parseRanges(
  'a0 37e 387 61d 66b-66c f0c 1b4e-1b4f 1b7d-1b7f 2000-2001 2011 2028 202f 205f 2329-232a 2e53-2e5d 10d6e 10ed0 10f86-10f89 113d4-113d5 113d7-113d8 116b9 11b00-11b09 11be1 11f43-11f4f 12ff1-12ff2 16d6d-16d6f 1e5ff',
)

/** Not punctuation by category, yet separators: NUL, tab, line ends, grave accent, non-joiner, operators. */
const included = parseRanges('0 9-a d 2b 60 b1 d7 f7 200c 2212-22ff')
/** Operators that stay part of a word. */
const wordOperators = parseRanges('2226 228e')

const hardRanges = parseRanges(
  '0 21 3b 3f a1 a7 b6 bf 55c-55e 589 5c3 60c 61b 61f 6d4 700-709 7f7-7f9 830-835 838-83e 85e 964-965 df4 e5a-e5b f04-f0a f0d-f12 f14 fd0-fd4 104a-104b 10fb 1362-1368 169b-169c 16eb-16ed 1735-1736 17d4-17d6 17d8 17da 1800-1806 1808-1809 1944-1945 1a1f 1aa8-1aad 1b5a-1b60 1bfc-1bff 1c3b-1c3f 1c7e-1c7f 1cc0-1cc7 2024-2026 203b-203d 2047-2049 204f 2056 205a 2cf9-2cfc 2cfe 2e18 2e2e 2e41 3001-3002 a4fe-a4ff a60d-a60f a6f2-a6f7 a876-a877 a8ce-a8cf a92f a95f a9c3-a9cd aa5c-aa5f aadf aaf0-aaf1 abeb fe10-fe16 fe19 fe30 fe45 fe50-fe52 fe54-fe57 ff01 ff0c ff0e ff1a-ff1b ff1f ff61 ff64 10857 10a50-10a58 10af0-10af5 10b3a-10b3f 10b99-10b9c 10f55-10f59 11047-1104d 110be-110c1 11140-11143 11175 111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9 1144b-1144d 1145a 115c2-115c3 115c9-115d7 11641-11642 11660-1166c 1173c-1173e 11944 11946 11a3f-11a46 11a9a-11a9c 11a9e-11aa2 11c41-11c42 11c70-11c71 11ef7-11ef8 11fff 12471-12474 16a6e-16a6f 16af5 16b37-16b39 16b44 16e97-16e9a 1bc9f 1da87-1da8a 1e95e-1e95f',
)

const longSeparators = ['. ', ', ', '។ល។'] as const
const hard: ReadonlySet<string> = new Set([
  ...[...hardRanges].map((point) => String.fromCodePoint(point)),
  ...longSeparators,
])

let defaults: ReadonlySet<string> | undefined

/** The default list, built on first use: one entry per separator. */
export function defaultSeparators(): ReadonlySet<string> {
  if (defaults !== undefined) return defaults
  const separators = new Set<string>(longSeparators)
  for (let point = 0; point < 0x20000; point += 1) {
    if (point >= 0xd800 && point < 0xe000) continue
    const char = String.fromCodePoint(point)
    const listed = included.has(point)
      ? !wordOperators.has(point)
      : punctuationOrSpace.test(char) && !excluded.has(point)
    if (listed) separators.add(char)
  }
  defaults = separators
  return separators
}

export function isHardSeparator(separator: string): boolean {
  return hard.has(separator)
}

function parseRanges(text: string): ReadonlySet<number> {
  const points = new Set<number>()
  for (const range of text.split(' ')) {
    const [from, to] = range.split('-')
    const first = Number.parseInt(from ?? '', 16)
    const last = Number.parseInt(to ?? from ?? '', 16)
    for (let point = first; point <= last; point += 1) points.add(point)
  }
  return points
}
