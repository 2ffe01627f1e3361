/** Values from JSON and to it. Whole numbers keep every digit. */
import { tooLarge } from './script-error.ts'
import { jsonFloat } from './value-text.ts'
import { Character, FunctionPointer, isInteger64, Range, sortedNames, type Value, type ValueMap } from './values.ts'

/** Text of one document at most. */
const textMax = 64 * 1024 * 1024

/** JSON as the reference writes it: members of maps by name, numbers with a point when they are no whole numbers. */
export function valueJson(value: Value): string {
  const parts: string[] = []
  let length = 0
  const write = (text: string) => {
    length += text.length
    if (length > textMax) throw tooLarge('Length of string')
    parts.push(text)
  }
  const visit = (item: Value): void => {
    if (item === undefined) write('null')
    else if (typeof item === 'string') write(JSON.stringify(item))
    else if (typeof item === 'number') write(jsonFloat(item))
    else if (typeof item === 'boolean' || typeof item === 'bigint') write(String(item))
    else if (Array.isArray(item)) {
      write('[')
      for (const [index, element] of item.entries()) {
        if (index > 0) write(',')
        visit(element)
      }
      write(']')
    } else if (item instanceof Map) {
      write('{')
      for (const [index, name] of sortedNames(item).entries()) {
        write(`${index > 0 ? ',' : ''}${JSON.stringify(name)}:`)
        visit(item.get(name))
      }
      write('}')
    } else if (item instanceof Character) write(JSON.stringify(item.text))
    else if (item instanceof FunctionPointer) write(JSON.stringify(item.name))
    else
      write(
        JSON.stringify(`core::ops::range::Range${item instanceof Range && item.isInclusive ? 'Inclusive' : ''}<i64>`),
      )
  }
  visit(value)
  return parts.join('')
}

/** @param text  valid JSON. */
export function valueOfJson(text: string): Value {
  let at = 0
  const space = () => {
    while (text.charCodeAt(at) <= 32) at += 1
  }
  const string = (): string => {
    const start = at
    at += 1
    while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
    at += 1
    return JSON.parse(text.slice(start, at)) as string
  }
  const read = (): Value => {
    space()
    const char = text[at]
    if (char === '"') return string()
    if (char === '[') return list()
    if (char === '{') return map()
    const end = /[\s,\]}]|$/g
    end.lastIndex = at
    const word = text.slice(at, end.exec(text)?.index ?? text.length)
    at += word.length
    if (word === 'null') return undefined
    if (word === 'true' || word === 'false') return word === 'true'
    if (/^-?[0-9]{1,19}$/.test(word) && word !== '-0' && isInteger64(BigInt(word))) return BigInt(word)
    return Number(word)
  }
  const list = (): Value[] => {
    const items: Value[] = []
    at += 1
    for (;;) {
      space()
      if (text[at] === ']') break
      items.push(read())
      space()
      if (text[at] === ',') at += 1
    }
    at += 1
    return items
  }
  const map = (): ValueMap => {
    const members: ValueMap = new Map()
    at += 1
    for (;;) {
      space()
      if (text[at] === '}') break
      const name = string()
      space()
      at += 1
      members.set(name, read())
      space()
      if (text[at] === ',') at += 1
    }
    at += 1
    return members
  }
  return read()
}
