/** A JSON value whose strings are Liquid templates: the fragments of a `rest` embedder. */
import { isObject, type Json } from '../lib/json.ts'
import { parseLiquid, TemplateFault } from './liquid-template.ts'

export interface JsonTemplate {
  /** @throws TemplateFault naming the place below `root`. */
  render(scope: Readonly<Record<string, unknown>>, root: string, msMax?: number): Json
}

type Part =
  | { readonly kind: 'plain'; readonly value: Json }
  | {
      readonly kind: 'text'
      readonly render: (scope: Readonly<Record<string, unknown>>, msMax: number | undefined) => string
      readonly path: string
    }
  | { readonly kind: 'list'; readonly parts: readonly Part[] }
  | { readonly kind: 'object'; readonly parts: readonly (readonly [string, Part])[] }

/** @throws TemplateFault naming the place below `root`. */
export function parseJsonTemplate(value: Json, root: string): JsonTemplate {
  const part = parsePart(value, '', root)
  return { render: (scope, shown, msMax) => renderPart(part, scope, shown, msMax) }
}

function parsePart(value: Json, path: string, root: string): Part {
  if (typeof value === 'string') {
    try {
      const template = parseLiquid(value)
      return { kind: 'text', render: (scope, msMax) => template.render(scope, msMax), path }
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error
      throw new TemplateFault(`${where(root, path)}error while parsing template: ${error.message}`, { cause: error })
    }
  }
  if (Array.isArray(value))
    return {
      kind: 'list',
      parts: (value as readonly Json[]).map((item, index) => parsePart(item, `${path}[${index}]`, root)),
    }
  if (!isObject(value)) return { kind: 'plain', value }
  return {
    kind: 'object',
    parts: Object.entries(value).map(([name, member]) => [name, parsePart(member, `${path}.${name}`, root)] as const),
  }
}

function renderPart(
  part: Part,
  scope: Readonly<Record<string, unknown>>,
  root: string,
  msMax: number | undefined,
): Json {
  switch (part.kind) {
    case 'plain':
      return part.value
    case 'list':
      return part.parts.map((inner) => renderPart(inner, scope, root, msMax))
    case 'object':
      return Object.fromEntries(part.parts.map(([name, inner]) => [name, renderPart(inner, scope, root, msMax)]))
    case 'text':
      try {
        return part.render(scope, msMax)
      } catch (error) {
        if (!(error instanceof TemplateFault)) throw error
        throw new TemplateFault(`${where(root, part.path)}error while rendering template: ${error.message}`, {
          cause: error,
        })
      }
  }
}

const where = (root: string, path: string): string => (path === '' ? '' : `in \`\`${root}${path}\`\`, `)
