/**
 * Templates in the Liquid language, with the tags and filters that Meilisearch has, its strictness about unknown names,
 * and its messages for the usual mistakes.
 *
 * The library is loaded with the first template: it takes about 40 ms, and most processes and threads meet none.
 */
import { createRequire } from 'node:module'
import type * as Library from 'liquidjs'
import type { Context, Liquid, Template } from 'liquidjs'
import { isObject, type Json } from '../lib/json.ts'

/** What is wrong with a template, or with what it was given. */
export class TemplateFault extends Error {
  override readonly name = 'TemplateFault'
}

export interface LiquidTemplate {
  /**
   * Names are those of `scope`.
   *
   * @param msMax  that it may take; default 1,000.
   * @throws TemplateFault for a name that `scope` has not.
   */
  render(scope: Readonly<Record<string, unknown>>, msMax?: number): string
}

const tags = ['assign', 'break', 'continue', 'cycle', 'decrement', 'include', 'increment', 'render']
const blocks = ['capture', 'case', 'comment', 'for', 'if', 'ifchanged', 'raw', 'tablerow', 'unless']
const filters =
  'abs, append, at_least, at_most, capitalize, ceil, compact, concat, date, default, divided_by, downcase, escape, escape_once, first, floor, join, last, lstrip, map, minus, modulo, newline_to_br, plus, prepend, remove, remove_first, replace, replace_first, reverse, round, rstrip, size, slice, sort, sort_natural, split, strip, strip_html, strip_newlines, times, truncate, truncatewords, uniq, upcase, url_decode, url_encode, where'

/** What one rendering may take: a template is a client's, and may loop. */
const renderMsMax = 1000
const renderMemoryMax = 10_000_000
const templateCharactersMax = 1_000_000

interface Loaded {
  readonly liquid: Liquid
  readonly StrictContext: typeof Context
}

let loaded: Loaded | undefined

function load(): Loaded {
  if (loaded !== undefined) return loaded
  const library = createRequire(import.meta.url)('liquidjs') as typeof Library
  const engine = new library.Liquid({
    strictFilters: true,
    strictVariables: true,
    lenientIf: true,
    ownPropertyOnly: true,
    // Partials are looked up here and never in files.
    templates: {},
    parseLimit: templateCharactersMax,
    renderLimit: renderMsMax,
    memoryLimit: renderMemoryMax,
  })
  const known = new Set([...tags, ...blocks])
  for (const name of Object.keys(engine.tags)) if (!known.has(name)) delete engine.tags[name]
  const knownFilters = new Set(filters.split(', '))
  for (const name of Object.keys(engine.filters)) if (!knownFilters.has(name)) delete engine.filters[name]
  loaded = { liquid: engine, StrictContext: strict(library.Context) }
  return loaded
}

/** @throws TemplateFault */
export function parseLiquid(text: string): LiquidTemplate {
  const { liquid, StrictContext } = load()
  let parsed: Template[]
  try {
    parsed = liquid.parse(text)
  } catch (error) {
    throw new TemplateFault(parsingText(text, error), { cause: error })
  }
  return {
    render(scope, msMax = renderMsMax) {
      const context = new StrictContext(scope, liquid.options, { sync: true, renderLimit: msMax }, { liquid })
      try {
        return String(liquid.renderSync(parsed, context))
      } catch (error) {
        throw new TemplateFault(renderingText(error), { cause: error })
      }
    },
  }
}

/** A name that the scope does not have. Its name is the one that the library's lenient places catch. */
class UnknownName extends Error {
  override readonly name = 'InternalUndefinedVariableError'
}

/** A context that tells every unknown name, below null and scalars too. */
const strict = (Base: typeof Context): typeof Context =>
  class StrictContext extends Base {
    override *_getFromScope(
      scope: Parameters<Context['_getFromScope']>[0],
      paths: Parameters<Context['_getFromScope']>[1],
      isStrict: boolean = this.strictVariables,
    ): IterableIterator<unknown> {
      const steps = typeof paths === 'string' ? paths.split('.') : paths
      let value: unknown = scope
      for (const [index, step] of steps.entries()) {
        const inner: unknown = yield this.readProperty(value as Parameters<Context['readProperty']>[0], step)
        if (isStrict && (inner === undefined || value === null)) {
          const isVariable = index === 0 && (value === this.environments || value === this.globals)
          throw new UnknownName(
            isVariable
              ? unknownVariable(String(step))
              : unknownIndex(steps.slice(0, index).join('.'), String(step), value),
          )
        }
        value = inner
      }
      return value
    }
  }

const unknownVariable = (name: string): string => `liquid: Unknown variable\n  with:\n    requested variable=${name}\n`

function unknownIndex(variable: string, name: string, value: unknown): string {
  const known = isObject(value) ? Object.keys(value).join(', ') : ''
  return `liquid: Unknown index\n  with:\n    variable=${variable}\n    requested index=${name}\n    available indexes=${known}\n`
}

function renderingText(error: unknown): string {
  let cause = error
  for (let depth = 0; depth < 5 && cause instanceof Error; depth += 1) {
    if (cause instanceof UnknownName) return cause.message
    cause = 'originalError' in cause ? cause.originalError : undefined
  }
  const message = messageOf(error)
  const partial = /Failed to lookup "(.*?)"/.exec(message)?.[1]
  return partial === undefined
    ? `liquid: ${message}\n`
    : `liquid: Partial does not exist\n  with:\n    name=${partial}\n`
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function parsingText(text: string, error: unknown): string {
  const message = messageOf(error)
  const filter = /^undefined filter: ([^,]+)/.exec(message)?.[1]
  if (filter !== undefined)
    return `liquid: Unknown filter\n  with:\n    requested filter=${filter}\n    available filters=${filters}\n`
  const begin = beginOf(error)
  if (/^tag ".*" not found/.test(message)) {
    const name = /^tag "(.*)" not found/.exec(message)?.[1] ?? ''
    const notes = `\n  with:\n    requested=${name}\n    available tags=${tags.join(', ')}\n    available blocks=${blocks.join(', ')}`
    return place(text, text.indexOf(name, begin), underline(name.length), `Unknown tag.${notes}`)
  }
  const open = /^tag \{%-?\s*(\w+).* not closed/s.exec(message)?.[1]
  if (open !== undefined && message.includes('%}'))
    return `liquid: ${excerpt('', 1, text.split('\n').length, (text.split('\n').at(-1)?.length ?? 0) + 1, 1, '^', `Unclosed block. {% end${open} %} tag expected.`)}`
  const start = begin + (/^\{[{%]-?\s*/.exec(text.slice(begin))?.[0].length ?? 0)
  if (message.includes('invalid value expression: ""')) return place(text, start, '^---', 'expected Value')
  return place(text, start, '^---', 'expected Literal')
}

function beginOf(error: unknown): number {
  if (!(error instanceof Error) || !('token' in error)) return 0
  const { token } = error
  return typeof token === 'object' && token !== null && 'begin' in token && typeof token.begin === 'number'
    ? token.begin
    : 0
}

const underline = (length: number): string => (length < 2 ? '^' : `^${'-'.repeat(length - 2)}^`)

/** The line of a mistake with a mark below it. */
function place(text: string, at: number, mark: string, message: string): string {
  const before = text.slice(0, at).split('\n')
  const line = text.split('\n')[before.length - 1] ?? ''
  const column = (before.at(-1)?.length ?? 0) + 1
  return `liquid: ${excerpt(line, before.length, before.length, column, column, mark, message)}`
}

function excerpt(
  line: string,
  shownLine: number,
  row: number,
  column: number,
  markColumn: number,
  mark: string,
  message: string,
): string {
  const indent = ' '.repeat(String(shownLine).length)
  return `${indent}--> ${row}:${column}\n${indent} |\n${shownLine} | ${line}\n${indent} | ${' '.repeat(markColumn - 1)}${mark}\n${indent} |\n${indent} = ${message}\n`
}

/** JSON as templates see it: an object prints its names and values one after another. */
export function liquidValue(value: Json): unknown {
  if (Array.isArray(value)) return (value as readonly Json[]).map(liquidValue)
  if (!isObject(value)) return value
  return liquidObject(Object.fromEntries(Object.entries(value).map(([name, member]) => [name, liquidValue(member)])))
}

export function liquidObject(members: Readonly<Record<string, unknown>>): object {
  return Object.defineProperty(members, Symbol.toPrimitive, { value: () => printed(members), enumerable: false })
}

function printed(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) return value.map(printed).join('')
  if (typeof value !== 'object') return String(value)
  return Object.entries(value)
    .map(([name, member]) => name + printed(member))
    .join('')
}
