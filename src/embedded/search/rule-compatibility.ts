/**
 * Whether hits of two queries can be put in one order (M-F20): their rules, made canonical, must be of the same kinds in
 * the same places. The message names both rules and what was changed to make them canonical.
 */
import { ApiError } from '../../api/errors.ts'
import type { SortCriterion } from './sort-criteria.ts'
import type { Strategy } from './word-rules.ts'

export type RankedKind = 'placeholder' | 'keyword' | 'vector'

type Kind = 'relevancy' | 'ascending sort' | 'descending sort' | 'ascending geo sort' | 'descending geo sort'

type Source =
  | { readonly kind: 'rule'; readonly index: number }
  | { readonly kind: 'rules'; readonly first: number; readonly last: number }
  | { readonly kind: 'sort'; readonly rule: number; readonly index: number }

interface Rule {
  readonly source: Source
  readonly kind: Kind
}

export interface QueryRules {
  readonly uid: string
  /** Position of the query in the request. */
  readonly position: number
  /** Canonical names, and what the `sort` among them stands for. */
  readonly names: readonly string[]
  readonly sort: readonly SortCriterion[]
  readonly rules: readonly Rule[]
  /** What was changed, one line each. */
  readonly notes: readonly string[]
}

const wordRules = ['words', 'typo', 'proximity', 'attribute', 'attributeRank', 'wordPosition', 'exactness']

export interface RulesInput {
  readonly uid: string
  readonly position: number
  readonly rankingRules: readonly string[]
  /** Null = the query has no `sort`. */
  readonly sort: readonly SortCriterion[] | null
  readonly strategy: Strategy
  readonly kind: RankedKind
}

export function queryRules(input: RulesInput): QueryRules {
  const names: string[] = []
  const canonicalSort: SortCriterion[] = []
  const notes: string[] = []
  const seen = new Map<string, number>()
  const sortedFields = new Map<string, Source>()
  let vector: number | null = null
  let words: 'none' | 'prepended' | number = 'none'
  const note = (text: string) => notes.push(`    ${notes.length + 1}. ${text}`)
  const position = (source: Source) => sourcePosition(source)
  const duplicate = (removed: Source, earlier: Source) =>
    note(
      `Removed duplicate rule \`${sourceName(earlier, input)}\` at position ${position(removed)} as it already appears at position ${position(earlier)}`,
    )

  for (const [index, name] of input.rankingRules.entries()) {
    const here: Source = { kind: 'rule', index }
    if (wordRules.includes(name)) {
      if (input.kind === 'placeholder') {
        note(
          `Removed relevancy rule \`${name}\` at position ${position(here)} because the query is a placeholder search (\`q\`: "")`,
        )
      } else if (input.kind === 'vector') {
        if (vector === null) {
          names.push(name)
          vector = index
        } else if (sortedFields.size === 0) {
          note(
            `Removed relevancy rule \`${name}\` at position ${position(here)} because the query is a vector search and \`vector\` was already inserted at position ${position({ kind: 'rule', index: vector })}`,
          )
        } else {
          note(
            `Truncated relevancy rule \`${name}\` at position ${position(here)} and later rules because the query is a vector search and \`vector\` was inserted at position ${position({ kind: 'rule', index: vector })}`,
          )
          break
        }
      } else if (name === 'words') {
        if (input.strategy === 'all') {
          note(`Removed rule \`words\` at position ${position(here)} because \`query.matchingWords\` is set to \`all\``)
          continue
        }
        if (typeof words === 'number') {
          duplicate(here, { kind: 'rule', index: words })
          continue
        }
        if (words === 'prepended')
          note(`Removed rule \`words\` at position ${position(here)} because it was previously prepended`)
        words = index
        names.push(name)
      } else {
        if (input.strategy !== 'all' && words === 'none') {
          note(`Prepended rule \`words\` before first relevancy rule \`${name}\` at position ${position(here)}`)
          names.push('words')
          words = 'prepended'
        }
        const earlier = seen.get(name)
        if (earlier !== undefined) duplicate(here, { kind: 'rule', index: earlier })
        else {
          seen.set(name, index)
          names.push(name)
        }
      }
      continue
    }
    if (name === 'sort') {
      const earlier = seen.get(name)
      if (earlier !== undefined) duplicate(here, { kind: 'rule', index: earlier })
      else if (input.sort === null)
        notes.push(
          `   ${notes.length + 1}. Removed rule \`sort\` at position ${position(here)} because \`query.sort\` is empty`,
        )
      else {
        seen.set(name, index)
        names.push(name)
        addSort(input.sort, index)
      }
      continue
    }
    const field = name.slice(0, name.lastIndexOf(':'))
    const earlier = sortedFields.get(field)
    if (earlier !== undefined) duplicate(here, earlier)
    else {
      sortedFields.set(field, here)
      names.push(name)
    }
  }

  function addSort(criteria: readonly SortCriterion[], rule: number): void {
    let geo: Source | undefined
    for (const [index, criterion] of criteria.entries()) {
      const source: Source = { kind: 'sort', rule, index }
      const earlier: Source | undefined = criterion.kind === 'geo' ? geo : sortedFields.get(criterion.field)
      if (earlier !== undefined) {
        duplicate(source, earlier)
        continue
      }
      if (criterion.kind === 'geo') geo = source
      else sortedFields.set(criterion.field, source)
      canonicalSort.push(criterion)
    }
  }

  const { uid, position: at } = input
  return { uid, position: at, names, sort: canonicalSort, rules: coalesce(names, canonicalSort), notes }
}

/** @throws ApiError `invalid_multi_search_query_ranking_rules` when `current` does not go with `previous`. */
export function checkCompatible(previous: QueryRules, current: QueryRules): void {
  for (const [index, rule] of current.rules.entries()) {
    const other = previous.rules[index]
    if (other === undefined) return
    if (rule.kind === other.kind) continue
    const lines = [
      `The results of queries #${previous.position} and #${current.position} are incompatible: `,
      `  1. ${describe(previous, other)}`,
      `  2. ${describe(current, rule)}`,
      `  - ${reason(other.kind, rule.kind)}`,
    ]
    for (const { position, notes } of [previous, current])
      if (notes.length > 0)
        lines.push(`  - note: The ranking rules of query #${position} were modified during canonicalization:`, ...notes)
    throw new ApiError('invalid_multi_search_query_ranking_rules', `${lines.join('\n')}\n`)
  }
}

/** Runs of relevancy rules count as one. */
function coalesce(names: readonly string[], sort: readonly SortCriterion[]): readonly Rule[] {
  const rules: Rule[] = []
  for (const [index, name] of names.entries()) {
    if (name === 'sort') {
      for (const [at, criterion] of sort.entries())
        rules.push({ source: { kind: 'sort', rule: index, index: at }, kind: sortKind(criterion) })
      continue
    }
    if (!wordRules.includes(name)) {
      rules.push({
        source: { kind: 'rule', index },
        kind: name.endsWith(':asc') ? 'ascending sort' : 'descending sort',
      })
      continue
    }
    const before = rules.at(-1)
    if (before?.kind === 'relevancy' && before.source.kind !== 'sort') {
      const first = before.source.kind === 'rule' ? before.source.index : before.source.first
      rules[rules.length - 1] = { source: { kind: 'rules', first, last: index }, kind: 'relevancy' }
    } else rules.push({ source: { kind: 'rule', index }, kind: 'relevancy' })
  }
  return rules
}

function sortKind(criterion: SortCriterion): Kind {
  if (criterion.kind === 'geo') return criterion.ascending ? 'ascending geo sort' : 'descending geo sort'
  return criterion.ascending ? 'ascending sort' : 'descending sort'
}

function sortName(criterion: SortCriterion): string {
  const direction = criterion.ascending ? 'asc' : 'desc'
  return criterion.kind === 'geo' ? `_geo(..):${direction}` : `${criterion.field}:${direction}`
}

function sourceName(source: Source, { rankingRules, sort }: RulesInput): string {
  if (source.kind === 'rule') return rankingRules[source.index] ?? 'unknown'
  const criterion = source.kind === 'sort' ? sort?.[source.index] : undefined
  return criterion === undefined ? 'unknown' : sortName(criterion)
}

function sourcePosition(source: Source): string {
  switch (source.kind) {
    case 'rule':
      return `#${source.index} in ranking rules`
    case 'rules':
      return `#${source.first} to #${source.last} in ranking rules`
    case 'sort':
      return `#${source.index} in \`query.sort\` (as \`sort\` is #${source.rule} in ranking rules)`
  }
}

function describe({ uid, position, names, sort }: QueryRules, { source, kind }: Rule): string {
  switch (source.kind) {
    case 'rule':
      return `\`queries[${position}]\`, \`${uid}.rankingRules[${source.index}]\`: ${kind} rule(s) ${names[source.index]}`
    case 'rules': {
      const run = names.slice(source.first, source.last + 1).join(', ')
      return `\`queries[${position}]\`, \`${uid}.rankingRules[${source.first}..=${source.last}]\`: ${kind} rule(s) ${run}`
    }
    case 'sort': {
      const criterion = sort[source.index]
      const name = criterion?.kind === 'field' ? `on field \`${criterion.field}\`` : 'default'
      return `\`queries[${position}].sort[${source.index}]\`, \`${uid}.rankingRules[${source.rule}]\`: ${kind} rule(s) ${name}`
    }
  }
}

function reason(previous: Kind, current: Kind): string {
  const kinds = [previous, current]
  const isGeo = (kind: Kind) => kind.includes('geo')
  if (kinds.includes('relevancy'))
    return kinds.some(isGeo)
      ? 'cannot compare a relevancy rule with a geosort rule'
      : 'cannot compare a relevancy rule with a sort rule'
  if (kinds.every(isGeo)) return 'cannot compare two geosort rules in opposite directions'
  if (kinds.some(isGeo)) return 'cannot compare a sort rule with a geosort rule'
  return 'cannot compare two sort rules in opposite directions'
}
