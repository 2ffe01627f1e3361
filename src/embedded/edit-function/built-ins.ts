/** The built-in functions together: one name may serve several types. */
import { arrayFunctions } from './array-functions.ts'
import { mapFunctions } from './map-functions.ts'
import { numberFunctions } from './number-functions.ts'
import { negate, operate } from './operators.ts'
import { type Native, noMatch, type Runtime, type ValuePlace } from './runtime.ts'
import { stringFunctions } from './string-functions.ts'
import { typeName, type Value } from './values.ts'

const tables = [numberFunctions, stringFunctions, arrayFunctions, mapFunctions]
const byName = new Map<string, Native[]>()
for (const table of tables)
  for (const [name, native] of Object.entries(table)) byName.set(name, [...(byName.get(name) ?? []), native])

const operatorNames: ReadonlySet<string> = new Set('+ - * / % ** << >> & | ^ == != < <= > >= .. ..='.split(' '))

/** `noMatch` when no function of the name takes such values. */
export function callBuiltIn(
  name: string,
  args: readonly Value[],
  place: ValuePlace,
  runtime: Runtime,
): Value | typeof noMatch {
  if (operatorNames.has(name)) {
    if (args.length === 2) return operate(name, args[0], args[1], runtime)
    if (args.length === 1 && name === '-') return negate(args[0])
    if (args.length === 1 && name === '+' && isNumber(args[0])) return args[0]
    return noMatch
  }
  for (const native of byName.get(name) ?? []) {
    const answer = native(args, place, runtime)
    if (answer !== noMatch) return answer
  }
  return noMatch
}

const isNumber = (value: Value): boolean => typeof value === 'bigint' || typeof value === 'number'

const changing: Readonly<Record<string, ReadonlySet<string>>> = {
  array: new Set(
    `get set push append insert pad pop shift remove clear truncate chop reverse splice extract split for_each dedup sort
    sort_by sort_desc order order_by order_desc drain retain`.split(/\s+/),
  ),
  map: new Set('set clear remove mixin fill_with drain retain'.split(' ')),
  string: new Set('append remove clear truncate trim pop make_upper make_lower set crop replace pad'.split(' ')),
  char: new Set(['make_upper', 'make_lower']),
}

/** It may change what it is called on, so that it cannot be called on a constant. */
export const isChanging = (name: string, value: Value): boolean =>
  name === 'take' || changing[typeName(value)]?.has(name) === true

/** Functions that also read as properties, by the type that has them. */
const getters: Readonly<Record<string, ReadonlySet<string>>> = {
  string: new Set(['len', 'is_empty', 'bytes', 'chars']),
  array: new Set(['len', 'is_empty']),
  i64: new Set(['is_zero', 'is_odd', 'is_even', 'bits']),
  f64: new Set(['floor', 'ceiling', 'round', 'int', 'fraction', 'is_nan', 'is_finite', 'is_infinite', 'is_zero']),
  range: new Set(['start', 'end', 'is_inclusive', 'is_exclusive', 'is_empty']),
  'range=': new Set(['start', 'end', 'is_inclusive', 'is_exclusive', 'is_empty']),
  Fn: new Set(['name', 'is_anonymous']),
}

export const isGetter = (name: string, value: Value): boolean =>
  name === 'tag' || getters[typeName(value)]?.has(name) === true
