/** The rules of one search, in order (M-F7.1 to 7.3): from the settings, the `sort` parameter and the kind of search. */
import type { IndexReader } from '../index-reader.ts'
import { ExactAttributeRule } from './exact-attribute-rule.ts'
import type { RankingRule } from './ranking-rule.ts'
import type { SortCriterion } from './sort-criteria.ts'
import { GeoSortRule, SortRule } from './sort-rules.ts'
import type { TermDocids } from './term-docids.ts'
import {
  attributeRankRule,
  exactWordsRule,
  proximityRule,
  type Strategy,
  typoRule,
  wordPositionRule,
  wordsRule,
} from './word-rules.ts'

export type SearchKind =
  | { readonly kind: 'placeholder' }
  | { readonly kind: 'words'; readonly docids: TermDocids; readonly strategy: Strategy }
  /** One rule in place of all that rank by words. */
  | { readonly kind: 'vector'; readonly rule: RankingRule }

const wordRules = ['words', 'typo', 'proximity', 'attribute', 'attributeRank', 'wordPosition', 'exactness']

export function rankingRules(
  reader: IndexReader,
  search: SearchKind,
  sort: readonly SortCriterion[],
): readonly RankingRule[] {
  const rules: RankingRule[] = []
  const done = new Set<string>()
  const sortedFields = new Set<string>()
  const addSort = (field: string, ascending: boolean) => {
    if (sortedFields.has(field)) return
    sortedFields.add(field)
    rules.push(new SortRule(reader, field, ascending))
  }
  if (search.kind === 'words' && search.strategy === 'all') done.add('words')

  const addWordRule = (name: string) => {
    if (search.kind === 'placeholder') return
    if (search.kind === 'vector') {
      if (!done.has('vector')) rules.push(search.rule)
      done.add('vector')
      return
    }
    const { docids, strategy } = search
    if (!done.has('words')) rules.push(wordsRule(docids, strategy))
    done.add('words')
    const isDone =
      done.has(name) ||
      (name === 'attribute' && (done.has('attributeRank') || done.has('wordPosition'))) ||
      ((name === 'attributeRank' || name === 'wordPosition') && done.has('attribute'))
    if (isDone) return
    done.add(name)
    switch (name) {
      case 'typo':
        rules.push(typoRule(docids))
        return
      case 'proximity':
        rules.push(proximityRule(docids))
        return
      case 'attribute':
        rules.push(attributeRankRule(docids), wordPositionRule(docids))
        return
      case 'attributeRank':
        rules.push(attributeRankRule(docids))
        return
      case 'wordPosition':
        rules.push(wordPositionRule(docids))
        return
      case 'exactness':
        rules.push(new ExactAttributeRule(docids), exactWordsRule(docids))
    }
  }

  for (const name of reader.settings.rankingRules) {
    if (wordRules.includes(name)) addWordRule(name)
    else if (name === 'sort') {
      if (done.has('sort')) continue
      done.add('sort')
      for (const criterion of sort) {
        if (criterion.kind === 'field') addSort(criterion.field, criterion.ascending)
        else rules.push(new GeoSortRule(reader, criterion.point, criterion.ascending))
      }
    } else {
      const colon = name.lastIndexOf(':')
      addSort(name.slice(0, colon), name.slice(colon + 1) === 'asc')
    }
  }
  return rules
}

/** Whether details show `attribute` as one rule. */
export function hasUnifiedAttribute(reader: IndexReader): boolean {
  return reader.settings.rankingRules.includes('attribute')
}
