/** Which rule of `filterableAttributes` decides for a field (M-D3), and how messages list attributes. */
import { isCovered, matchesPattern } from '../field-rules.ts'
import type { IndexReader } from '../index-reader.ts'
import type { FilterableRule, IndexSettings } from '../index-settings.ts'

export interface MatchedRule {
  readonly index: number
  readonly rule: FilterableRule
}

/** The first rule that matches the field. */
export function ruleOf(settings: IndexSettings, field: string): MatchedRule | undefined {
  const index = settings.filterableAttributes.findIndex((rule) => ruleMatches(rule, field))
  const rule = settings.filterableAttributes[index]
  return rule === undefined ? undefined : { index, rule }
}

/** A plain name covers what is nested below it and is no pattern; a rule's patterns do not look below. */
export function ruleMatches(rule: FilterableRule, field: string): boolean {
  return rule.attributePatterns.some((pattern) =>
    rule.plain ? isCovered(field, pattern) : matchesPattern(field, pattern),
  )
}

export function isFilterable(rule: FilterableRule): boolean {
  return rule.features.filter.equality || rule.features.filter.comparison
}

/** Patterns of the rules that pass, sorted, each once. */
export function patternsWhere(settings: IndexSettings, test: (rule: FilterableRule) => boolean): readonly string[] {
  return sorted(settings.filterableAttributes.filter(test).flatMap((rule) => rule.attributePatterns))
}

export function sorted(names: Iterable<string>): readonly string[] {
  return [...new Set(names)].sort()
}

export interface ShownNames {
  /** `` `a, b, <..hidden-attributes>` ``, or empty when there is none to show. */
  readonly list: string
  readonly isEmpty: boolean
}

/** Names as a message may tell them: those that are not displayed are only hinted at. */
export function shownNames(reader: IndexReader, names: readonly string[]): ShownNames {
  const { displayedAttributes } = reader.settings
  const all = sorted(names)
  const shown = displayedAttributes.includes('*') ? all : all.filter((name) => displayedAttributes.includes(name))
  const hint = shown.length < all.length ? ', <..hidden-attributes>' : ''
  return { list: `\`${shown.join(', ')}${hint}\``, isEmpty: shown.length === 0 }
}
