/** Built-in functions of arrays. Most change the array where it stands. */
import { areEqual } from './operators.ts'
import { itemOf, itemsMax, type Native, noMatch, type Runtime } from './runtime.ts'
import { none, ScriptError, tooLarge } from './script-error.ts'
import { Character, compareTexts, copyOf, FunctionPointer, Range, typeName, type Value } from './values.ts'

const small = (value: bigint): number =>
  Number(value > 0xffffffffn ? 0xffffffffn : value < -0xffffffffn ? -0xffffffffn : value)

/** Where a position stands in an array; negative ones count from the end. */
function offset(count: number, start: bigint): number {
  if (start < 0n) return Math.max(0, count + small(start))
  return Math.min(count, small(start))
}

/** Start and end of a piece given by a range or by start and length. */
function piece(count: number, first: Value, second: Value): readonly [number, number] | undefined {
  if (first instanceof Range) {
    const start = first.start < 0n ? 0n : first.start
    const end = first.end < start ? start : first.end
    const from = offset(count, start)
    return [from, Math.min(count, from + small(end - start + (first.isInclusive ? 1n : 0n)))]
  }
  if (typeof first !== 'bigint' || typeof second !== 'bigint') return undefined
  const from = offset(count, first)
  return [from, Math.min(count, from + Math.max(0, small(second)))]
}

const ofArray =
  (compute: (array: Value[], args: readonly Value[], runtime: Runtime) => Value | typeof noMatch): Native =>
  ([array, ...args], _place, runtime) =>
    Array.isArray(array) ? compute(array, args, runtime) : noMatch

/** A function that asks a callback about each item. */
const asking =
  (compute: (array: Value[], ask: (index: number) => Value, runtime: Runtime) => Value): Native =>
  ([array, pointer, ...rest], _place, runtime) => {
    if (!Array.isArray(array) || !(pointer instanceof FunctionPointer) || rest.length > 0) return noMatch
    const ask = (index: number) =>
      runtime.callBack({ pointer, args: [], item: itemOf(array, index), extras: [BigInt(index)], itemIndex: 0 })
    return compute(array, ask, runtime)
  }

const copied = (value: Value, runtime: Runtime): Value => copyOf(value, (count) => runtime.charge(count))

function search(array: Value[], args: readonly Value[], runtime: Runtime): number | typeof noMatch {
  const [wanted, from = 0n] = args
  if (typeof from !== 'bigint') return noMatch
  const start = offset(array.length, from)
  runtime.charge(array.length)
  if (!(wanted instanceof FunctionPointer))
    return array.findIndex((item, index) => index >= start && areEqual(item, wanted))
  for (let index = start; index < array.length; index += 1) {
    const item = itemOf(array, index)
    if (runtime.callBack({ pointer: wanted, args: [], item, extras: [BigInt(index)], itemIndex: 0 }) === true)
      return index
  }
  return -1
}

const indexOf: Native = ofArray((array, args, runtime) => {
  const found = search(array, args, runtime)
  return found === noMatch ? noMatch : BigInt(found)
})

/** Order of two values of one type. */
function order(left: Value, right: Value): number {
  if (typeof left === 'string' && typeof right === 'string') return compareTexts(left, right)
  if (left instanceof Character && right instanceof Character) return compareTexts(left.text, right.text)
  if (typeof left === 'bigint' && typeof right === 'bigint') return left < right ? -1 : left > right ? 1 : 0
  if (typeof left === 'number' && typeof right === 'number') return left < right ? -1 : left > right ? 1 : 0
  return Number(left) - Number(right)
}

function sortPlain(array: Value[], direction: 1 | -1): void {
  if (array.length <= 1) return
  const type = typeName(array[0])
  const refused = (text: string) =>
    new ScriptError('ErrorFunctionNotFound', `Function not found: ${text}`, none, { fields: { function: text } })
  if (array.some((item) => typeName(item) !== type)) throw refused('elements of different types cannot be sorted')
  if (type === '()') return
  if (!['i64', 'f64', 'string', 'char', 'bool'].includes(type)) throw refused(`elements of ${type} cannot be sorted`)
  array.sort((left, right) => direction * order(left, right))
}

function sortBy(array: Value[], pointer: FunctionPointer, runtime: Runtime): void {
  array.sort((left, right) => {
    let answer: Value
    try {
      answer = runtime.callBack({ pointer, args: [copied(left, runtime), copied(right, runtime)] })
    } catch (error) {
      // As in the reference, a comparison that fails says nothing; the end of all means does.
      if (error instanceof ScriptError && error.isCatchable) return compareTexts(typeName(left), typeName(right))
      throw error
    }
    if (typeof answer === 'bigint') return answer < 0n ? -1 : answer > 0n ? 1 : 0
    if (typeof answer === 'boolean') return answer ? -1 : 1
    return compareTexts(typeName(left), typeName(right))
  })
}

function sorting(direction: 1 | -1, isInPlace: boolean): Native {
  return ofArray((array, args, runtime) => {
    const [pointer] = args
    if (pointer !== undefined && !(pointer instanceof FunctionPointer)) return noMatch
    runtime.charge(array.length * 4)
    const target = isInPlace ? array : [...array]
    if (pointer === undefined) sortPlain(target, direction)
    else sortBy(target, pointer, runtime)
    return isInPlace ? undefined : target
  })
}

/** Takes out what the callback or the range selects (or the rest of it); answers what was taken out. */
const taking =
  (takesSelected: boolean): Native =>
  (args, _place, runtime) => {
    const [array, first, second] = args
    if (!Array.isArray(array)) return noMatch
    runtime.charge(array.length)
    const taken: Value[] = []
    const kept: Value[] = []
    if (first instanceof FunctionPointer && args.length === 2) {
      for (let index = 0; index < array.length; index += 1) {
        const item = itemOf(array, index)
        const answer = runtime.callBack({ pointer: first, args: [], item, extras: [BigInt(index)], itemIndex: 0 })
        ;((answer === true) === takesSelected ? taken : kept).push(array[index])
      }
    } else {
      const range = piece(array.length, first, second)
      if (range === undefined) return noMatch
      if (range[1] <= range[0]) return []
      for (const [index, item] of array.entries())
        (index >= range[0] && index < range[1]) === takesSelected ? taken.push(item) : kept.push(item)
    }
    array.splice(0, array.length, ...kept)
    return taken
  }

const reducing =
  (isReverse: boolean): Native =>
  ([array, pointer, initial], _place, runtime) => {
    if (!Array.isArray(array) || !(pointer instanceof FunctionPointer)) return noMatch
    let result = initial
    for (let step = 0; step < array.length; step += 1) {
      const index = isReverse ? array.length - 1 - step : step
      const item = itemOf(array, index)
      result = runtime.callBack({ pointer, args: [result], item, extras: [BigInt(index)], itemIndex: 1 })
    }
    return result
  }

function dedup(array: Value[], args: readonly Value[], runtime: Runtime): Value | typeof noMatch {
  const [pointer] = args
  if (pointer !== undefined && !(pointer instanceof FunctionPointer)) return noMatch
  runtime.charge(array.length)
  const kept: Value[] = []
  for (const item of array) {
    const last = kept.at(-1)
    const isSame =
      kept.length > 0 &&
      (pointer === undefined ? areEqual(item, last) : runtime.callBack({ pointer, args: [item, last] }) === true)
    if (!isSame) kept.push(item)
  }
  array.splice(0, array.length, ...kept)
  return undefined
}

function grow(array: Value[], more: number): void {
  if (array.length + more > itemsMax) throw tooLarge('Size of array/BLOB')
}

export const arrayFunctions: Readonly<Record<string, Native>> = {
  len: ofArray((array) => BigInt(array.length)),
  is_empty: ofArray((array) => array.length === 0),
  get: ofArray((array, [index], runtime) => {
    if (typeof index !== 'bigint') return noMatch
    return copied(array[offset(array.length, index)], runtime)
  }),
  set: ofArray((array, [index, value]) => {
    if (typeof index !== 'bigint') return noMatch
    const at = offset(array.length, index)
    if (at < array.length) array[at] = value
    return undefined
  }),
  push: (args) => {
    const [array, item] = args
    if (!Array.isArray(array) || args.length !== 2) return noMatch
    grow(array, 1)
    array.push(item)
    return undefined
  },
  append: ofArray((array, [other], runtime) => {
    if (!Array.isArray(other)) return noMatch
    runtime.charge(other.length)
    grow(array, other.length)
    array.push(...other)
    return undefined
  }),
  insert: (args, _place, runtime) => {
    const [array, index, item] = args
    if (!Array.isArray(array) || typeof index !== 'bigint' || args.length !== 3) return noMatch
    runtime.charge(array.length)
    grow(array, 1)
    array.splice(offset(array.length, index), 0, item)
    return undefined
  },
  pad: (args, _place, runtime) => {
    const [array, length, item] = args
    if (!Array.isArray(array) || typeof length !== 'bigint' || args.length !== 3) return noMatch
    if (length > BigInt(itemsMax)) throw tooLarge('Size of array/BLOB')
    while (array.length < small(length)) array.push(copied(item, runtime))
    return undefined
  },
  pop: ofArray((array) => array.pop()),
  shift: ofArray((array, _args, runtime) => {
    runtime.charge(array.length)
    return array.shift()
  }),
  remove: ofArray((array, [index], runtime) => {
    if (typeof index !== 'bigint') return noMatch
    runtime.charge(array.length)
    const at = index < 0n ? array.length + small(index) : small(index)
    return at < 0 || at >= array.length ? undefined : array.splice(at, 1)[0]
  }),
  clear: ofArray((array) => {
    array.length = 0
    return undefined
  }),
  truncate: ofArray((array, [length]) => {
    if (typeof length !== 'bigint') return noMatch
    array.length = Math.min(array.length, Math.max(0, small(length)))
    return undefined
  }),
  chop: ofArray((array, [length]) => {
    if (typeof length !== 'bigint') return noMatch
    array.splice(0, Math.max(0, array.length - Math.max(0, small(length))))
    return undefined
  }),
  reverse: ofArray((array, _args, runtime) => {
    runtime.charge(array.length)
    array.reverse()
    return undefined
  }),
  splice: (args, _place, runtime) => {
    const array = args[0]
    const other = args.at(-1)
    if (!Array.isArray(array) || !Array.isArray(other)) return noMatch
    const range = args.length === 3 ? piece(array.length, args[1], undefined) : piece(array.length, args[1], args[2])
    if (range === undefined) return noMatch
    runtime.charge(array.length + other.length)
    grow(array, other.length)
    array.splice(range[0], range[1] - range[0], ...other)
    return undefined
  },
  extract: (args, _place, runtime) => {
    const [array, first, second] = args
    if (!Array.isArray(array)) return noMatch
    const length = args.length === 2 && typeof first === 'bigint' ? BigInt(itemsMax) : second
    const range = piece(array.length, first, length)
    return range === undefined ? noMatch : copied(array.slice(...range), runtime)
  },
  split: ofArray((array, [index], runtime) => {
    if (typeof index !== 'bigint') return noMatch
    runtime.charge(array.length)
    return array.splice(offset(array.length, index))
  }),
  for_each: ofArray((array, [pointer], runtime) => {
    if (!(pointer instanceof FunctionPointer)) return noMatch
    for (let index = 0; index < array.length; index += 1)
      runtime.callBack({ pointer, args: [], item: itemOf(array, index), extras: [BigInt(index)] })
    return undefined
  }),
  map: asking((array, ask) => array.map((_, index) => ask(index))),
  filter: asking((array, ask, runtime) => {
    const found: Value[] = []
    for (let index = 0; index < array.length; index += 1) {
      if (ask(index) === true) found.push(copied(array[index], runtime))
    }
    return found
  }),
  contains: (args, _place, runtime) => {
    const [array, value] = args
    if (!Array.isArray(array) || args.length !== 2) return noMatch
    runtime.charge(array.length)
    return array.some((item) => areEqual(item, value))
  },
  index_of: indexOf,
  find: ofArray((array, args, runtime) => {
    if (!(args[0] instanceof FunctionPointer)) return noMatch
    const found = search(array, args, runtime)
    if (found === noMatch) return noMatch
    return found < 0 ? undefined : copied(array[found], runtime)
  }),
  find_map: asking((array, ask) => {
    for (let index = 0; index < array.length; index += 1) {
      const answer = ask(index)
      if (answer !== undefined) return answer
    }
    return undefined
  }),
  some: asking((array, ask) => array.some((_, index) => ask(index) === true)),
  all: asking((array, ask) => array.every((_, index) => ask(index) === true)),
  dedup: ofArray(dedup),
  reduce: reducing(false),
  reduce_rev: reducing(true),
  zip: ([array, other, pointer], _place, runtime) => {
    if (!Array.isArray(array) || !Array.isArray(other) || !(pointer instanceof FunctionPointer)) return noMatch
    const count = Math.min(array.length, other.length)
    return array
      .slice(0, count)
      .map((item, index) =>
        runtime.callBack({ pointer, args: [copied(item, runtime), other[index]], extras: [BigInt(index)] }),
      )
  },
  sort: sorting(1, true),
  sort_by: sorting(1, true),
  sort_desc: sorting(-1, true),
  order: sorting(1, false),
  order_by: sorting(1, false),
  order_desc: sorting(-1, false),
  drain: taking(true),
  retain: taking(false),
}
