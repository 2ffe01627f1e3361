/** Built-in functions of object maps. */
import { itemsMax, type Native, noMatch, type Runtime, type ValuePlace } from './runtime.ts'
import { tooLarge } from './script-error.ts'
import { valueJson } from './value-json.ts'
import { copyOf, FunctionPointer, sortedNames, type Value, type ValueMap } from './values.ts'

const ofMap =
  (compute: (map: ValueMap, args: readonly Value[], runtime: Runtime) => Value | typeof noMatch): Native =>
  ([map, ...args], _place, runtime) =>
    map instanceof Map ? compute(map, args, runtime) : noMatch

export const memberOf = (map: ValueMap, name: string): ValuePlace => ({
  read: () => map.get(name),
  write: (value) => setMember(map, name, value),
  isConstant: false,
})

export function setMember(map: ValueMap, name: string, value: Value): void {
  if (map.size >= itemsMax && !map.has(name)) throw tooLarge('Size of object map')
  map.set(name, value)
}

/** Moves what the callback selects into one map and the rest into another. */
const parting =
  (keepsSelected: boolean): Native =>
  (args, _place, runtime) => {
    const [map, pointer] = args
    if (!(map instanceof Map) || !(pointer instanceof FunctionPointer)) return noMatch
    const taken: ValueMap = new Map()
    for (const name of sortedNames(map)) {
      const answer = runtime.callBack({ pointer, args: [name], item: memberOf(map, name), itemIndex: 1 })
      if ((answer === true) === keepsSelected) continue
      taken.set(name, map.get(name))
      map.delete(name)
    }
    return taken
  }

const asking = (map: ValueMap, pointer: FunctionPointer, runtime: Runtime) => (name: string) =>
  runtime.callBack({ pointer, args: [name], item: memberOf(map, name), itemIndex: 1 })

const merge = (map: ValueMap, other: ValueMap, runtime: Runtime): undefined => {
  runtime.charge(other.size)
  for (const [name, value] of other) setMember(map, name, value)
  return undefined
}

export const mapFunctions: Readonly<Record<string, Native>> = {
  len: ofMap((map) => BigInt(map.size)),
  is_empty: ofMap((map) => map.size === 0),
  contains: ofMap((map, [name]) => (typeof name === 'string' ? map.has(name) : noMatch)),
  get: ofMap((map, [name], runtime) =>
    typeof name === 'string' ? copyOf(map.get(name), (count) => runtime.charge(count)) : noMatch,
  ),
  set: (args) => {
    const [map, name, value] = args
    if (!(map instanceof Map) || typeof name !== 'string' || args.length !== 3) return noMatch
    setMember(map, name, value)
    return undefined
  },
  clear: ofMap((map) => {
    map.clear()
    return undefined
  }),
  remove: ofMap((map, [name]) => {
    if (typeof name !== 'string') return noMatch
    const value = map.get(name)
    map.delete(name)
    return value
  }),
  mixin: ofMap((map, [other], runtime) => (other instanceof Map ? merge(map, other, runtime) : noMatch)),
  fill_with: ofMap((map, [other], runtime) => {
    if (!(other instanceof Map)) return noMatch
    runtime.charge(other.size)
    for (const [name, value] of other) if (!map.has(name)) setMember(map, name, value)
    return undefined
  }),
  keys: ofMap((map, _args, runtime) => {
    runtime.charge(map.size)
    return sortedNames(map)
  }),
  values: ofMap((map, _args, runtime) =>
    copyOf(
      sortedNames(map).map((name) => map.get(name)),
      (count) => runtime.charge(count),
    ),
  ),
  map: ofMap((map, [pointer], runtime) => {
    if (!(pointer instanceof FunctionPointer)) return noMatch
    const ask = asking(map, pointer, runtime)
    return new Map(sortedNames(map).map((name) => [name, ask(name)]))
  }),
  filter: ofMap((map, [pointer], runtime) => {
    if (!(pointer instanceof FunctionPointer)) return noMatch
    const ask = asking(map, pointer, runtime)
    const found: ValueMap = new Map()
    for (const name of sortedNames(map)) {
      if (ask(name) === true)
        found.set(
          name,
          copyOf(map.get(name), (count) => runtime.charge(count)),
        )
    }
    return found
  }),
  drain: parting(false),
  retain: parting(true),
  to_json: ofMap((map) => valueJson(map)),
}
