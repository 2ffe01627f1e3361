/** What a function is made of once it was parsed. */
import type { Position } from './script-error.ts'
import type { Value } from './values.ts'

export type Expression =
  | { readonly kind: 'constant'; readonly value: Value; readonly at: Position }
  | { readonly kind: 'interpolation'; readonly parts: readonly Expression[]; readonly at: Position }
  | { readonly kind: 'array'; readonly items: readonly Expression[]; readonly at: Position }
  | { readonly kind: 'map'; readonly members: readonly (readonly [string, Expression])[]; readonly at: Position }
  | { readonly kind: 'variable'; readonly name: string; readonly at: Position }
  | { readonly kind: 'this'; readonly at: Position }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[]; readonly at: Position }
  | { readonly kind: 'operation'; readonly name: string; readonly args: readonly Expression[]; readonly at: Position }
  | { readonly kind: 'and' | 'or' | 'coalesce'; readonly items: readonly Expression[]; readonly at: Position }
  | { readonly kind: 'statement'; readonly statement: Statement; readonly at: Position }
  | { readonly kind: 'chain'; readonly root: Expression; readonly links: readonly Link[]; readonly at: Position }
  | {
      readonly kind: 'closure'
      readonly definition: FunctionDefinition
      readonly captured: readonly { readonly name: string; readonly at: Position }[]
      readonly at: Position
    }

/** A step of `a.b[c].d()`. `isOptional`: `?.` or `?[`. `opAt`: of the dot or bracket. */
export type Link =
  | {
      readonly kind: 'property'
      readonly name: string
      readonly isOptional: boolean
      readonly at: Position
      readonly opAt: Position
    }
  | {
      readonly kind: 'index'
      readonly index: Expression
      readonly isOptional: boolean
      readonly at: Position
      readonly opAt: Position
    }
  | {
      readonly kind: 'method'
      readonly name: string
      readonly args: readonly Expression[]
      readonly isOptional: boolean
      readonly at: Position
      readonly opAt: Position
    }

export interface Block {
  readonly statements: readonly Statement[]
  readonly at: Position
}

export interface SwitchCase {
  /** Empty = the default. */
  readonly values: readonly Value[]
  readonly condition: Expression | null
  readonly action: Statement
}

export type Statement =
  | { readonly kind: 'noop'; readonly at: Position }
  | { readonly kind: 'expression'; readonly expression: Expression; readonly at: Position }
  | { readonly kind: 'block'; readonly block: Block; readonly at: Position }
  | {
      readonly kind: 'assignment'
      /** The operator before `=`, or null. */
      readonly operator: string | null
      readonly target: Expression
      readonly value: Expression
      readonly at: Position
    }
  | {
      readonly kind: 'declaration'
      readonly name: string
      readonly isConstant: boolean
      readonly value: Expression | null
      readonly at: Position
    }
  | {
      readonly kind: 'if'
      readonly condition: Expression
      readonly then: Block
      readonly otherwise: Statement | null
      readonly at: Position
    }
  | {
      readonly kind: 'switch'
      readonly value: Expression
      readonly cases: readonly SwitchCase[]
      readonly at: Position
    }
  /** No condition: for ever. */
  | { readonly kind: 'while'; readonly condition: Expression | null; readonly body: Block; readonly at: Position }
  | {
      readonly kind: 'do'
      readonly condition: Expression
      readonly isUntil: boolean
      readonly body: Block
      readonly at: Position
    }
  | {
      readonly kind: 'for'
      readonly name: string
      readonly counter: string | null
      readonly values: Expression
      readonly body: Block
      readonly at: Position
    }
  | { readonly kind: 'break'; readonly value: Expression | null; readonly at: Position }
  | { readonly kind: 'continue'; readonly at: Position }
  | {
      readonly kind: 'try'
      readonly body: Block
      readonly caught: string | null
      readonly handler: Block
      readonly at: Position
    }
  | { readonly kind: 'return' | 'throw'; readonly value: Expression | null; readonly at: Position }

export interface FunctionDefinition {
  /** Empty for closures. */
  readonly name: string
  readonly params: readonly string[]
  readonly body: Block
  /** The type that `this` must have, or null. */
  readonly thisType: string | null
}

export interface Script {
  readonly body: Block
  /** By name, number of parameters and type of `this`: `name/2` or `name/2/string`. */
  readonly functions: ReadonlyMap<string, FunctionDefinition>
}

export const functionKey = (name: string, count: number, thisType: string | null = null): string =>
  thisType === null ? `${name}/${count}` : `${name}/${count}/${thisType}`

/** Where messages about the whole expression point. */
export function startOf(expression: Expression): Position {
  if (expression.kind === 'chain') return startOf(expression.root)
  if (expression.kind === 'operation') return startOf(expression.args[0]!)
  if (expression.kind === 'and' || expression.kind === 'or' || expression.kind === 'coalesce')
    return startOf(expression.items[0]!)
  return expression.at
}
