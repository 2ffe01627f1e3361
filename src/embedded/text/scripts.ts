/**
 * Writing systems, as far as tokenisation must tell them apart (M-F1 step 1): text is cut where the script changes, and
 * each script has its own segmenter and normalisation. Characters of no listed script join the run they stand in.
 */

export const script = {
  other: 0,
  latin: 1,
  cyrillic: 2,
  greek: 3,
  georgian: 4,
  hebrew: 5,
  arabic: 6,
  thai: 7,
  khmer: 8,
  hangul: 9,
  cj: 10,
} as const

/** A value of `script`, or a larger number for scripts that need nothing special. */
export type Script = number

const ranges: readonly (readonly [Script, ...(readonly (readonly [number, number])[])])[] = [
  [script.khmer, [0x1780, 0x17ff], [0x19e0, 0x19ff]],
  [11, [0x0d80, 0x0dff]],
  [12, [0x1000, 0x109f]],
  [13, [0x0b00, 0x0b7f]],
  [14, [0x0d00, 0x0d7f]],
  [15, [0x0c00, 0x0c7f]],
  [16, [0x0a00, 0x0a7f]],
  [17, [0x0a80, 0x0aff]],
  [script.thai, [0x0e00, 0x0e7f]],
  [18, [0x0b80, 0x0bff]],
  [19, [0x0c80, 0x0cff]],
  [script.greek, [0x0370, 0x03ff]],
  [
    script.cj,
    [0x3040, 0x30ff],
    [0x2e80, 0x2e99],
    [0x2e9b, 0x2ef3],
    [0x2f00, 0x2fd5],
    [0x3005, 0x3005],
    [0x3007, 0x3007],
    [0x3021, 0x3029],
    [0x3038, 0x303b],
    [0x3400, 0x4db5],
    [0x4e00, 0x9fcc],
    [0xf900, 0xfa6d],
    [0xfa70, 0xfad9],
  ],
  [
    script.hangul,
    [0xac00, 0xd7af],
    [0x1100, 0x11ff],
    [0x3130, 0x318f],
    [0x3200, 0x32ff],
    [0xa960, 0xa97f],
    [0xd7b0, 0xd7ff],
    [0xff00, 0xffef],
  ],
  [20, [0x0980, 0x09ff]],
  [script.georgian, [0x10a0, 0x10ff]],
  [21, [0x1200, 0x139f], [0x2d80, 0x2ddf], [0xab00, 0xab2f]],
  [script.hebrew, [0x0590, 0x05ff]],
  [22, [0x0900, 0x097f], [0xa8e0, 0xa8ff], [0x1cd0, 0x1cff]],
  [script.arabic, [0x0600, 0x06ff], [0x0750, 0x07ff], [0x08a0, 0x08ff], [0xfb50, 0xfdff], [0xfe70, 0xfeff]],
  [
    script.cyrillic,
    [0x0400, 0x0484],
    [0x0487, 0x052f],
    [0x2de0, 0x2dff],
    [0xa640, 0xa69d],
    [0x1d2b, 0x1d2b],
    [0x1d78, 0x1d78],
    [0xa69f, 0xa69f],
  ],
  [
    script.latin,
    [0x61, 0x7a],
    [0x41, 0x5a],
    [0x80, 0x2af],
    [0x1d00, 0x1dbf],
    [0x1e00, 0x1eff],
    [0x2100, 0x214f],
    [0x2c60, 0x2c7f],
    [0xa720, 0xa7ff],
    [0xab30, 0xab6f],
  ],
]

// Later entries win where ranges overlap.
const table = new Uint8Array(0x10000)
for (const [name, ...spans] of ranges) for (const [from, to] of spans) table.fill(name, from, to + 1)

/** The script of one code point. */
export function scriptOf(codePoint: number): Script {
  if (codePoint < 0x10000) return table[codePoint]!
  const isArabic = (codePoint >= 0x10e60 && codePoint <= 0x10e7f) || (codePoint >= 0x1ee00 && codePoint <= 0x1eeff)
  return isArabic ? script.arabic : script.other
}
