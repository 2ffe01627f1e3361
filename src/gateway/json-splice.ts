/**
 * Replaces single strings inside a JSON text and leaves every other byte as it is: numbers keep their spelling, fields
 * their order. Only the listed places are looked at, so that document contents are never touched (P-11).
 */

/** A compiled set of places (`index-places.ts`): what follows which key, element or any key. */
export interface PlaceTree {
  readonly fields: ReadonlyMap<string, PlaceTree>
  readonly elements: PlaceTree | undefined
  /** The strings here are names. */
  readonly isName: boolean
  /** The keys of the object here are names. */
  readonly namesKeys: boolean
}

interface Building {
  readonly fields: Map<string, Building>
  elements: Building | undefined
  isName: boolean
  namesKeys: boolean
}

const emptyPlace = (): Building => ({ fields: new Map(), elements: undefined, isName: false, namesKeys: false })

/** `results[].indexUid`, `facetsByIndex{}`, `[].foreignIndexUid`. */
export function compilePlaces(places: readonly string[]): PlaceTree {
  const root = emptyPlace()
  for (const place of places) {
    let at = root
    for (const step of place.match(/[^.[\]{}]+|\[\]|\{\}/g) ?? []) {
      if (step === '{}') {
        at.namesKeys = true
      } else if (step === '[]') {
        at.elements ??= emptyPlace()
        at = at.elements
      } else {
        const next = at.fields.get(step) ?? emptyPlace()
        at.fields.set(step, next)
        at = next
      }
    }
    if (!place.endsWith('{}')) at.isName = true
  }
  return root
}

export class UnreadableJson extends Error {
  override readonly name = 'UnreadableJson'
}

/**
 * @param rename  what stands in place of a name.
 * @returns the same buffer when nothing changes.
 * @throws UnreadableJson when the text is not JSON along the way.
 */
export function spliceNames(text: Buffer, places: PlaceTree, rename: (name: string) => string): Buffer {
  const pieces: Buffer[] = []
  let kept = 0
  const scanner = new Scanner(text)
  scanner.walk(places, (start, end) => {
    const name: unknown = JSON.parse(text.toString('utf8', start, end))
    if (typeof name !== 'string') throw new UnreadableJson('a name that is no string')
    const next = rename(name)
    if (next === name) return
    pieces.push(text.subarray(kept, start), Buffer.from(JSON.stringify(next)))
    kept = end
  })
  if (pieces.length === 0) return text
  pieces.push(text.subarray(kept))
  return Buffer.concat(pieces)
}

/** The bytes of each element of the array in the top-level field `field`; `undefined` when there is none. */
export function elementsOf(text: Buffer, field: string): readonly Buffer[] | undefined {
  return new Scanner(text).elements(field)
}

const quote = 0x22
const backslash = 0x5c

class Scanner {
  readonly #text: Buffer
  #at = 0

  constructor(text: Buffer) {
    this.#text = text
  }

  walk(place: PlaceTree | undefined, onName: (start: number, end: number) => void): void {
    this.#space()
    const first = this.#text[this.#at]
    const matters =
      place !== undefined && (place.isName || place.namesKeys || place.elements !== undefined || place.fields.size > 0)
    if (!matters) {
      this.#skip()
      return
    }
    if (first === quote) {
      const start = this.#at
      this.#string()
      if (place.isName) onName(start, this.#at)
      return
    }
    if (first === 0x7b) {
      this.#object(place, onName)
      return
    }
    if (first === 0x5b && place.elements !== undefined) {
      this.#array(place.elements, onName)
      return
    }
    this.#skip()
  }

  elements(field: string): readonly Buffer[] | undefined {
    this.#space()
    if (this.#text[this.#at] !== 0x7b) return undefined
    this.#at += 1
    for (;;) {
      this.#space()
      if (this.#text[this.#at] !== quote) return undefined
      const start = this.#at
      this.#string()
      const key: unknown = JSON.parse(this.#text.toString('utf8', start, this.#at))
      this.#expect(0x3a)
      this.#space()
      if (key === field && this.#text[this.#at] === 0x5b) return this.#slices()
      this.#skip()
      this.#space()
      if (this.#text[this.#at] !== 0x2c) return undefined
      this.#at += 1
    }
  }

  #slices(): readonly Buffer[] {
    const slices: Buffer[] = []
    this.#at += 1
    this.#space()
    if (this.#text[this.#at] === 0x5d) return slices
    for (;;) {
      this.#space()
      const start = this.#at
      this.#skip()
      slices.push(this.#text.subarray(start, this.#at))
      this.#space()
      if (this.#text[this.#at] === 0x5d) return slices
      this.#expect(0x2c)
    }
  }

  #object(place: PlaceTree, onName: (start: number, end: number) => void): void {
    this.#at += 1
    this.#space()
    if (this.#text[this.#at] === 0x7d) {
      this.#at += 1
      return
    }
    for (;;) {
      this.#space()
      const start = this.#at
      this.#string()
      if (place.namesKeys) onName(start, this.#at)
      const next =
        place.fields.size === 0
          ? undefined
          : place.fields.get(String(JSON.parse(this.#text.toString('utf8', start, this.#at))))
      this.#expect(0x3a)
      this.walk(next, onName)
      this.#space()
      const byte = this.#text[this.#at]
      this.#at += 1
      if (byte === 0x7d) return
      if (byte !== 0x2c) throw new UnreadableJson('an object that does not end')
    }
  }

  #array(place: PlaceTree, onName: (start: number, end: number) => void): void {
    this.#at += 1
    this.#space()
    if (this.#text[this.#at] === 0x5d) {
      this.#at += 1
      return
    }
    for (;;) {
      this.walk(place, onName)
      this.#space()
      const byte = this.#text[this.#at]
      this.#at += 1
      if (byte === 0x5d) return
      if (byte !== 0x2c) throw new UnreadableJson('an array that does not end')
    }
  }

  /** Over any value, without looking into it. Iterative: depth costs no stack. */
  #skip(): void {
    const text = this.#text
    let depth = 0
    for (;;) {
      this.#space()
      const byte = text[this.#at]
      if (byte === undefined) throw new UnreadableJson('a value that does not end')
      if (byte === quote) {
        this.#string()
      } else if (byte === 0x7b || byte === 0x5b) {
        depth += 1
        this.#at += 1
        continue
      } else if (byte === 0x7d || byte === 0x5d) {
        depth -= 1
        this.#at += 1
      } else if (byte === 0x2c || byte === 0x3a) {
        if (depth === 0) throw new UnreadableJson('a value is missing')
        this.#at += 1
        continue
      } else {
        const start = this.#at
        while (this.#at < text.length && !isEnd(text[this.#at]!)) this.#at += 1
        if (this.#at === start) throw new UnreadableJson('a value is missing')
      }
      if (depth <= 0) return
    }
  }

  #string(): void {
    if (this.#text[this.#at] !== quote) throw new UnreadableJson('a string is missing')
    let at = this.#at
    for (;;) {
      at = this.#text.indexOf(quote, at + 1)
      if (at < 0) throw new UnreadableJson('a string that does not end')
      let slashes = 0
      while (this.#text[at - 1 - slashes] === backslash) slashes += 1
      if (slashes % 2 === 0) break
    }
    this.#at = at + 1
  }

  #space(): void {
    for (;;) {
      const byte = this.#text[this.#at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.#at += 1
    }
  }

  #expect(byte: number): void {
    this.#space()
    if (this.#text[this.#at] !== byte) throw new UnreadableJson('a separator is missing')
    this.#at += 1
  }
}

function isEnd(byte: number): boolean {
  return (
    byte === 0x2c || byte === 0x7d || byte === 0x5d || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
  )
}
