/** `a.b[c].d()`: walks from a variable to a place inside of it, reads it or changes it there. */
import { callBuiltIn, isGetter } from './built-ins.ts'
import type { Evaluation, Scope } from './evaluation.ts'
import { memberOf, setMember } from './map-functions.ts'
import { itemOf, noMatch, temporary, type ValuePlace } from './runtime.ts'
import { type Position, ScriptError, wrongType } from './script-error.ts'
import type { Expression, Link } from './syntax.ts'
import { Character, FunctionPointer, Range, typeName, type Value } from './values.ts'

type Chain = Expression & { readonly kind: 'chain' }

interface Assignment {
  readonly operator: string | null
  readonly value: Value
  readonly at: Position
}

/** Reads what the chain names or, with an assignment, changes it. Arguments are evaluated before anything is looked up. */
export function accessChain(
  evaluation: Evaluation,
  scope: Scope,
  { root, links }: Chain,
  assignment: Assignment | undefined,
): Value {
  const args = links.map((link) => {
    if (link.kind === 'index') return [evaluation.evaluate(scope, link.index)]
    return link.kind === 'method' ? link.args.map((arg) => evaluation.evaluate(scope, arg)) : []
  })
  let place: ValuePlace
  if (root.kind === 'variable' || root.kind === 'this') {
    evaluation.count(root.at)
    place = evaluation.requiredPlace(scope, root)
  } else place = temporary(evaluation.evaluate(scope, root))
  for (const [index, link] of links.entries()) {
    evaluation.count(link.at)
    if (link.isOptional && place.read() === undefined) return undefined
    const isTarget = assignment !== undefined && index === links.length - 1
    if (link.kind === 'method') place = temporary(callMethod(evaluation, place, link, args[index]!))
    else {
      const key = link.kind === 'property' ? link.name : args[index]![0]
      place =
        link.kind === 'property' && !(place.read() instanceof Map)
          ? property(evaluation, place, link, isTarget ? assignment : undefined)
          : element(place, key, link, isTarget)
    }
    if (isTarget) evaluation.assignTo(place, assignment.operator, assignment.value, assignment.at, root)
  }
  return assignment === undefined ? evaluation.copy(place.read()) : undefined
}

function callMethod(
  evaluation: Evaluation,
  place: ValuePlace,
  { name, at, args: expressions }: Link & { kind: 'method' },
  args: readonly Value[],
): Value {
  const value = place.read()
  if (name === 'call') {
    if (value instanceof FunctionPointer) return evaluation.callPointer(value, args, undefined, at)
    const [pointer, ...rest] = args
    if (args.length === 0) throw wrongType('Fn', typeName(value), at)
    if (!(pointer instanceof FunctionPointer)) throw wrongType('Fn', typeName(pointer), expressions[0]!.at)
    return evaluation.callPointer(pointer, rest, place, at)
  }
  if (name === 'curry') {
    if (!(value instanceof FunctionPointer)) throw wrongType('Fn', typeName(value), at)
    return new FunctionPointer(value.name, value.definition, [...value.curried, ...args])
  }
  const member = value instanceof Map ? value.get(name) : undefined
  if (member instanceof FunctionPointer) return evaluation.callPointer(member, args, place, at)
  return evaluation.callNamed(name, place, args, at, true)
}

/** A property of something that is no map: only a few can be read, none be written. */
function property(
  evaluation: Evaluation,
  place: ValuePlace,
  { name, at }: Link & { kind: 'property' },
  assignment: Assignment | undefined,
): ValuePlace {
  const value = place.read()
  const type = typeName(value)
  const isKnown = isGetter(name, value)
  if (assignment !== undefined && (assignment.operator === null || isKnown))
    throw new ScriptError(
      'ErrorDotExpr',
      `No writable property '${name}' - a setter is not registered for type '${type}' to handle '${typeName(assignment.value)}'`,
      at,
      { fields: { property: name } },
    )
  const found = isKnown
    ? callBuiltIn(name, [value], place, { charge: evaluation.charge, callBack: () => undefined })
    : noMatch
  if (found === noMatch)
    throw new ScriptError(
      'ErrorDotExpr',
      `Unknown property '${name}' - a getter is not registered for type '${type}'`,
      at,
      { fields: { property: name } },
    )
  return temporary(found)
}

/** `isTarget`: a member that is missing is made. */
function element(place: ValuePlace, key: Value, { at, opAt }: Link, isTarget: boolean): ValuePlace {
  const value = place.read()
  if (value instanceof Map) {
    if (typeof key !== 'string') throw wrongType('string', typeName(key), at)
    if (value.has(key)) return { ...memberOf(value, key), isConstant: place.isConstant }
    if (!isTarget) return temporary(undefined)
    setMember(value, key, undefined)
    return memberOf(value, key)
  }
  if (Array.isArray(value)) {
    if (typeof key !== 'bigint') throw wrongType('i64', typeName(key), at)
    const index = indexOf(value.length, key)
    if (index === undefined) throw outOfBounds('Array', value.length, key, at)
    return { ...itemOf(value, index), isConstant: place.isConstant }
  }
  if (typeof value === 'string') return letter(place, value, key, at)
  if (typeof value === 'bigint') return bit(place, value, key, at)
  throw new ScriptError('ErrorIndexingType', `Indexer unavailable: ${typeName(value)} [${typeName(key)}]`, opAt)
}

function indexOf(count: number, index: bigint): number | undefined {
  const at = index < 0n ? BigInt(count) + index : index
  return at >= 0n && at < BigInt(count) ? Number(at) : undefined
}

function outOfBounds(what: 'Array' | 'String', count: number, index: bigint, at: Position): ScriptError {
  const [lower, unit] = what === 'Array' ? ['array', 'element'] : ['string', 'character']
  const why = count === 0 ? `${lower} is empty` : `only ${count} ${unit}${count === 1 ? '' : 's'} in ${lower}`
  const text = `${what} index ${index} out of bounds: ${why}`
  return new ScriptError(what === 'Array' ? 'ErrorArrayBounds' : 'ErrorStringBounds', text, at, {
    fields: { length: BigInt(count), index },
  })
}

/** A character of a string, or a piece of it. */
function letter(place: ValuePlace, text: string, key: Value, at: Position): ValuePlace {
  const chars = Array.from(text)
  const { isConstant } = place
  if (typeof key === 'bigint') {
    const index = indexOf(chars.length, key)
    if (index === undefined) throw outOfBounds('String', chars.length, key, at)
    return {
      read: () => new Character(chars[index]!),
      write(value) {
        chars[index] = value instanceof Character ? value.text : typeof value === 'string' ? value : chars[index]!
        place.write(chars.join(''))
      },
      isConstant,
    }
  }
  if (!(key instanceof Range)) throw wrongType('i64', typeName(key), at)
  const bound = (index: bigint) => (index < 0n ? Math.max(0, chars.length + Number(index)) : Number(index))
  if (key.start < -BigInt(chars.length) && chars.length > 0) throw outOfBounds('String', chars.length, key.start, at)
  const start = Math.min(chars.length, bound(key.start))
  const end = Math.max(start, Math.min(chars.length, bound(key.end) + (key.isInclusive ? 1 : 0)))
  return {
    read: () => chars.slice(start, end).join(''),
    write: (value) => {
      const piece = value instanceof Character ? value.text : typeof value === 'string' ? value : ''
      place.write([...chars.slice(0, start), piece, ...chars.slice(end)].join(''))
    },
    isConstant,
  }
}

const bits = 64n

/** A bit of a whole number. */
function bit(place: ValuePlace, number: bigint, key: Value, at: Position): ValuePlace {
  if (typeof key !== 'bigint') throw wrongType('i64', typeName(key), at)
  const index = indexOf(Number(bits), key)
  if (index === undefined)
    throw new ScriptError(
      'ErrorBitFieldBounds',
      `Bit-field index ${key} out of bounds: only ${bits} bits in bit-field`,
      at,
    )
  const mask = 1n << BigInt(index)
  return {
    read: () => (number & mask) !== 0n,
    write: (value) => place.write(BigInt.asIntN(64, value === true ? number | mask : number & ~mask)),
    isConstant: place.isConstant,
  }
}
