/** The dynamic search rules of the engine: durable in its store, and all in memory. */
import { changedRule, type NamedRule, type RuleListQuery, rulesFor, type SearchRule } from '../api/search-rule.ts'
import { isObject, type JsonObject } from '../lib/json.ts'
import type { EngineStore } from './core.ts'
import { listRules } from './rule-search.ts'

export const rulePrefix = 'rule/'

interface StoredRule {
  /** Rules are listed in the order in which they came. */
  readonly order: number
  readonly rule: SearchRule
}

export class RuleBook {
  readonly #store: EngineStore
  #rules: Map<string, StoredRule> | undefined

  constructor(store: EngineStore) {
    this.#store = store
  }

  get(uid: string): SearchRule | undefined {
    return this.#all().get(uid)?.rule
  }

  /** A page, and how many match. */
  list(query: RuleListQuery): ReturnType<typeof listRules> {
    return listRules(this.all, query)
  }

  /** See `rulesFor`. */
  of(indexes: readonly string[], now: number): readonly SearchRule[] {
    return rulesFor(this.all, indexes, now).map(({ rule }) => rule)
  }

  /** `change`: null = as if never set. May run twice. */
  async change(uid: string, change: JsonObject): Promise<void> {
    const rules = this.#all()
    const before = rules.get(uid)
    const order = before?.order ?? Math.max(-1, ...[...rules.values()].map((known) => known.order)) + 1
    const rule = changedRule(before?.rule, change)
    await this.#store.put(rulePrefix + uid, { order, rule: rule as JsonObject })
    rules.set(uid, { order, rule })
  }

  async delete(uid: string): Promise<void> {
    await this.#store.delete(rulePrefix + uid)
    this.#all().delete(uid)
  }

  /** Answers how many there were. */
  async clear(): Promise<number> {
    const uids = [...this.#all().keys()]
    for (const uid of uids) await this.delete(uid)
    return uids.length
  }

  /** In the order in which they came. */
  get all(): NamedRule[] {
    return [...this.#all()].sort(([, a], [, b]) => a.order - b.order).map(([uid, { rule }]) => ({ uid, rule }))
  }

  /** Read when first asked for: a dump may fill the store before. */
  #all(): Map<string, StoredRule> {
    this.#rules ??= new Map(
      this.#store.list(rulePrefix).flatMap(({ key, value }) => {
        const isRule = isObject(value) && isObject(value.rule ?? null) && typeof value.order === 'number'
        // Only this class writes the entries.
        return isRule ? [[key.slice(rulePrefix.length), value as object as StoredRule] as const] : []
      }),
    )
    return this.#rules
  }
}
