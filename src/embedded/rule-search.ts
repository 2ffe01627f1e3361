/** Words of dynamic search rules: which rules a list is asked for, and which hold for a query. */
import { activeRules, type NamedRule, type RuleConditions, type RuleListQuery } from '../api/search-rule.ts'
import { createTokenizer, type Tokenizer } from './text/tokenize.ts'

/** As in the reference. */
const countedWordsMax = 10

let tokenizer: Tokenizer | undefined

function wordsOf(text: string): readonly string[] {
  tokenizer ??= createTokenizer({ stopWords: [], separatorTokens: [], nonSeparatorTokens: [], dictionary: [] })
  return tokenizer.tokenize(text).flatMap(({ kind, normalised }) => (kind === 'word' ? [normalised] : []))
}

/** A page, and how many match. */
export function listRules(
  rules: readonly NamedRule[],
  { offset, limit, query, active }: RuleListQuery,
): { readonly results: readonly NamedRule[]; readonly total: number } {
  const on = new Set(activeRules(rules))
  const asked = rules.filter((named) => active === null || on.has(named) === active)
  const found = query === null ? asked : rulesAbout(query, asked)
  return { results: found.slice(offset, offset + limit), total: found.length }
}

/** Rules with the first words of `query`, as they are, in description or condition; those with more of them first. */
function rulesAbout(query: string, rules: readonly NamedRule[]): readonly NamedRule[] {
  const asked = wordsOf(query)
  if (asked.length === 0) return rules
  const counted = rules.map((named) => {
    const { description = '', conditions } = named.rule
    const own = new Set(wordsOf(`${conditions?.query?.words ?? ''} . ${description}`))
    const missing = asked.findIndex((word) => !own.has(word))
    return { named, count: missing < 0 ? asked.length : missing }
  })
  return counted
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
    .map(({ named }) => named)
}

/** `words`: those of the query, phrases and negated words apart. */
export function isAbout(conditions: RuleConditions | undefined, words: readonly string[], isEmpty: boolean): boolean {
  const { isEmpty: wantsEmpty, words: wanted } = conditions?.query ?? {}
  if (wantsEmpty !== undefined && wantsEmpty !== isEmpty) return false
  if (wanted === undefined) return true
  // A word that stands twice in the condition can never be met, as in the reference.
  const own = wordsOf(wanted)
  const counted = new Set([...new Set(words)].sort().slice(0, countedWordsMax))
  return own.length <= counted.size && own.length === new Set(own).size && own.every((word) => counted.has(word))
}
