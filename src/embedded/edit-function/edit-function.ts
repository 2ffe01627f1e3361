/**
 * Edits of documents by a function (M-E5): the part of Rhai that such functions use. The function runs once per document,
 * sees `doc` and `context`, and reaches nothing else.
 */
import { Evaluation } from './evaluation.ts'
import { parseScript } from './parse-statement.ts'
import { ScriptError, SyntaxMistake } from './script-error.ts'
import type { Script } from './syntax.ts'
import { areSame } from './value-identity.ts'
import { valueJson, valueOfJson } from './value-json.ts'
import { type Cell, copyOf, sortedNames, type Value, type ValueMap } from './values.ts'

/** Longer functions are refused, since they are parsed on the thread that serves requests. */
export const functionTextMax = 128 * 1024

/** What the reference answers when the request arrives. @throws SyntaxMistake */
export function checkFunction(text: string): void {
  parseScript(text, { depthMax: 64, functionDepthMax: 32, functionsMax: Number.MAX_SAFE_INTEGER })
}

export type Edit =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'deleted' }
  /** Not an object any more. */
  | { readonly kind: 'no-object' }
  /** JSON text by member. */
  | { readonly kind: 'changed'; readonly members: ReadonlyMap<string, string> }

export interface EditFunction {
  /** @param members  JSON text of the document's members. @throws ScriptError */
  edit(members: ReadonlyMap<string, string>): Edit
}

/** @param contextText  JSON of the context, or null. @throws SyntaxMistake */
export function compileEdit(text: string, contextText: string | null): EditFunction {
  const script: Script = parseScript(text, { depthMax: 100, functionDepthMax: 1000, functionsMax: 30 })
  const context = contextText === null ? undefined : valueOfJson(contextText)
  return {
    edit(members) {
      const before: ValueMap = new Map([...members].map(([name, value]) => [name, valueOfJson(value)]))
      const uncounted = () => {}
      const doc: Cell = { name: 'doc', value: copyOf(before, uncounted), isConstant: false }
      const cells: Cell[] = [doc]
      if (contextText !== null) cells.unshift({ name: 'context', value: copyOf(context, uncounted), isConstant: true })
      new Evaluation(script).run(cells)
      return editOf(members, before, cells.findLast(({ name }) => name === 'doc')?.value)
    },
  }
}

function editOf(members: ReadonlyMap<string, string>, before: ValueMap, after: Value): Edit {
  if (after === undefined) return { kind: 'deleted' }
  if (!(after instanceof Map)) return { kind: 'no-object' }
  if (areSame(before, after)) return { kind: 'unchanged' }
  const changed = new Map<string, string>()
  for (const name of sortedNames(after)) {
    const value = after.get(name)
    const text = members.get(name)
    // Whole numbers beyond 64 bits with a sign are floating-point numbers to the function; untouched, they keep their digits.
    const isKept = text !== undefined && /[0-9]{19}/.test(text) && areSame(before.get(name), value)
    changed.set(name, isKept ? text : valueJson(value))
  }
  return { kind: 'changed', members: changed }
}

export { ScriptError, SyntaxMistake }
