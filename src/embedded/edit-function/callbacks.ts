/** Functions that built-in ones call, such as those that `map` and `sort` are given. */
import type { Evaluation } from './evaluation.ts'
import { type Callback, temporary, type ValuePlace } from './runtime.ts'
import type { Position } from './script-error.ts'
import { functionKey } from './syntax.ts'
import { type FunctionPointer, SharedCell, type Value } from './values.ts'

/** The item becomes `this` or an argument, and the extras are given, as the function has room for them. */
export function callBack(
  evaluation: Evaluation,
  { pointer, args, item, extras = [], itemIndex }: Callback,
  at: Position,
): Value {
  const { definition, curried } = pointer
  if (definition === null) return callByName(evaluation, pointer, args, item, itemIndex, at)
  const room = definition.params.length - curried.length
  const withItem = () => {
    const all = [...args]
    all.splice(itemIndex ?? 0, 0, evaluation.copy(item?.read()))
    return all
  }
  if (room === args.length) return evaluation.callPointer(pointer, args, item, at)
  if (item !== undefined && itemIndex !== undefined) {
    if (room === args.length + 1) return evaluation.callPointer(pointer, withItem(), undefined, at)
    if (room === args.length + 1 + extras.length)
      return evaluation.callPointer(pointer, [...withItem(), ...extras], undefined, at)
  }
  if (room === args.length + extras.length) return evaluation.callPointer(pointer, [...args, ...extras], item, at)
  return evaluation.callPointer(pointer, args, item, at)
}

/** A pointer made from a name: its function takes the item as its first argument, or as `this`. */
function callByName(
  evaluation: Evaluation,
  { name, curried }: FunctionPointer,
  args: readonly Value[],
  item: ValuePlace | undefined,
  itemIndex: number | undefined,
  at: Position,
): Value {
  const values = [...curried.map((value) => (value instanceof SharedCell ? value.cell.value : value)), ...args]
  const own = [...values]
  if (item !== undefined) own.splice(itemIndex ?? 0, 0, evaluation.copy(item.read()))
  const definition = evaluation.functionOf(functionKey(name, own.length))
  if (definition !== undefined) return evaluation.callDefinition(definition, own, undefined, at)
  if (item !== undefined) return evaluation.callNamed(name, item, values, at, true)
  const [first, ...rest] = values
  return evaluation.callNamed(name, values.length === 0 ? undefined : temporary(first), rest, at, false)
}
